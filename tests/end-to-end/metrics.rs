//! `docs/metrics.md` and the alert rules against what the processes really expose.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Bus, Options, ROLES, eventually, root};

const TOKEN: &str = "token-of-a-department-with-enough-characters-to-be-one";
/// What the suffixes of a histogram's samples are.
const SAMPLES: [&str; 3] = ["_bucket", "_count", "_sum"];

/// Type and labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shape {
    kind: String,
    labels: BTreeSet<String>,
}

struct Row {
    shape: Shape,
    /// It is there from the start; others come with their first use.
    always: bool,
}

#[test]
fn the_table_is_what_the_processes_expose() {
    let table = table();
    let bus = Bus::start(&Options {
        catalogue: &root().join("schemas"),
        tokens: &[("toronto-purchasing", TOKEN)],
        secrets: &[],
        extra_instances: &[],
    });
    use_the_gateway(&bus);
    // The catalogue's entries are set once it is read, which is a moment before the process is ready.
    let found = eventually("every metric of the table", Duration::from_secs(30), || {
        let found: BTreeMap<String, Shape> = ROLES.iter().flat_map(|role| shapes(&text(&bus, role))).collect();
        table.iter().all(|(name, row)| !row.always || found.contains_key(name)).then_some(found)
    });
    for (name, shape) in &found {
        let row = table.get(name).unwrap_or_else(|| panic!("{name} is not in docs/metrics.md: {shape:?}"));
        assert_eq!(row.shape, *shape, "{name}: the table, and what is exposed");
    }
    for role in ROLES {
        check_by_promtool(&text(&bus, role));
    }
}

#[test]
fn alerts_use_metrics_of_the_table() {
    let table = table();
    let alerts = std::fs::read_to_string(root().join("helm/files/alerts.yaml")).expect("the alert rules");
    let words = alerts.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'));
    let used: BTreeSet<&str> = words.filter(|word| word.starts_with("freshet_")).collect();
    assert!(!used.is_empty());
    for name in used {
        let histogram = SAMPLES.iter().find_map(|suffix| name.strip_suffix(suffix)).and_then(|base| table.get(base));
        let is_sample = histogram.is_some_and(|row| row.shape.kind == "histogram");
        assert!(is_sample || table.contains_key(name), "helm/files/alerts.yaml uses {name}, which no service has");
    }
}

fn text(bus: &Bus, role: &str) -> String {
    bus.metrics(&format!("{role}-0"))
}

/// One event, refused or not: the gateway's metrics of requests and events come with the first.
fn use_the_gateway(bus: &Bus) {
    let event = r#"{"specversion": "1.0", "id": "1", "source": "urn:toronto:purchasing", "type": "x", "data": {}}"#;
    let answer = reqwest::blocking::Client::new()
        .post(format!("{}/v1/datasets/solicitation/events", bus.gateway))
        .bearer_auth(TOKEN)
        .header("content-type", "application/cloudevents+json")
        .body(event)
        .send()
        .expect("an answer");
    assert_eq!(answer.status().as_u16(), 422);
}

/// The rows of the document's tables: name, type, labels, when, meaning.
fn table() -> BTreeMap<String, Row> {
    let document = std::fs::read_to_string(root().join("docs/metrics.md")).expect("the document");
    let mut table = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, since, _unit, _meaning] = cells[..] else { panic!("six cells: {line}") };
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        assert!(["start", "first use"].contains(&since), "{line}");
        let row = Row { shape: Shape { kind: kind.to_owned(), labels }, always: since == "start" };
        assert!(table.insert(name.trim_matches('`').to_owned(), row).is_none(), "twice: {line}");
    }
    table
}

/// What the text format says: every family's type, and the labels of its samples.
fn shapes(text: &str) -> BTreeMap<String, Shape> {
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            family = name.to_owned();
            shapes.insert(family.clone(), Shape { kind: kind.to_owned(), ..Shape::default() });
        } else if !line.starts_with('#')
            && let Some((_, rest)) = line.split_once('{')
            && let Some((labels, _)) = rest.rsplit_once('}')
            && let Some(shape) = shapes.get_mut(&family)
        {
            // No label's value has a `="` in it: they are names.
            let names = labels.split("=\"").filter_map(|part| part.rsplit(['"', ',']).next());
            let names = names.filter(|name| !name.is_empty() && *name != "le");
            shape.labels.extend(names.map(str::to_owned));
        }
    }
    shapes
}

/// Prometheus' own opinion, where its tool is installed.
fn check_by_promtool(text: &str) {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        println!("promtool is not installed: its check was left out");
        return;
    };
    tool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = tool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "promtool: {said}");
}
