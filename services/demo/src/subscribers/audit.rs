//! The data authority: reads the canonical and the reject topics as any reader would, and notes what became of what was
//! published.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use freshet_catalog_model::Catalog;
use freshet_core::{Rejection, headers, topics};
use freshet_testkit::departments::{Consumer, Received, Registry, decode, to_json};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Desk;
use super::kafka::schema_id;
use crate::books::{Accepted, Rejected};
use crate::publishers::{self, FILES, file};
use crate::registers;

pub(super) fn start(desk: &Desk, catalog: &Catalog, tasks: &mut JoinSet<()>) {
    let played = desk.ledger.dataset_states();
    let mut names: Vec<String> = played.iter().map(|state| topics::dataset(&state.dataset)).collect();
    // Whoever has no source cannot publish, and has no topic of rejections.
    let publishers = catalog.departments.values().filter(|department| !department.sources.is_empty());
    names.extend(publishers.map(|department| topics::reject(&department.id)));
    names.push(topics::REJECT_UNASSIGNED.to_owned());
    let desk = desk.clone();
    let handle = Handle::current();
    tasks.spawn_blocking(move || {
        let read = Lines::read().and_then(|lines| read(&desk, &names, &lines, &handle));
        if let Err(error) = read {
            desk.ledger.trouble(format!("reading what was accepted and rejected: {error:#}"));
        }
    });
}

fn read(desk: &Desk, names: &[String], lines: &Lines, handle: &Handle) -> anyhow::Result<()> {
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let consumer = Consumer::new(&desk.reach.kafka, &format!("demo-{}-audit", desk.reach.run), &topics)?;
    let registry = Registry::new(&desk.reach.registry, None);
    while !desk.stop.is_cancelled() {
        let record = match consumer.next(Duration::from_millis(200)) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) => {
                desk.ledger.trouble(format!("reading what was accepted and rejected: {error}"));
                continue;
            }
        };
        match record.topic.strip_prefix("dataset.") {
            Some(dataset) => {
                let accepted = handle.block_on(accepted(dataset, &record, lines, &registry))?;
                if !publishers::is_of_the_demo(dataset, &accepted.published_as) {
                    desk.ledger.published_by_hand(dataset, &accepted.published_as);
                }
                desk.ledger.accepted(dataset, accepted);
            }
            None => {
                let dataset = record.header(headers::REJECTED_DATASET).unwrap_or_default().to_owned();
                let rejected = rejected(&dataset, &record, lines);
                if !publishers::is_of_the_demo(&dataset, &rejected.published_as) {
                    desk.ledger.published_by_hand(&dataset, &rejected.published_as);
                }
                desk.ledger.rejected(&dataset, rejected);
            }
        }
    }
    Ok(())
}

async fn accepted(dataset: &str, record: &Received, lines: &Lines, registry: &Registry) -> anyhow::Result<Accepted> {
    let row = match &record.value {
        None => None,
        Some(value) => {
            let id = schema_id(value).ok_or_else(|| anyhow::anyhow!("{dataset}: not in the wire format"))?;
            let schema = registry.schema(id).await?;
            let value = decode(&schema, value).map_err(|error| anyhow::anyhow!("{dataset}: {error}"))?;
            Some(to_json(&schema, &value))
        }
    };
    let sequence = record.header(headers::SEQUENCE).and_then(|text| text.parse().ok());
    Ok(Accepted {
        id: record.header(headers::ID).unwrap_or_default().to_owned(),
        published_as: lines.published_as(dataset, record),
        key: String::from_utf8_lossy(&record.key).into_owned(),
        row,
        sequence,
    })
}

fn rejected(dataset: &str, record: &Received, lines: &Lines) -> Rejected {
    let rejection: Rejection =
        record.header(headers::VIOLATIONS).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let place = match record.header(headers::REJECTED_LINE) {
        Some(line) => line.to_owned(),
        None => record.header(headers::ID).unwrap_or_default().to_owned(),
    };
    let reason = match rejection.violations.first() {
        Some(violation) => (violation.code.as_str().to_owned(), format!("{place}, {violation}")),
        None => ("no reason".to_owned(), format!("{place}: no reason given")),
    };
    Rejected { published_as: lines.published_as(dataset, record), reason }
}

/// For the datasets that come as files: the register's count of an event → the line of the file.
struct Lines(BTreeMap<String, HashMap<u64, u64>>);

impl Lines {
    fn read() -> anyhow::Result<Self> {
        let mut lines = registers::read()?;
        lines.retain(|dataset, _| FILES.iter().any(|(name, _)| name == dataset));
        let numbers = |lines: Vec<registers::Line>| lines.iter().map(|line| (line.seq, line.number)).collect();
        Ok(Self(lines.into_iter().map(|(dataset, lines)| (dataset, numbers(lines))).collect()))
    }

    /// What the publisher knows the event by: the line of its file, or the id that it gave.
    fn published_as(&self, dataset: &str, record: &Received) -> String {
        if let Some(numbers) = self.0.get(dataset) {
            let line = record.header(headers::REJECTED_LINE).and_then(|text| text.rsplit(' ').next()?.parse().ok());
            let sequence = record.header(headers::SEQUENCE).and_then(|text| text.parse::<u64>().ok());
            if let Some(number) = line.or_else(|| numbers.get(&sequence?).copied()) {
                return file::token(number);
            }
        }
        record.header(headers::ID).unwrap_or_default().to_owned()
    }
}
