//! Municipal Licensing: an ordinary Kafka producer with Avro in the Confluent wire format.

use anyhow::{Context as _, anyhow};
use freshet_core::{headers, topics};
use freshet_testkit::departments::{Producer, Registry, Sent, acknowledged, encode, from_json};
use serde_json::{Value, json};

use super::{Desk, Pace, Progress, now_us};
use crate::registers::Line;

pub const RENTALS: &str = "short_term_rental_registration";
pub(crate) const ID_PREFIX: &str = "str-";
const DEPARTMENT: &str = "toronto-municipal-licensing";
const SOURCE: &str = "urn:toronto:municipal-licensing";

pub(super) async fn publish(desk: Desk, mut pace: Pace, lines: Vec<Line>) -> anyhow::Result<()> {
    let topic = topics::publish(RENTALS);
    let registry = Registry::new(&desk.reach.registry, desk.reach.token(DEPARTMENT).ok());
    let (id, schema) = registry.latest(&format!("{topic}-value")).await.context(DEPARTMENT)?;
    let producer = Producer::new(&desk.reach.kafka, &[("client.id", DEPARTMENT)])?;
    let mut progress = desk.progress(RENTALS)?;
    for line in lines.iter().take(progress.confirmed()) {
        desk.ledger.published(RENTALS, event_id(line));
    }
    let mut waiting = Vec::new();
    for line in lines.into_iter().skip(progress.confirmed()) {
        if desk.stop.is_cancelled() {
            return Ok(());
        }
        pace.take(1).await;
        let event_id = event_id(&line);
        let value = match line.is_delete {
            true => None,
            false => {
                let record = from_json(&schema, &record(&line)).map_err(|error| anyhow!("{event_id}: {error}"))?;
                Some(encode(id, &schema, record).map_err(|error| anyhow!("{event_id}: {error}"))?)
            }
        };
        let verb = if line.is_delete { "deleted" } else { "changed" };
        let (kind, sequence) = (format!("ca.toronto.short_term_rental.{verb}"), format!("{:020}", line.seq));
        let published_at = now_us().to_string();
        let attributes = [
            (headers::SPECVERSION, "1.0"),
            (headers::ID, &event_id),
            (headers::SOURCE, SOURCE),
            (headers::TYPE, &kind),
            (headers::TIME, &line.published),
            (headers::SEQUENCE, &sequence),
            (headers::PUBLISHED_AT, &published_at),
            (headers::CONTENT_TYPE, headers::AVRO),
        ];
        let key = line.key.join("|");
        waiting.push(producer.send(&topic, key.as_bytes(), value.as_deref(), &attributes).await?);
        desk.ledger.published(RENTALS, event_id);
        if waiting.len() >= 500 {
            confirm(&mut waiting, &mut progress).await?;
        }
    }
    confirm(&mut waiting, &mut progress).await
}

/// What the events of this publisher are called.
pub(crate) fn event_id(line: &Line) -> String {
    format!("{ID_PREFIX}{}", line.seq)
}

async fn confirm(waiting: &mut Vec<Sent>, progress: &mut Progress) -> anyhow::Result<()> {
    let count = waiting.len();
    for delivery in waiting.drain(..) {
        acknowledged(delivery).await?;
    }
    progress.confirm(count)
}

/// The row as the department's own system holds it: numbers are numbers, blank is nothing.
fn record(line: &Line) -> Value {
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
