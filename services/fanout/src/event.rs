//! A view record as its subscriber reads it outside of Kafka: CloudEvents 1.0, structured JSON
//! (`application/cloudevents+json`), the same for a webhook's body, a pull response and a server-sent event.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use freshet_avro::{Plan, Walk, framing, json};
use freshet_core::{Violation, headers};
use freshet_kafka::OwnedRecord;
use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub const CLOUDEVENTS_JSON: &str = "application/cloudevents+json";

/// Why a view record cannot be shown. None of these is the subscriber's fault, and none is skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The catalogue snapshot may be a moment behind the record.
    #[error("schema {0} is not in the catalogue yet")]
    SchemaUnknown(u32),
    #[error("schema {id}: {reason}")]
    Schema { id: u32, reason: String },
    #[error("partition {partition} offset {offset}: {reason}")]
    Malformed { partition: i32, offset: i64, reason: String },
}

/// The compiled schemas of the views, by schema id. A schema id never changes its meaning, so nothing expires.
pub struct Schemas {
    lookup: Box<dyn Fn(u32) -> Option<String> + Send + Sync>,
    compiled: Mutex<HashMap<u32, Arc<Plan>>>,
}

impl std::fmt::Debug for Schemas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schemas").finish_non_exhaustive()
    }
}

impl Schemas {
    /// `lookup` gives the text of a schema by its id, from the live catalogue.
    pub fn new(lookup: impl Fn(u32) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { lookup: Box::new(lookup), compiled: Mutex::new(HashMap::new()) }
    }

    pub(crate) fn plan(&self, id: u32) -> Result<Arc<Plan>, EventError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = compiled.get(&id) {
            return Ok(Arc::clone(plan));
        }
        let text = (self.lookup)(id).ok_or(EventError::SchemaUnknown(id))?;
        let plan = Plan::compile(&text).map_err(|error| EventError::Schema { id, reason: error.to_string() })?;
        let plan = Arc::new(plan);
        compiled.insert(id, Arc::clone(&plan));
        Ok(plan)
    }

    /// The data of the record, or `None` for a delete.
    pub fn data(&self, record: &OwnedRecord) -> Result<Option<Value>, EventError> {
        let Some((id, datum)) = framed(record)? else { return Ok(None) };
        let data =
            freshet_avro::json::decode(&*self.plan(id)?, datum).map_err(|violations| refused(record, &violations))?;
        Ok(Some(data))
    }

    /// The record as the text of a CloudEvents object.
    ///
    /// Every `ce_` header becomes the attribute of that name. Beside them: `partitionkey` (CloudEvents extension: the
    /// entity's key), `operation` (`upsert` or `delete`), `removal` (why a row is removed: `deleted` or `left_filter`)
    /// and `publishedat` (when the bus took the event). `data` is null for a delete.
    pub fn cloudevent_json(&self, record: &OwnedRecord) -> Result<Vec<u8>, EventError> {
        let write = |data: Option<json::Natural<'_>>| {
            let attributes = attributes(record);
            let mut text = Vec::with_capacity(256 + 2 * record.size_bytes());
            let mut serializer = serde_json::Serializer::new(&mut text);
            let written = serializer.serialize_map(Some(attributes.len() + 1)).and_then(|mut map| {
                attributes.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.serialize_entry("data", &data)?;
                map.end()
            });
            written.map_err(|error| malformed(record, error.to_string()))?;
            Ok(text)
        };
        let Some((id, datum)) = framed(record)? else { return write(None) };
        let (plan, mut walk) = (self.plan(id)?, Walk::new());
        if !plan.check(datum, &mut walk) {
            return Err(refused(record, walk.violations()));
        }
        write(Some(json::record(&plan, datum)))
    }
}

/// Everything of the CloudEvents object but its data.
fn attributes(record: &OwnedRecord) -> BTreeMap<&str, Cow<'_, str>> {
    let mut all = BTreeMap::from([("specversion", Cow::Borrowed("1.0"))]);
    for (name, value) in record.headers.iter() {
        if let (Some(attribute), Ok(text)) = (name.strip_prefix("ce_"), std::str::from_utf8(value)) {
            all.insert(attribute, Cow::Borrowed(text));
        }
    }
    all.insert("datacontenttype", Cow::Borrowed("application/json"));
    if let Some(key) = key_text(record) {
        all.entry("partitionkey").or_insert(key);
    }
    if let Some(at) = published_at(record) {
        all.insert("publishedat", Cow::Owned(at.to_string()));
    }
    let operation = if record.value.is_some() { "upsert" } else { "delete" };
    all.insert("operation", Cow::Borrowed(operation));
    if record.value.is_none()
        && let Some(reason) = record.header_str(headers::REMOVAL)
    {
        all.insert("removal", Cow::Borrowed(reason));
    }
    all.remove("data");
    all
}

/// The record's schema id and datum, or `None` for a delete.
pub(crate) fn framed(record: &OwnedRecord) -> Result<Option<(u32, &[u8])>, EventError> {
    let Some(value) = &record.value else { return Ok(None) };
    framing::split(value).map(Some).map_err(|error| malformed(record, error.to_string()))
}

/// Why a record is none of its schema.
pub(crate) fn refused(record: &OwnedRecord, violations: &[Violation]) -> EventError {
    malformed(record, violations.first().map_or_else(String::new, ToString::to_string))
}

pub(crate) fn malformed(record: &OwnedRecord, reason: String) -> EventError {
    EventError::Malformed { partition: record.partition, offset: record.offset, reason }
}

/// The entity's key as text. Every key rule gives UTF-8; what is not comes as base64, so that nothing is lost.
pub fn key_text(record: &OwnedRecord) -> Option<Cow<'_, str>> {
    let key = record.key.as_ref()?;
    Some(match std::str::from_utf8(key) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(format!("base64:{}", STANDARD.encode(key))),
    })
}

/// When the way in handed the event to the bus.
pub fn published_at(record: &OwnedRecord) -> Option<jiff::Timestamp> {
    let microseconds = record.header_str(headers::PUBLISHED_AT)?.parse().ok()?;
    jiff::Timestamp::from_microsecond(microseconds).ok()
}

/// The CloudEvents `id`; where a record has none, its place in the view.
pub fn event_id(record: &OwnedRecord) -> Cow<'_, str> {
    record
        .header_str(headers::ID)
        .map_or_else(|| Cow::Owned(format!("{}/{}/{}", record.topic, record.partition, record.offset)), Cow::Borrowed)
}

/// `webhook-id`: the same at every attempt and after every restart, because it rests on what the record says alone. A
/// CloudEvents `source` and `id` together name an event once (CloudEvents 1.0.2, §3.1.1), and a view has it once.
pub fn delivery_id(view: &str, record: &OwnedRecord) -> String {
    let mut hash = Sha256::new();
    hash.update(view.as_bytes());
    for part in [record.header(headers::SOURCE).unwrap_or_default(), event_id(record).as_bytes()] {
        // A length before each part, so that no two lists of parts run together alike.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut id = String::with_capacity("msg_".len() + 32);
    id.push_str("msg_");
    for byte in &digest[..16] {
        for half in [byte >> 4, byte & 15] {
            id.push(char::from(b"0123456789abcdef"[usize::from(half)]));
        }
    }
    id
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const AVSC: &str = r#"{"type":"record","name":"Permit","fields":[
        {"name":"number","type":"string"},{"name":"status","type":["null","string"]}]}"#;

    /// A view record of schema 7: number "p-1", status "open"; or a delete.
    pub(crate) fn record(offset: i64, deleted: bool) -> OwnedRecord {
        let mut value = vec![0, 0, 0, 0, 7];
        value.extend_from_slice(&[6, b'p', b'-', b'1', 2, 8, b'o', b'p', b'e', b'n']);
        let id = format!("e-{offset}");
        OwnedRecord {
            topic: "view.permits.0123456789ab".to_owned(),
            partition: 0,
            offset,
            timestamp_ms: Some(1_770_000_000_000),
            key: Some(b"p-1".to_vec()),
            value: (!deleted).then_some(value),
            headers: [
                ("ce_specversion", "1.0"),
                ("ce_id", id.as_str()),
                ("ce_source", "urn:permits"),
                ("ce_type", "permits.changed"),
                ("content-type", "application/avro"),
                ("freshet_published_at", "1770000000000000"),
                ("freshet_removal", "left_filter"),
            ]
            .into_iter()
            .collect(),
        }
    }

    pub(crate) fn schemas() -> Schemas {
        Schemas::new(|id| (id == 7).then(|| AVSC.to_owned()))
    }

    /// The text read back.
    fn cloudevent(record: &OwnedRecord) -> Result<Value, EventError> {
        let text = schemas().cloudevent_json(record)?;
        Ok(serde_json::from_slice(&text).expect("JSON"))
    }

    #[test]
    fn an_upsert_is_a_structured_cloudevent() {
        let event = cloudevent(&record(3, false)).expect("an event");
        let expected = serde_json::json!({
            "specversion": "1.0", "id": "e-3", "source": "urn:permits", "type": "permits.changed",
            "datacontenttype": "application/json", "partitionkey": "p-1", "publishedat": "2026-02-02T02:40:00Z",
            "operation": "upsert", "data": {"number": "p-1", "status": "open"},
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn the_data_is_that_of_the_decoder_and_each_name_comes_once() {
        let mut odd = record(3, false);
        for name in ["ce_data", "ce_operation", "ce_partitionkey", "ce_id"] {
            odd.headers.push(name, format!("\u{0}\"{name}").as_bytes());
        }
        for one in [record(3, false), record(3, true), odd] {
            let data = schemas().data(&one).expect("data").unwrap_or(Value::Null);
            assert_eq!(cloudevent(&one).expect("an event")["data"], data);
            let text = String::from_utf8(schemas().cloudevent_json(&one).expect("a text")).expect("UTF-8");
            for attribute in ["\"data\":", "\"id\":", "\"operation\":"] {
                assert_eq!(text.matches(attribute).count(), 1, "{text}");
            }
        }
        let mut cut = record(9, false);
        cut.value = cut.value.map(|value| value[..8].to_vec());
        assert_eq!(cloudevent(&cut), schemas().data(&cut).map(|_| Value::Null));
    }

    #[test]
    fn a_delete_says_why_and_has_no_data() {
        let event = cloudevent(&record(3, true)).expect("an event");
        assert_eq!(event["operation"], "delete");
        assert_eq!(event["removal"], "left_filter");
        assert_eq!(event["data"], Value::Null);
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error_with_its_place() {
        let mut cut = record(9, false);
        cut.value = cut.value.map(|value| value[..8].to_vec());
        let error = cloudevent(&cut).expect_err("cut off");
        assert!(matches!(error, EventError::Malformed { offset: 9, .. }), "{error}");
        let mut other = record(9, false);
        other.value = Some(vec![0, 0, 0, 0, 8, 0]);
        assert_eq!(cloudevent(&other).expect_err("unknown"), EventError::SchemaUnknown(8));
    }

    #[test]
    fn the_delivery_id_rests_on_the_event_alone() {
        let mut moved = record(3, false);
        (moved.offset, moved.partition) = (900, 5);
        assert_eq!(delivery_id("v", &record(3, false)), delivery_id("v", &moved));
        assert_ne!(delivery_id("v", &record(3, false)), delivery_id("w", &record(3, false)));
        assert_ne!(delivery_id("v", &record(3, false)), delivery_id("v", &record(4, false)));
    }
}
