//! `freshet trace EVENT_ID`: where the event stands on every hop, and who was told of it.

use freshet_core::receipt::Receipt;
use freshet_core::{InRecord, Rejection, Replay, ReplayRange, headers, topics};
use freshet_kafka::reader::Reader;
use freshet_kafka::{Connection, admin};
use serde::Serialize;

use crate::cli::{Globals, OutputForm, TraceArguments};
use crate::client;
use crate::exit::Exit;

#[derive(Debug, Serialize)]
struct Hop {
    hop: &'static str,
    topic: String,
    partition: i32,
    offset: i64,
    /// RFC 3339.
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

pub fn run(globals: &Globals, arguments: &TraceArguments) -> anyhow::Result<Exit> {
    let connection = client::connection(globals)?;
    let hops = find(&connection, &arguments.event_id, arguments.dataset.as_deref())?;
    match globals.output {
        OutputForm::Json => println!("{}", serde_json::to_string(&hops)?),
        OutputForm::Text => print(&arguments.event_id, &hops),
    }
    Ok(if hops.is_empty() { Exit::Findings } else { Exit::Done })
}

fn find(connection: &Connection, id: &str, dataset: Option<&str>) -> anyhow::Result<Vec<Hop>> {
    let catalog = freshet_kafka::catalog::read_once(connection)?;
    let existing = admin::topics(connection)?;
    client::require_known("dataset", dataset, catalog.datasets.keys())?;
    let mut reader = Reader::new(connection)?;
    let mut hops = Vec::new();
    let datasets: Vec<&String> =
        catalog.datasets.keys().filter(|name| dataset.is_none_or(|wanted| *name == wanted)).collect();

    // The partition number is the same on every hop: once it is known, only that partition is read.
    let mut scan = |hop: &'static str, topic: String, only: Option<i32>, hops: &mut Vec<Hop>| -> anyhow::Result<()> {
        for partition in 0..existing.get(&topic).copied().unwrap_or(0) {
            if only.is_some_and(|only| only != partition) {
                continue;
            }
            reader.replay(&topic, partition, ReplayRange::default(), &mut |record| {
                if record.header_str(headers::ID) == Some(id) {
                    hops.push(Hop::of(hop, record));
                }
                Ok(())
            })?;
        }
        Ok(())
    };
    for name in datasets {
        let before = hops.len();
        scan("published", topics::publish(name), None, &mut hops)?;
        // What was published longer ago than the raw topic keeps is still in the canonical one.
        let partition = hops.get(before).map(|hop| hop.partition);
        scan("accepted", topics::dataset(name), partition, &mut hops)?;
        let Some(partition) = hops.get(before).map(|hop| hop.partition) else { continue };
        for view in catalog.views.values().filter(|view| view.dataset == *name) {
            scan("routed", topics::view(&view.id), Some(partition), &mut hops)?;
        }
    }
    for topic in existing.keys().filter(|topic| topic.starts_with("reject.")) {
        scan("rejected", topic.clone(), None, &mut hops)?;
    }
    let places: Vec<(String, i32, i64)> = hops
        .iter()
        .filter_map(|hop| Some((hop.topic.strip_prefix("view.")?.to_owned(), hop.partition, hop.offset)))
        .collect();
    receipts(&mut reader, existing.get(topics::AUDIT).copied().unwrap_or(0), &places, &mut hops)?;
    Ok(hops)
}

fn receipts(
    reader: &mut Reader,
    partitions: i32,
    places: &[(String, i32, i64)],
    hops: &mut Vec<Hop>,
) -> anyhow::Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    for partition in 0..partitions {
        reader.replay(topics::AUDIT, partition, ReplayRange::default(), &mut |record| {
            let receipt = record.value.and_then(|value| serde_json::from_slice::<Receipt>(value).ok());
            let Some(receipt) = receipt else { return Ok(()) };
            if places
                .iter()
                .any(|(view, partition, offset)| receipt.view == *view && receipt.covers(*partition, *offset))
            {
                let mut hop = Hop::of(receipt.outcome.as_str(), record);
                hop.at = Some(receipt.at.clone());
                hop.note = Some(format!("{} by {}, grant {}", receipt.subscriber, receipt.way.as_str(), receipt.grant));
                hops.push(hop);
            }
            Ok(())
        })?;
    }
    Ok(())
}

impl Hop {
    fn of(hop: &'static str, record: &InRecord<'_>) -> Self {
        let rejection: Option<Rejection> =
            record.header_str(headers::VIOLATIONS).and_then(|text| serde_json::from_str(text).ok());
        let at = record.timestamp_ms.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        Self {
            hop,
            topic: record.topic.to_owned(),
            partition: record.partition,
            offset: record.offset,
            at: at.map(|at| at.to_string()),
            note: rejection
                .and_then(|rejection| rejection.violations.first().map(ToString::to_string))
                .or_else(|| record.header_str(headers::REMOVAL).map(|why| format!("removal: {why}"))),
        }
    }
}

fn print(id: &str, hops: &[Hop]) {
    if hops.is_empty() {
        eprintln!("{id} stands in no topic of the bus (or is older than the topics keep)");
        return;
    }
    println!("{id}");
    for hop in hops {
        // A receipt's time is finer than a record's; below each other they are read to the millisecond.
        let at = hop.at.as_deref().unwrap_or("-");
        let at = at.parse::<jiff::Timestamp>().map_or_else(|_| at.to_owned(), |at| format!("{at:.3}"));
        let note = hop.note.as_deref().map(|note| format!("  {note}")).unwrap_or_default();
        println!("  {:<10} {at:<28} {}/{}/{}{note}", hop.hop, hop.topic, hop.partition, hop.offset);
    }
}
