//! Departments: the real registers and the licences, in by Kafka, HTTP and files; out by Kafka, pull, webhook and into a
//! database. They are careful: whatever was not acknowledged is sent again under the same id, in order.

pub mod authority;
pub mod database;
pub mod file;
pub mod http;
pub mod kafka_in;
pub mod kafka_out;
pub mod pull;
pub mod reader;
pub mod webhook;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::Schema;
use freshet_testkit::departments::{Registry, decode, to_json};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;

/// Datasets, and by which department and way they come in.
pub const FILES: [(&str, &str); 4] = [
    ("solicitation", "toronto-purchasing"),
    ("contract_award", "toronto-purchasing"),
    ("noncompetitive_contract", "toronto-purchasing"),
    ("apartment_registration", "toronto-rentsafe"),
];
pub const RENTALS: &str = "short_term_rental_registration";
pub const LICENCES: &str = "licence";
pub const BUSINESS: &str = "business_registration";

/// What every department has at hand.
#[derive(Debug, Clone)]
pub struct Desk {
    pub ledger: Arc<Ledger>,
    pub kafka: String,
    /// http://host:port
    pub gateway: String,
    pub registry: String,
    pub pull: String,
    /// Publishers end.
    pub stop_publishing: CancellationToken,
    /// Receivers end.
    pub stop: CancellationToken,
}

/// Keeps to a rate without making up for what was missed.
#[derive(Debug)]
pub struct Pace {
    per_second: f64,
    due: Instant,
}

impl Pace {
    pub fn new(per_second: f64) -> Self {
        Self { per_second: per_second.max(0.1), due: Instant::now() }
    }

    pub async fn take(&mut self, count: usize) {
        tokio::time::sleep_until(self.due).await;
        self.due = self.due.max(Instant::now()) + Duration::from_secs_f64(count as f64 / self.per_second);
    }
}

/// Rows of records by their schemas, which the registry is asked for until it answers.
#[derive(Debug)]
pub struct Rows {
    registry: Registry,
    known: HashMap<u32, Arc<Schema>>,
}

impl Rows {
    pub fn new(registry: &str) -> Self {
        Self { registry: Registry::new(registry, None), known: HashMap::new() }
    }

    /// The record in natural JSON. `Err` says what is no record.
    pub async fn row(&mut self, framed: &[u8]) -> Result<Value, String> {
        let id = framed.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let id = id.ok_or("shorter than the wire format")?;
        while !self.known.contains_key(&id) {
            let asked = tokio::time::timeout(Duration::from_secs(10), self.registry.schema(id)).await;
            match asked {
                Ok(Ok(schema)) => drop(self.known.insert(id, schema)),
                // The catalogue's service may be dead just now.
                Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        let schema = &self.known[&id];
        Ok(to_json(schema, &decode(schema, framed)?))
    }
}
