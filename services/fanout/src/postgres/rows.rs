//! A batch of view records as the rows that the upsert takes.

use std::collections::{BTreeMap, HashMap};

use freshet_core::headers;
use freshet_kafka::OwnedRecord;
use serde_json::{Map, Value};

use crate::event::{self, EventError, Schemas};

/// The records of a batch as rounds: the n-th event of a key is in the n-th round. One statement may touch a row once
/// only, and a subscriber's own triggers are to see every event, so a batch is not folded into its last states.
#[derive(Debug, Default, PartialEq)]
pub struct Rounds {
    pub rounds: Vec<Round>,
    /// Per partition the offset after its last record.
    pub next: BTreeMap<i32, i64>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Round {
    pub upserts: Vec<Value>,
    pub deletes: Vec<String>,
}

impl Rounds {
    pub fn of(records: &[OwnedRecord], schemas: &Schemas) -> Result<Self, EventError> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut all = Self::default();
        for record in records {
            let key = event::key_text(record).ok_or_else(|| EventError::Malformed {
                partition: record.partition,
                offset: record.offset,
                reason: "no key".to_owned(),
            })?;
            let key = without_nul(key);
            let count = seen.entry(key.clone()).or_default();
            if all.rounds.len() == *count {
                all.rounds.push(Round::default());
            }
            let round = &mut all.rounds[*count];
            *count += 1;
            match schemas.data(record)? {
                Some(data) => round.upserts.push(row(record, key, data)),
                None => round.deletes.push(key),
            }
            all.next.insert(record.partition, record.offset + 1);
        }
        Ok(all)
    }
}

fn row(record: &OwnedRecord, key: String, data: Value) -> Value {
    let mut row = match clean(data) {
        Value::Object(fields) => fields,
        // The schema of a view is a record, and a record is an object.
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    row.insert("freshet_key".to_owned(), key.into());
    row.insert("freshet_event_id".to_owned(), without_nul(event::event_id(record)).into());
    if let Some(source) = record.header_str(headers::SOURCE) {
        row.insert("freshet_source".to_owned(), without_nul(source.to_owned()).into());
    }
    let time = record.header_str(headers::TIME).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    for (name, at) in [("freshet_event_time", time), ("freshet_published_at", event::published_at(record))] {
        if let Some(at) = at {
            row.insert(name.to_owned(), at.to_string().into());
        }
    }
    Value::Object(row)
}

/// PostgreSQL has no U+0000 in a text (manual, 8.3): it becomes U+FFFD, the character for what cannot be shown. Anything
/// else would leave one such record in the way of all that follow it.
fn clean(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(clean).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (without_nul(name), clean(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::{record, schemas};

    #[test]
    fn the_events_of_one_key_go_to_different_rounds_in_order() {
        let mut other = record(2, false);
        other.key = Some(b"p-2".to_vec());
        let batch = [record(1, false), other, record(3, true), record(7, false)];
        let rounds = Rounds::of(&batch, &schemas()).expect("rounds");
        assert_eq!(rounds.next, BTreeMap::from([(0, 8)]));
        let shape: Vec<_> = rounds.rounds.iter().map(|round| (round.upserts.len(), round.deletes.len())).collect();
        assert_eq!(shape, [(2, 0), (0, 1), (1, 0)]);
        assert_eq!(
            rounds.rounds[0].upserts[0],
            serde_json::json!({"number": "p-1", "status": "open", "freshet_key": "p-1", "freshet_event_id": "e-1",
                "freshet_source": "urn:permits", "freshet_published_at": "2026-02-02T02:40:00Z"})
        );
    }

    #[test]
    fn what_postgresql_cannot_hold_is_shown_as_such() {
        let dirty = serde_json::json!({"a": "x\0y", "b": [{"c\0": "\0"}], "d": 1});
        assert_eq!(clean(dirty), serde_json::json!({"a": "x\u{fffd}y", "b": [{"c\u{fffd}": "\u{fffd}"}], "d": 1}));
    }
}
