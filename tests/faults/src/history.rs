//! What was seen at both ends of the bus while it was hurt: every event that a publisher got an acknowledgement for, what
//! readers of the canonical and the reject topics found, and every delivery that a subscriber acknowledged. Plain data;
//! the checker is a function of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use freshet_demo::filter::Filter;
use serde_json::Value;

/// Milliseconds since the epoch, by the clock of the one machine that everything runs on.
pub type Millis = i64;

#[derive(Debug, Clone, Default)]
pub struct History {
    pub datasets: BTreeMap<String, Dataset>,
    pub grants: Vec<GrantHistory>,
}

impl History {
    pub fn last_delivery(&self) -> Option<Millis> {
        self.grants.iter().flat_map(|grant| &grant.deliveries).map(|delivery| delivery.at).max()
    }
}

#[derive(Debug, Clone, Default)]
pub struct Dataset {
    pub acknowledged: Vec<Acknowledged>,
    /// In the order of their partitions; the events of one key are in one partition.
    pub canonical: Vec<Canonical>,
    pub refused: Vec<Refused>,
}

/// The bus has said that it has this event.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// What its publisher knows it by.
    pub id: String,
    /// The entity, as its publisher names it.
    pub key: String,
    pub at: Millis,
}

/// A record of `dataset.<dataset>`.
#[derive(Debug, Clone)]
pub struct Canonical {
    /// CloudEvents `id`: what subscribers know it by.
    pub id: String,
    /// What its publisher knows it by.
    pub published_as: String,
    pub key: String,
    /// None: deleted.
    pub row: Option<Value>,
    /// `ce_sequence`, where it has one.
    pub sequence: Option<u64>,
}

/// A record of a reject topic.
#[derive(Debug, Clone)]
pub struct Refused {
    pub published_as: String,
    /// Of the first violation.
    pub code: String,
    pub key: String,
    pub sequence: Option<u64>,
}

/// How a subscriber receives, as far as it decides what is a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each event once, in order: Kafka with `read_committed`, pull.
    Once,
    /// At least once, in order, under one message id: a webhook.
    AtLeastOnce,
    /// A table of the subscriber's, watched by a trigger: it shows each write once, but not which event deleted a row.
    Table,
}

#[derive(Debug, Clone)]
pub struct GrantHistory {
    pub grant: String,
    pub dataset: String,
    pub way: Way,
    pub filter: Filter,
    /// First parts of the granted paths.
    pub fields: BTreeSet<String>,
    /// Granted whole and unmasked: what arrives must be what the canonical event says. Empty where it is not compared.
    pub plain_fields: BTreeSet<String>,
    /// When the end of the grant was acknowledged by the catalogue.
    pub ended: Option<Millis>,
    pub deliveries: Vec<Delivery>,
}

#[derive(Debug, Clone)]
pub struct Delivery {
    /// Empty for a row that vanished from a table.
    pub event: String,
    pub key: String,
    /// The row was deleted, or left the filter.
    pub is_removal: bool,
    /// Names of what arrived.
    pub fields: Arc<BTreeSet<String>>,
    /// [`content`] of the row, where the way compares it.
    pub content: Option<u64>,
    /// `webhook-id`.
    pub message: Option<String>,
    pub at: Millis,
}

/// A hash of these fields of a row.
pub fn content(row: &Value, fields: &BTreeSet<String>) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for field in fields {
        hash.update(field.as_bytes());
        hash.update(row.get(field).unwrap_or(&Value::Null).to_string().as_bytes());
    }
    hash.digest()
}
