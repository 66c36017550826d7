//! What the build takes in: licences that we may ship, one version each where we can choose, and `rdkafka` only where
//! the architecture allows it. Read from `cargo metadata`, so it holds for what is really built.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences under which we may ship, as SPDX ids. A crate passes where one alternative (`OR`) consists of these only.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Who may depend on the Kafka client.
const KAFKA_USERS: &[&str] = &["freshet-decompression", "freshet-kafka", "freshet-testkit"];

/// Crates of which two incompatible versions are built, and through whom. Each line is a debt, not a permission.
const DUPLICATES: &[&str] = &[
    // 0.21 standardwebhooks (checks signatures in the demo's receiver), 0.22 ours and postgres, 0.23 hyper-util.
    "base64",
    // 0.15 hashlink (saphyr), 0.17 indexmap.
    "hashbrown",
    // Build time only: ouroboros (saphyr) beside clap and strum.
    "heck",
    // Build time only: derive macros that have and have not moved to syn 3.
    "syn",
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Packages that are linked into the program or its build, tests of ours left out: reached by normal and build edges.
fn built(metadata: &Value) -> BTreeSet<String> {
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).map(|node| (node["id"].as_str().expect("an id"), node)).collect();
    let root = list(&metadata["packages"]).find(|package| package["name"] == "freshet").expect("the program");
    let mut reached = BTreeSet::new();
    let mut open = vec![root["id"].as_str().expect("an id")];
    while let Some(id) = open.pop() {
        if reached.insert(id.to_owned()) {
            for edge in list(&nodes[id]["deps"]) {
                if list(&edge["dep_kinds"]).any(|kind| kind["kind"] != "dev") {
                    open.push(edge["pkg"].as_str().expect("a package"));
                }
            }
        }
    }
    reached
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    // `A AND (B OR C)` is read as `A AND B OR C`; every part that no `OR` excuses must still be allowed.
    plain.split(" OR ").any(|side| side.split(" AND ").all(|licence| ALLOWED.contains(&licence.trim())))
}

#[test]
fn every_licence_may_be_shipped() {
    let metadata = metadata();
    let built = built(&metadata);
    let refused: Vec<String> = list(&metadata["packages"])
        .filter(|package| built.contains(package["id"].as_str().unwrap_or_default()))
        .filter(|package| !package["license"].as_str().is_some_and(is_allowed))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "not on the list of licences:\n{}", refused.join("\n"));
    assert!(!is_allowed("GPL-3.0-only") && !is_allowed("MIT AND GPL-3.0-only"));
}

#[test]
fn one_version_of_each_crate() {
    let metadata = metadata();
    let built = built(&metadata);
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        if built.contains(package["id"].as_str().unwrap_or_default()) {
            let name = package["name"].as_str().unwrap_or_default();
            versions.entry(name).or_default().insert(package["version"].as_str().unwrap_or_default());
        }
    }
    let twice: BTreeSet<&str> =
        versions.iter().filter(|(_, versions)| versions.len() > 1).map(|(name, _)| *name).collect();
    let known: BTreeSet<&str> = DUPLICATES.iter().copied().collect();
    let new: Vec<_> = twice.difference(&known).map(|name| format!("{name}: {:?}", versions[name])).collect();
    assert!(new.is_empty(), "built in two versions; `cargo tree -d` says through whom:\n{}", new.join("\n"));
    let gone: Vec<_> = known.difference(&twice).collect();
    assert!(gone.is_empty(), "no longer twice, take off the list: {gone:?}");
}

#[test]
fn only_two_crates_know_the_kafka_client() {
    let metadata = metadata();
    let users: BTreeSet<&str> = list(&metadata["packages"])
        .filter(|package| list(&package["dependencies"]).any(|dependency| dependency["name"] == "rdkafka"))
        .filter_map(|package| package["name"].as_str())
        .collect();
    assert_eq!(users, KAFKA_USERS.iter().copied().collect());
}
