//! A small catalogue, events for it, and a validator without Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use freshet_avro::{Plan, framing, json};
use freshet_catalog_model::*;
use freshet_core::topics;
use freshet_kafka::catalog::CatalogHandle;
use freshet_testkit::memory::Bus;
use freshet_validator::{Metrics, Setup, Validator};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

pub const DATASET: &str = "permit";
pub const PARTITIONS: i32 = 3;
pub const INPUT: &str = "publish.permit";
pub const OUTPUT: &str = "dataset.permit";
pub const WINDOW_HOURS: u32 = 1;
/// 2026-01-01T00:00:00Z
pub const START_MS: i64 = 1_767_225_600_000;

pub const AVSC: &str = r#"{
    "type": "record", "name": "Permit", "fields": [
        {"name": "number", "type": "string"},
        {"name": "revision", "type": "long"},
        {"name": "division", "type": "string"},
        {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["APPLIED", "VALID", "REVOKED"]}},
        {"name": "holder", "type": ["null", "string"], "default": null},
        {"name": "person", "type": ["null", "string"], "default": null},
        {"name": "issued", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null},
        {"name": "expires", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null}
    ]}"#;

fn title(text: &str) -> Title {
    Title { en: Some(text.to_owned()), zh: None }
}

fn department(id: &str) -> Department {
    Department { id: id.to_owned(), title: title(id), uscc: None, sources: vec![format!("urn:{id}")] }
}

/// `wuhan` publishes for 4201…, `shaoxing` for 3306…, `tax` for none.
pub fn catalog(version: VersionRule) -> Catalog {
    let mut catalog = Catalog::default();
    for id in ["wuhan", "shaoxing", "tax"] {
        catalog.insert(Entry::Department(department(id)));
    }
    let subject = "dataset.permit-value".to_owned();
    catalog.insert(Entry::Schema(SchemaVersion { id: 7, subject, version: 1, avsc: AVSC.to_owned() }));
    let authority =
        |id: &str, prefix: &str| Authority { department: id.to_owned(), divisions: vec![prefix.to_owned()] };
    let identifier = |field: &str, kind| FieldIdentifier { field: field.to_owned(), kind };
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    catalog.insert(Entry::Dataset(Box::new(Dataset {
        id: DATASET.to_owned(),
        title: title("Permits"),
        authorities: vec![authority("wuhan", "4201"), authority("shaoxing", "3306")],
        key: KeyRule { fields: texts(&["number"]), form: KeyForm::Plain },
        version,
        division: DivisionRule { field: Some("division".to_owned()), scheme: DivisionScheme::Gb2260 },
        schema_ids: vec![7],
        partitions: PARTITIONS,
        catalogue: CatalogueFields {
            summary: title("Permits"),
            update_frequency: UpdateFrequency::Realtime,
            share_type: ShareType::Unconditional,
            share_method: ShareMethod::ServiceInterface,
            use_conditions: Vec::new(),
            classification: Classification::General,
            legal_basis: Vec::new(),
            sensitive_fields: Vec::new(),
        },
        retention: Retention { publish_hours: 1, tombstone_hours: WINDOW_HOURS },
        identifiers: vec![
            identifier("holder", IdentifierKind::Uscc),
            identifier("person", IdentifierKind::ResidentNumber),
        ],
        rules: vec![Rule {
            name: "dates-in-order".to_owned(),
            require: "expires is null or issued is null or issued <= expires".to_owned(),
            message: title("it expires before it is issued"),
            field: Some("expires".to_owned()),
        }],
        transitions: Some(Transitions {
            field: "status".to_owned(),
            initial: texts(&["APPLIED", "VALID"]),
            allowed: BTreeMap::from([
                ("APPLIED".to_owned(), texts(&["APPLIED", "VALID"])),
                ("VALID".to_owned(), texts(&["VALID", "REVOKED"])),
                ("REVOKED".to_owned(), Vec::new()),
            ]),
        }),
        mapping: None,
    })));
    catalog
}

/// The clock that a test turns.
#[derive(Debug, Clone)]
pub struct Clock(Arc<AtomicI64>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(START_MS)))
    }
}

impl Clock {
    pub fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

pub fn validator(catalogue: &CatalogHandle, clock: &Clock) -> Validator {
    Validator::new(setup(catalogue, clock))
}

pub fn setup(catalogue: &CatalogHandle, clock: &Clock) -> Setup {
    let clock = clock.clone();
    Setup {
        catalogue: catalogue.clone(),
        clock: Box::new(move || Timestamp::from_millisecond(clock.now_ms()).expect("in range")),
        pseudonym: None,
        max_event_bytes: 65_536,
        clock_skew: SignedDuration::from_secs(300),
        width: Box::new(|_| Ok(Some(PARTITIONS))),
        metrics: Metrics::new(&prometheus::Registry::new()).expect("an empty registry"),
    }
}

/// One event as a department would send it, with whatever a test changes.
#[derive(Debug, Clone)]
pub struct Event {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, String)>,
}

/// A good record.
pub fn permit(number: &str, revision: u64, status: &str) -> Json {
    json!({"number": number, "revision": revision, "division": "420106", "status": status})
}

pub fn encode(data: &Json) -> Vec<u8> {
    let plan = Plan::compile(AVSC).expect("a schema");
    let datum = json::encode(&plan, data).unwrap_or_else(|violations| panic!("{data}: {violations:?}"));
    let mut value = Vec::new();
    framing::write(7, &datum, &mut value);
    value
}

impl Event {
    pub fn upsert(id: &str, data: &Json) -> Self {
        let revision = data["revision"].as_u64().unwrap_or(0);
        let key = data["number"].as_str().unwrap_or("").as_bytes().to_vec();
        let event = Self { key, value: Some(encode(data)), headers: Vec::new() };
        event
            .with("ce_specversion", "1.0")
            .with("ce_id", id)
            .with("ce_source", "urn:wuhan:permits")
            .with("ce_type", "cn.gov.permit.changed")
            .with("ce_sequence", &revision.to_string())
            .with("ce_time", "2025-12-31T23:59:00Z")
            .with("content-type", "application/avro")
    }

    pub fn delete(id: &str, number: &str, revision: u64) -> Self {
        let mut event = Self::upsert(id, &permit(number, revision, "VALID")).with("ce_divcode", "420106");
        event.value = None;
        event
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(found, _)| found != name);
        self
    }

    pub fn partition(&self) -> i32 {
        freshet_core::partition(&self.key, PARTITIONS)
    }

    /// Publishes into the partition of its key.
    pub fn publish(&self, bus: &mut Bus) {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        bus.publish(INPUT, self.partition(), Some(&self.key), self.value.as_deref(), &headers);
    }
}

/// The codes and fields of every rejection, in order of partition and offset.
pub fn rejections(bus: &Bus) -> Vec<Vec<(String, Option<String>)>> {
    let mut found = Vec::new();
    let departments = ["wuhan", "shaoxing", "tax"].map(topics::reject);
    for topic in departments.iter().map(String::as_str).chain([topics::REJECT_UNASSIGNED]) {
        for partition in 0..PARTITIONS {
            for record in bus.records(topic, partition) {
                let list = record.header("freshet_violations").expect("every rejection has its list");
                let list: freshet_core::Rejection = serde_json::from_str(list).expect("JSON");
                let pairs = list.violations.iter().map(|v| (v.code.as_str().to_owned(), v.field.clone()));
                found.push(pairs.collect());
            }
        }
    }
    found
}
