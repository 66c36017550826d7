//! What the documents promise about the code, held against the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use freshet_core::Code;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_reason_code_has_a_page_and_every_page_a_code() {
    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| format!("{}.md", code.as_str())).collect();
    let pages: BTreeSet<String> = std::fs::read_dir(root().join("docs/errors"))
        .expect("docs/errors")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "README.md")
        .collect();
    assert_eq!(codes, pages);
    let index = read("docs/errors/README.md");
    for page in &pages {
        assert!(index.contains(&format!("({page})")), "{page} is not in docs/errors/README.md");
    }
}

#[test]
fn every_alert_has_a_page_and_names_it() {
    let rules = read("helm/files/alerts.yaml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        let page = format!("docs/alerts/{alert}.md");
        assert!(rules.contains(&page), "{alert} has no runbook link to {page}");
        assert!(root().join(&page).exists(), "{page} is missing");
    }
}

/// Every link from a page of ours to a file of ours leads somewhere.
#[test]
fn no_link_is_dead() {
    let mut dead = Vec::new();
    for page in pages(&root()) {
        let text = std::fs::read_to_string(&page).expect("a page");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let is_ours = !file.is_empty() && !target.contains("://") && !target.contains(' ');
            if is_ours && !page.parent().expect("a folder").join(file).exists() {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let skipped = ["target", "node_modules", ".git", "data"].iter().any(|skip| name == *skip);
        if path.is_dir() && !skipped {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found
}
