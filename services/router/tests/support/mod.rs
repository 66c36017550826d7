//! A small catalogue with four views, canonical events for it, and the plainest possible model of what views must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use freshet_avro::projection::Projection;
use freshet_avro::{Plan, framing, json};
use freshet_catalog_model::compiled::mask_kinds;
use freshet_catalog_model::*;
use freshet_core::Fault;
use freshet_kafka::TopicId;
use freshet_kafka::catalog::CatalogHandle;
use freshet_router::{LookUp, Metrics, Router, Setup, TopicIds};
use freshet_testkit::memory::{Bus, MemoryRecord};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

pub const INPUT: &str = "dataset.permit";
pub const PARTITIONS: i32 = 2;
pub const WINDOW_HOURS: u32 = 1;
/// 2026-01-01T00:00:00Z
pub const START_MS: i64 = 1_767_225_600_000;
const SCHEMA_ID: u32 = 7;

pub const AVSC: &str = r#"{
    "type": "record", "name": "Permit", "fields": [
        {"name": "number", "type": "string"},
        {"name": "holder", "type": "string"},
        {"name": "division", "type": "string"},
        {"name": "amount", "type": ["null", "long"], "default": null}
    ]}"#;

/// What each view is for: fields, masks, and the row filter once as text and once as the model's function.
pub struct ViewSpec {
    pub name: &'static str,
    pub fields: &'static [&'static str],
    pub masked: Option<&'static str>,
    pub rows: Option<Rows>,
}

pub type Rows = (&'static str, fn(&Json) -> bool);

pub const VIEWS: [ViewSpec; 4] = [
    ViewSpec { name: "all", fields: &["number", "division"], masked: None, rows: None },
    ViewSpec {
        name: "large",
        fields: &["number", "amount"],
        masked: None,
        rows: Some(("amount >= 50", |row| row["amount"].as_i64().is_some_and(|amount| amount >= 50))),
    },
    ViewSpec {
        name: "wuchang",
        fields: &["holder"],
        masked: None,
        rows: Some(("division = '420106'", |row| row["division"] == "420106")),
    },
    ViewSpec { name: "masked", fields: &["number", "holder"], masked: Some("holder"), rows: None },
];

pub fn view_topic(view: usize) -> String {
    format!("view.permit.{view:012x}")
}

fn title(text: &str) -> Title {
    Title { en: Some(text.to_owned()), zh: None }
}

fn view(index: usize) -> View {
    let spec = &VIEWS[index];
    View {
        id: format!("permit.{index:012x}"),
        dataset: "permit".to_owned(),
        fields: spec.fields.iter().map(|field| (*field).to_owned()).collect(),
        masks: spec.masked.iter().map(|field| ((*field).to_owned(), Mask::Redact)).collect(),
        rows: spec.rows.map(|(text, _)| text.to_owned()),
        schema_id: 100 + index as u32,
        partitions: PARTITIONS,
    }
}

static SOURCE: LazyLock<Plan> = LazyLock::new(|| Plan::compile(AVSC).expect("a schema"));

static TARGETS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let compile = |index| {
        let view = view(index);
        let projection = Projection::compile(&SOURCE, &view.fields, &mask_kinds(&view.masks)).expect("a projection");
        Plan::compile(projection.avsc()).expect("a schema")
    };
    (0..VIEWS.len()).map(compile).collect()
});

/// The schema of a view's records.
pub fn view_avsc(index: usize) -> &'static str {
    TARGETS[index].avsc()
}

/// With a grant for each view, active where `active` says so.
pub fn catalog(active: [bool; 4]) -> Catalog {
    let mut catalog = Catalog::default();
    let schema = |id, avsc| Entry::Schema(SchemaVersion { id, subject: format!("s{id}"), version: 1, avsc });
    catalog.insert(schema(SCHEMA_ID, AVSC.to_owned()));
    catalog.insert(Entry::Dataset(Box::new(Dataset {
        id: "permit".to_owned(),
        title: title("Permits"),
        authorities: vec![Authority { department: "wuhan".to_owned(), divisions: Vec::new() }],
        key: KeyRule { fields: vec!["number".to_owned()], form: KeyForm::Plain },
        version: VersionRule::Sequence,
        division: DivisionRule { field: Some("division".to_owned()), scheme: DivisionScheme::None },
        schema_ids: vec![SCHEMA_ID],
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
        identifiers: Vec::new(),
        rules: Vec::new(),
        transitions: None,
        mapping: None,
    })));
    for (index, active) in active.into_iter().enumerate() {
        let view = view(index);
        catalog.insert(schema(view.schema_id, view_avsc(index).to_owned()));
        catalog.insert(Entry::Grant(Box::new(Grant {
            id: VIEWS[index].name.to_owned(),
            subscriber: "tax".to_owned(),
            dataset: view.dataset.clone(),
            fields: view.fields.clone(),
            masks: view.masks.clone(),
            rows: view.rows.clone(),
            purpose: "test".to_owned(),
            legal_basis: "test".to_owned(),
            valid_from: Date::constant(2025, 1, 1),
            valid_until: Date::constant(2026, 6, 30),
            status: if active { GrantStatus::Active } else { GrantStatus::Suspended },
            delivery: Delivery::Kafka,
            view: view.id.clone(),
        })));
        catalog.insert(Entry::View(view));
    }
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

/// The ids of the topics that there are.
pub type Ids = Arc<Mutex<BTreeMap<String, TopicId>>>;

pub fn ids() -> Ids {
    let names = (0..VIEWS.len()).map(view_topic).chain([INPUT.to_owned()]);
    Arc::new(Mutex::new(names.zip((1..).map(TopicId)).collect()))
}

/// A cluster that has answered when it was asked.
struct AtOnce {
    ids: Ids,
    answer: Option<TopicIds>,
}

impl LookUp for AtOnce {
    fn look_up(&self, topics: &[&str]) -> Result<TopicIds, Fault> {
        let ids = self.ids.lock().expect("no test panicked");
        Ok(topics.iter().filter_map(|topic| Some(((*topic).to_owned(), *ids.get(*topic)?))).collect())
    }

    fn ask(&mut self, topics: Vec<String>) -> bool {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.answer = self.look_up(&topics).ok();
        true
    }

    fn answer(&mut self) -> Option<TopicIds> {
        self.answer.take()
    }

    fn forget(&mut self) {
        self.answer = None;
    }
}

pub fn router(catalogue: &CatalogHandle, clock: &Clock, ids: &Ids, fill_batch_records: usize) -> Router {
    let (clock, ids) = (clock.clone(), Arc::clone(ids));
    Router::new(Setup {
        catalogue: catalogue.clone(),
        clock: Box::new(move || Timestamp::from_millisecond(clock.now_ms()).expect("in range")),
        time_zone: TimeZone::UTC,
        fill_batch_records,
        topic_ids: Box::new(AtOnce { ids, answer: None }),
        fresh_for: Duration::ZERO,
        metrics: Metrics::new(&prometheus::Registry::new()).expect("an empty registry"),
    })
}

/// One canonical event: `None` deletes.
pub fn accept(bus: &mut Bus, number: u8, row: Option<Json>, sequence: u64) -> (i32, i64) {
    let key = format!("P{number}");
    let value = row.map(|row| {
        let datum = json::encode(&SOURCE, &row).expect("a good row");
        let mut value = Vec::new();
        framing::write(SCHEMA_ID, &datum, &mut value);
        value
    });
    let partition = freshet_core::partition(key.as_bytes(), PARTITIONS);
    let (id, sequence) = (format!("e{sequence}"), sequence.to_string());
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", &*id),
        ("ce_source", "urn:wuhan:permits"),
        ("ce_type", "permit.changed"),
        ("ce_sequence", &*sequence),
        ("ce_subject", "holder 张三"),
        ("ce_divcode", "420106"),
        ("content-type", "application/avro"),
        ("x-extra", "not granted to anybody"),
        ("freshet_dataset_offset", "-1"),
    ];
    let offset = bus.publish(INPUT, partition, Some(key.as_bytes()), value.as_deref(), &headers);
    (partition, offset)
}

pub fn row(number: u8, holder: &str, division: &str, amount: Option<i64>) -> Json {
    json!({"number": format!("P{number}"), "holder": holder, "division": division, "amount": amount})
}

/// One record that a view must hold: source offset, key, value, removal.
pub type Expected = (i64, Vec<u8>, Option<Vec<u8>>, Option<&'static str>);

/// What a view must hold of these canonical records: the model.
pub fn model(view: usize, records: &[MemoryRecord]) -> Vec<Expected> {
    let spec = &VIEWS[view];
    let mut inside: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut expected = Vec::new();
    for record in records {
        let key = record.key.clone().expect("a key");
        let Some(value) = &record.value else {
            if inside.remove(&key) || spec.rows.is_none() {
                expected.push((record.offset, key, None, Some("deleted")));
            }
            continue;
        };
        let row = json::decode(&SOURCE, &value[5..]).expect("a good row");
        if spec.rows.is_some_and(|(_, matches)| !matches(&row)) {
            if inside.remove(&key) {
                expected.push((record.offset, key, None, Some("left_filter")));
            }
            continue;
        }
        inside.insert(key.clone());
        let mut granted = serde_json::Map::new();
        for field in spec.fields {
            let value = if spec.masked == Some(*field) { redacted() } else { row[*field].clone() };
            granted.insert((*field).to_owned(), value);
        }
        let datum = json::encode(&TARGETS[view], &Json::Object(granted)).expect("a good view row");
        let mut value = Vec::new();
        framing::write(100 + view as u32, &datum, &mut value);
        expected.push((record.offset, key, Some(value), None));
    }
    expected
}

/// What the mask writes in place of any text.
fn redacted() -> Json {
    json!("***")
}

/// The same of what a view does hold.
pub fn found(records: &[MemoryRecord]) -> Vec<Expected> {
    records
        .iter()
        .map(|record| {
            let offset = record.header("freshet_dataset_offset").and_then(|text| text.parse().ok()).expect("an offset");
            let removal = record.header("freshet_removal").map(|text| match text {
                "deleted" => "deleted",
                "left_filter" => "left_filter",
                other => panic!("{other} is no removal"),
            });
            (offset, record.key.clone().expect("a key"), record.value.clone(), removal)
        })
        .collect()
}

/// Rows by key, as compaction would leave them.
pub fn content(expected: &[Expected]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut content = BTreeMap::new();
    for (_, key, value, _) in expected {
        match value {
            Some(value) => content.insert(key.clone(), value.clone()),
            None => content.remove(key),
        };
    }
    content
}
