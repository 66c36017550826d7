//! The data authority: reads the canonical and the reject topics, and notes what became of what was published.

use std::collections::HashMap;

use freshet_core::{Rejection, headers, topics};
use freshet_testkit::departments::Received;
use serde_json::Value;

use super::reader::Reader;
use super::{Desk, FILES, Rows, file};
use crate::history::{Canonical, Refused};

/// Reads until it is stopped. Blocking.
pub fn read(desk: &Desk, topics: &[String], handle: &tokio::runtime::Handle) -> anyhow::Result<()> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut reader = Reader::new(desk, "faults.authority", names)?;
    let mut rows = Rows::new(&desk.registry);
    let mut places = Places::default();
    while !desk.stop.is_cancelled() {
        let Some(record) = reader.next_record()? else { continue };
        if !places.is_new(&record) {
            continue;
        }
        match record.topic.strip_prefix("dataset.") {
            Some(dataset) => {
                let row = match &record.value {
                    None => None,
                    Some(value) => Some(handle.block_on(rows.row(value)).map_err(anyhow::Error::msg)?),
                };
                desk.ledger.accepted(dataset, accepted(dataset, &record, row));
            }
            None => {
                let dataset = record.header(headers::REJECTED_DATASET).unwrap_or_default().to_owned();
                desk.ledger.refused(&dataset, refused(&dataset, &record));
            }
        }
    }
    Ok(())
}

/// The topics that it reads.
pub fn topics<'a>(datasets: impl Iterator<Item = &'a str>, publishers: impl Iterator<Item = &'a str>) -> Vec<String> {
    let rejects = publishers.map(topics::reject).chain([topics::REJECT_UNASSIGNED.to_owned()]);
    datasets.map(topics::dataset).chain(rejects).collect()
}

/// How far each partition was read. A reader whose group moved reads again from its start: the same place twice is its own
/// doing, the same event at two places is the bus's.
#[derive(Debug, Default)]
pub struct Places(HashMap<(String, i32), i64>);

impl Places {
    pub fn is_new(&mut self, record: &Received) -> bool {
        let last = self.0.entry((record.topic.clone(), record.partition)).or_insert(-1);
        let is_new = record.offset > *last;
        *last = record.offset.max(*last);
        is_new
    }
}

fn accepted(dataset: &str, record: &Received, row: Option<Value>) -> Canonical {
    Canonical {
        id: record.header(headers::ID).unwrap_or_default().to_owned(),
        published_as: published_as(dataset, record),
        key: key(record),
        row,
        sequence: sequence(record),
    }
}

fn refused(dataset: &str, record: &Received) -> Refused {
    let violations = record.header(headers::VIOLATIONS);
    let rejection: Rejection = violations.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let first = rejection.violations.first();
    Refused {
        published_as: published_as(dataset, record),
        code: first.map_or("none", |violation| violation.code.as_str()).to_owned(),
        key: key(record),
        sequence: sequence(record),
    }
}

/// What the publisher knows it by: its id, or the register's count of a line of a file.
fn published_as(dataset: &str, record: &Received) -> String {
    if FILES.iter().any(|(name, _)| *name == dataset) {
        let line = || {
            // A line that the mapping refused is kept as it came.
            let value: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
            value["seq"].as_u64()
        };
        if let Some(seq) = sequence(record).or_else(line) {
            return file::published_as(seq);
        }
    }
    record.header(headers::ID).unwrap_or_default().to_owned()
}

fn sequence(record: &Received) -> Option<u64> {
    record.header(headers::SEQUENCE)?.parse().ok()
}

fn key(record: &Received) -> String {
    String::from_utf8_lossy(&record.key).into_owned()
}
