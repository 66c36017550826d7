//! A gateway with a catalogue made in code, and the sink that remembers what it was given.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use freshet_catalog_model::compiled::PseudonymKey;
use freshet_catalog_model::{
    Authority, Catalog, CatalogueFields, Classification, Dataset, Department, DivisionRule, Entry, KeyForm, KeyRule,
    SchemaVersion, ShareMethod, ShareType, Title, UpdateFrequency, VersionRule,
};
use freshet_core::Violation;
use freshet_gateway::metrics::Metrics;
use freshet_gateway::sink::EventSink;
use freshet_gateway::{Config, Gateway, Parts, routes};
use freshet_kafka::catalog::CatalogHandle;
use freshet_kafka::publisher::{Acknowledgement, PublishError};
use freshet_kafka::{Position, Record};
use freshet_runtime::http::{Bounds, Connections, Server};
use freshet_runtime::{CancellationToken, Credentials, credentials};
use http::{Request, Response};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::ServiceExt;

pub const ROADS: &str = "token-of-roads";
pub const PARKS: &str = "token-of-parks";
pub const EVENTS: &str = "/v1/datasets/road_closure/events";
pub const UPLOADS: &str = "/v1/datasets/road_closure/uploads";

const ROAD_CLOSURE: &str = r#"{"type": "record", "name": "RoadClosure", "fields": [
    {"name": "closure_id", "type": "string"},
    {"name": "street", "type": "string"},
    {"name": "lanes", "type": "int"},
    {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["planned", "active", "over"]}}]}"#;
const PERMIT: &str = r#"{"type": "record", "name": "Permit", "fields": [
    {"name": "division", "type": "string"},
    {"name": "number", "type": "int"},
    {"name": "updated", "type": "long"}]}"#;
const PERSON: &str = r#"{"type": "record", "name": "Person", "fields": [
    {"name": "number", "type": "string"}, {"name": "name", "type": "string"}]}"#;

/// Remembers every record; can be full, or fail.
#[derive(Debug, Default)]
pub struct Sink {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Record>,
    room: Option<usize>,
    is_full_once: bool,
    fails: bool,
    holds: bool,
    held: Vec<oneshot::Sender<Result<Position, PublishError>>>,
}

impl Sink {
    pub fn records(&self) -> Vec<Record> {
        self.state.lock().unwrap().records.clone()
    }

    /// Gives the records away, and remembers none of them.
    #[allow(dead_code, reason = "the fuzz target of the routes uses this file too")]
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.state.lock().unwrap().records)
    }

    /// Takes this many more, then is full.
    pub fn set_room(&self, room: Option<usize>) {
        self.state.lock().unwrap().room = room;
    }

    /// Takes this many more, is full for one, then has room again.
    pub fn set_full_once_after(&self, room: usize) {
        let mut state = self.state.lock().unwrap();
        (state.room, state.is_full_once) = (Some(room), true);
    }

    /// No acknowledgement comes.
    pub fn set_holds(&self, holds: bool) {
        self.state.lock().unwrap().holds = holds;
    }

    /// Every acknowledgement is a failure.
    pub fn set_fails(&self, fails: bool) {
        self.state.lock().unwrap().fails = fails;
    }
}

impl EventSink for Sink {
    fn enqueue(&self, record: &Record) -> Result<Acknowledgement, PublishError> {
        let mut state = self.state.lock().unwrap();
        match &mut state.room {
            Some(0) => {
                if state.is_full_once {
                    state.room = None;
                }
                return Err(PublishError::Full);
            }
            Some(room) => *room -= 1,
            None => {}
        }
        let (answer, acknowledgement) = oneshot::channel();
        if state.fails {
            answer.send(Err(PublishError::Other { reason: "no broker".to_owned() })).unwrap();
            return Ok(acknowledgement.into());
        }
        if state.holds {
            state.held.push(answer);
            return Ok(acknowledgement.into());
        }
        let offset = state.records.iter().filter(|known| known.topic == record.topic).count() as i64;
        state.records.push(record.clone());
        answer.send(Ok(Position { partition: 0, offset })).unwrap();
        Ok(acknowledgement.into())
    }
}

pub struct Fixture {
    pub router: Router,
    pub sink: Arc<Sink>,
    pub catalogue: CatalogHandle,
    pub registry: Registry,
    pub connections: Connections,
    pub stop: CancellationToken,
    _credentials: tempfile::NamedTempFile,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let sink = Arc::new(Sink::default());
        let catalogue = CatalogHandle::fixed(catalog());
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let connections = Connections::register(&registry, "gateway").unwrap();
        let stop = CancellationToken::new();
        let file = credentials_file();
        let parts = Parts {
            credentials: Some(Credentials::read(file.path()).unwrap()),
            pseudonym: Some(PseudonymKey::new(&[7; 32]).unwrap()),
            catalogue: catalogue.clone(),
            sink: sink.clone(),
            metrics,
            stop: stop.clone(),
        };
        let router = routes::router(Gateway::new(config, parts));
        Self { router, sink, catalogue, registry, connections, stop, _credentials: file }
    }

    pub fn server(&self, bounds: Bounds) -> Server {
        Server { router: self.router.clone(), bounds, tls: None, connections: self.connections.clone() }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    /// One structured event of the department of roads.
    pub async fn publish(&self, event: &Value) -> Answer {
        self.send(post(EVENTS, ROADS, "application/cloudevents+json", event.to_string())).await
    }

    pub async fn publish_batch(&self, events: &Value) -> Answer {
        self.send(post(EVENTS, ROADS, "application/cloudevents-batch+json", events.to_string())).await
    }

    /// A metric's sample as its line in the text format.
    pub fn metric(&self, sample: &str) -> Option<String> {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(sample).map(|value| value.trim().to_owned()))
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// (code, field) of every violation.
    pub fn violations(&self) -> Vec<(String, String)> {
        violations(&self.json()["violations"])
    }

    /// Asserts a problem of this kind and status.
    #[track_caller]
    pub fn is_problem(&self, status: u16, kind: &str) -> &Self {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let body = self.json();
        assert_eq!(body["type"], format!("urn:freshet:problem:{kind}"));
        assert_eq!(body["status"], status);
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        self
    }
}

pub fn violations(list: &Value) -> Vec<(String, String)> {
    let list: Vec<Violation> = serde_json::from_value(list.clone()).unwrap_or_default();
    list.into_iter()
        .map(|violation| (violation.code.as_str().to_owned(), violation.field.unwrap_or_default()))
        .collect()
}

pub fn post(path: &str, token: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

pub fn get(path: &str, token: &str) -> Request<Body> {
    Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
}

/// A good event; `sequence` makes its id as well.
pub fn closure(sequence: u64) -> Value {
    json!({
        "specversion": "1.0", "id": format!("event-{sequence}"), "source": "urn:example:roads/app",
        "type": "example.road_closure.changed", "time": "2026-11-22T08:00:00Z", "sequence": sequence.to_string(),
        "data": {"closure_id": "RC-1", "street": "Queen Street", "lanes": 2, "status": "planned"},
    })
}

pub fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    record.headers.get(name).map(|value| std::str::from_utf8(value).unwrap())
}

pub fn credentials_file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let (roads, parks) = (credentials::hash_of(ROADS), credentials::hash_of(PARKS));
    writeln!(file, "[tokens]\nroads = [\"{roads}\"]\nparks = [\"{parks}\"]").unwrap();
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

pub fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (id, source) in [("roads", "urn:example:roads"), ("parks", "urn:example:parks")] {
        catalog.insert(Entry::Department(Department {
            id: id.to_owned(),
            title: title(id),
            uscc: None,
            sources: vec![source.to_owned()],
        }));
    }
    let roads = |divisions: &[&str]| authority("roads", divisions);
    add(
        &mut catalog,
        1,
        ROAD_CLOSURE,
        Dataset {
            authorities: vec![roads(&[])],
            key: KeyRule { fields: vec!["closure_id".to_owned()], form: KeyForm::Plain },
            ..dataset("road_closure")
        },
    );
    add(
        &mut catalog,
        2,
        PERMIT,
        Dataset {
            authorities: vec![roads(&["42"]), authority("parks", &["33"])],
            key: KeyRule { fields: vec!["division".to_owned(), "number".to_owned()], form: KeyForm::Plain },
            version: VersionRule::Field("updated".to_owned()),
            division: DivisionRule { field: Some("division".to_owned()), ..DivisionRule::default() },
            ..dataset("permit")
        },
    );
    add(
        &mut catalog,
        3,
        PERSON,
        Dataset {
            authorities: vec![roads(&[])],
            key: KeyRule { fields: vec!["number".to_owned()], form: KeyForm::Pseudonym },
            catalogue: CatalogueFields { sensitive_fields: vec!["name".to_owned()], ..dataset("person").catalogue },
            ..dataset("person")
        },
    );
    catalog
}

fn add(catalog: &mut Catalog, schema: u32, avsc: &str, mut dataset: Dataset) {
    let subject = format!("publish.{}-value", dataset.id);
    catalog.insert(Entry::Schema(SchemaVersion { id: schema, subject, version: 1, avsc: avsc.to_owned() }));
    dataset.schema_ids = vec![schema];
    catalog.insert(Entry::Dataset(Box::new(dataset)));
}

fn dataset(id: &str) -> Dataset {
    Dataset {
        id: id.to_owned(),
        title: title(id),
        authorities: Vec::new(),
        key: KeyRule { fields: Vec::new(), form: KeyForm::Plain },
        version: VersionRule::Sequence,
        division: DivisionRule::default(),
        schema_ids: Vec::new(),
        partitions: 3,
        catalogue: CatalogueFields {
            summary: title(id),
            update_frequency: UpdateFrequency::Realtime,
            share_type: ShareType::Unconditional,
            share_method: ShareMethod::ServiceInterface,
            use_conditions: Vec::new(),
            classification: Classification::General,
            legal_basis: Vec::new(),
            sensitive_fields: Vec::new(),
        },
        retention: Default::default(),
        identifiers: Vec::new(),
        rules: Vec::new(),
        transitions: None,
        mapping: None,
    }
}

fn authority(department: &str, divisions: &[&str]) -> Authority {
    let divisions = divisions.iter().map(|division| (*division).to_owned()).collect();
    Authority { department: department.to_owned(), divisions }
}

fn title(text: &str) -> Title {
    Title { en: Some(text.to_owned()), zh: None }
}
