//! Departments that write to Kafka: rentals from the register, licences from a generator.

use std::time::Duration;

use anyhow::Context as _;
use freshet_benchmarks::licence::Generator;
use freshet_core::{headers, topics};
use freshet_demo::registers::Line;
use freshet_testkit::departments::{Producer, Registry, acknowledged, encode, from_json};
use serde_json::{Value, json};

use super::{Desk, LICENCES, Pace, RENTALS};

const BATCH: usize = 25;
/// One event in this many is a deletion.
const DELETE_EACH: u64 = 29;

/// One event as its department sends it.
#[derive(Debug, Clone)]
struct Event {
    id: String,
    key: String,
    value: Option<Vec<u8>>,
    kind: &'static str,
    source: &'static str,
    time: String,
    sequence: u64,
}

pub async fn rentals(desk: Desk, per_second: f64, lines: Vec<Line>) -> anyhow::Result<()> {
    let topic = topics::publish(RENTALS);
    let registry = Registry::new(&desk.registry, None);
    let (id, schema) = registry.latest(&format!("{topic}-value")).await?;
    let mut events = Vec::with_capacity(lines.len());
    for line in lines {
        let value = match line.is_delete {
            true => None,
            false => {
                let record = from_json(&schema, &rental(&line)).map_err(anyhow::Error::msg)?;
                Some(encode(id, &schema, record).map_err(anyhow::Error::msg)?)
            }
        };
        events.push(Event {
            id: format!("str-{}", line.seq),
            key: line.key.join("|"),
            value,
            kind: "ca.toronto.short_term_rental.changed",
            source: "urn:toronto:municipal-licensing",
            time: line.published,
            sequence: line.seq,
        });
    }
    publish(desk, RENTALS, per_second, events.into_iter()).await
}

pub async fn licences(desk: Desk, per_second: f64, seed: u64) -> anyhow::Result<()> {
    let registry = Registry::new(&desk.registry, None);
    let (id, _) = registry.latest(&format!("{}-value", topics::publish(LICENCES))).await?;
    let mut generator = Generator::new(seed, id, 1_500);
    let events = std::iter::repeat_with(move || {
        let licence = generator.next_licence();
        let is_delete = licence.sequence.is_multiple_of(DELETE_EACH);
        Event {
            id: format!("lic-{}", licence.sequence),
            key: licence.key,
            value: (!is_delete).then_some(licence.value),
            kind: "gov.exchange.licence.changed.v1",
            source: "urn:meridian:licensing",
            time: "2026-01-15T08:00:00Z".to_owned(),
            sequence: licence.sequence,
        }
    });
    publish(desk, LICENCES, per_second, events).await
}

async fn publish(
    desk: Desk,
    dataset: &'static str,
    per_second: f64,
    mut events: impl Iterator<Item = Event>,
) -> anyhow::Result<()> {
    let topic = topics::publish(dataset);
    let mut pace = Pace::new(per_second);
    let mut producer = open(&desk)?;
    while !desk.stop_publishing.is_cancelled() {
        let batch: Vec<Event> = events.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        pace.take(batch.len()).await;
        while let Err(error) = send(&producer, &topic, &batch).await {
            desk.ledger.trouble(format!("publishing {dataset}: {error:#}"));
            tokio::time::sleep(Duration::from_millis(500)).await;
            // One that failed for good takes nothing any more.
            producer = open(&desk)?;
        }
        desk.ledger.acknowledged(dataset, batch.into_iter().map(|event| (event.id, event.key)));
    }
    Ok(())
}

fn open(desk: &Desk) -> anyhow::Result<Producer> {
    // It never gives up by itself. As shipped, a client that lost its partitions' leaders may look for them again only
    // after five minutes.
    let settings =
        [("message.timeout.ms", "0"), ("topic.metadata.refresh.interval.ms", "5000"), ("socket.timeout.ms", "9900")];
    Producer::new(&desk.kafka, &settings).context("a producer")
}

async fn send(producer: &Producer, topic: &str, batch: &[Event]) -> anyhow::Result<()> {
    let mut waiting = Vec::with_capacity(batch.len());
    for event in batch {
        let sequence = format!("{:020}", event.sequence);
        let published_at = jiff::Timestamp::now().as_microsecond().to_string();
        let attributes = [
            (headers::SPECVERSION, "1.0"),
            (headers::ID, &event.id),
            (headers::SOURCE, event.source),
            (headers::TYPE, event.kind),
            (headers::TIME, &event.time),
            (headers::SEQUENCE, &sequence),
            (headers::PUBLISHED_AT, &published_at),
            (headers::CONTENT_TYPE, headers::AVRO),
        ];
        waiting.push(producer.send(topic, event.key.as_bytes(), event.value.as_deref(), &attributes).await?);
    }
    for sent in waiting {
        acknowledged(sent).await?;
    }
    Ok(())
}

/// The row as the department's own system holds it: numbers are numbers, blank is nothing.
fn rental(line: &Line) -> Value {
    let text = |name: &str| line.row.get(name).map(String::as_str).unwrap_or_default();
    let some = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
    json!({
        "operator_registration_number": text("operator_registration_number"),
        "postal_code": text("postal_code"),
        "property_type": text("property_type"),
        "ward_number": text("ward_number").parse::<i32>().map_or(Value::Null, Value::from),
        "ward_name": some(text("ward_name")),
    })
}
