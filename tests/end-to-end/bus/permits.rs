//! A small register of a test's own: roads publishes permits.

use std::path::Path;

use serde_json::{Value, json};

pub const ROADS: &str = "roads";

/// The catalogue without grants: `dataset` with the fields number, status and count, four partitions.
pub fn catalogue(folder: &Path, authority: &str) {
    let departments: String = ["roads", "bridges", "tax", "hook", "control", "late"]
        .iter()
        .map(|id| {
            let sources = if ["roads", "bridges"].contains(id) {
                format!("\n  sources: [urn:example:{id}]")
            } else {
                String::new()
            };
            format!("{id}:\n  title: {{en: Department {id}}}{sources}\n")
        })
        .collect();
    let schema = json!({"type": "record", "name": "permit", "fields": [
        {"name": "number", "type": "string"},
        {"name": "status", "type": {"type": "enum", "name": "status", "symbols": ["OPEN", "CLOSED"]}},
        {"name": "count", "type": "long"},
    ]});
    let dataset = format!(
        "title: {{en: Permits}}\nauthorities: [{authority}]\nkey: number\nversion: sequence\npartitions: 4\n\
         catalogue:\n  summary: {{en: Permits of a test}}\n  update_frequency: realtime\n  share_type: unconditional\n  \
         share_method: service_interface\n  classification: general\n"
    );
    std::fs::create_dir_all(folder.join("permit")).expect("a folder");
    std::fs::create_dir_all(folder.join("grants")).expect("a folder");
    for (file, text) in [
        ("departments.yaml", departments),
        ("permit/permit.avsc", schema.to_string()),
        ("permit/dataset.yaml", dataset),
    ] {
        std::fs::write(folder.join(file), text).expect("a file");
    }
}

pub fn grant(folder: &Path, subscriber: &str, delivery: &str, more: &str) {
    let text = format!(
        "subscriber: {subscriber}\ndataset: permit\nfields: [number, status, count]\npurpose: test\nlegal_basis: test\n\
         valid_from: 2020-01-01\nvalid_until: 2099-12-31\ndelivery: {delivery}\n{more}"
    );
    std::fs::write(folder.join(format!("grants/{subscriber}.yaml")), text).expect("a grant");
}

/// One event in structured mode. `data` null: a delete.
pub fn event(id: &str, number: &str, sequence: u64, status: Option<&str>) -> Value {
    let data = status.map(|status| json!({"number": number, "status": status, "count": sequence}));
    json!({
        "specversion": "1.0", "id": id, "source": "urn:example:roads", "type": "example.permit.changed",
        "time": "2026-01-01T00:00:00Z", "sequence": sequence, "partitionkey": number, "data": data,
    })
}

/// Publishes a batch; None where not every event is known to be written.
pub fn publish(client: &reqwest::blocking::Client, gateway: &str, events: &[Value]) -> Option<()> {
    let request = client
        .post(format!("{gateway}/v1/datasets/permit/events"))
        .bearer_auth(crate::token(ROADS))
        .header("content-type", "application/cloudevents-batch+json")
        .timeout(std::time::Duration::from_secs(30))
        .body(Value::from(events).to_string());
    let answer = request.send().ok()?;
    if answer.status() != reqwest::StatusCode::OK {
        return None;
    }
    let answer: Value = answer.json().ok()?;
    assert_eq!(answer["refused"], 0, "{answer}");
    (answer["accepted"] == events.len()).then_some(())
}
