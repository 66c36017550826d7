//! The service as a whole on a real broker: a catalogue, a view with records, subscribers as departments would write
//! them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use freshet_catalog_model::{Delivery, Entry, Grant, GrantStatus, SchemaVersion, View};
use freshet_core::{Receipt, Replay, ReplayRange, topics};
use freshet_fanout::Config;
use freshet_kafka::admin::{self, TopicSpec};
use freshet_kafka::catalog;
use freshet_kafka::publisher::Publisher;
use freshet_kafka::reader::Reader;
use freshet_kafka::{Connection, Record};
use freshet_runtime::{Context, credentials};
use freshet_testkit::Broker;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

pub const TOKEN: &str = "token-of-tax";
pub const PARTITIONS: i32 = 2;
const AVSC: &str = r#"{"type":"record","name":"Permit","fields":[
    {"name":"number","type":"string"},{"name":"step","type":"long"}]}"#;
/// The longest that anything here takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(90);

/// One broker has one catalogue, so tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

pub struct World {
    pub connection: Connection,
    pub view: View,
    pub folder: tempfile::TempDir,
    publisher: Publisher,
    grants: BTreeMap<String, Grant>,
    _turn: MutexGuard<'static, ()>,
}

/// A running fanout.
pub struct Fanout {
    pub url: String,
    pub context: Context,
    task: JoinHandle<Result<(), freshet_fanout::Error>>,
}

impl World {
    /// `name` makes the view, and with it its topic, the test's own.
    pub async fn new(name: &str) -> Self {
        let turn = TURN.lock().await;
        let bootstrap = blocking(|| Broker::shared().bootstrap()).await;
        let connection = Connection::to(bootstrap);
        let view = View {
            id: format!("{name}.0123456789ab"),
            dataset: name.to_owned(),
            fields: vec!["number".to_owned(), "step".to_owned()],
            masks: BTreeMap::new(),
            rows: None,
            schema_id: 7,
            partitions: PARTITIONS,
        };
        let schema =
            SchemaVersion { id: 7, subject: format!("view.{}-value", view.id), version: 1, avsc: AVSC.to_owned() };
        let (to, topic, entries) =
            (connection.clone(), topics::view(&view.id), [Entry::Schema(schema), Entry::View(view.clone())]);
        blocking(move || {
            let spec = |name: &str, partitions| TopicSpec {
                name: name.to_owned(),
                partitions,
                may_grow: false,
                settings: BTreeMap::new(),
            };
            let all = [spec(topics::CATALOG, 1), spec(topics::AUDIT, 1), spec(&topic, PARTITIONS)];
            admin::ensure_topics(&to, &all).expect("topics");
            // A topic that was just created has no leader for a moment.
            let before = (0..100).find_map(|_| catalog::read_once(&to).ok()).expect("a catalogue");
            let removes: Vec<String> = before.grants.keys().map(|id| format!("grant/{id}")).collect();
            catalog::write(&to, &entries, &removes).expect("written");
        })
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("secrets")).expect("a folder");
        let hash = credentials::hash_of(TOKEN);
        let file = tempfile::NamedTempFile::new_in(folder.path()).expect("a file");
        std::fs::write(file.path(), format!("[tokens]\ntax = [\"{hash}\"]\n")).expect("written");
        file.persist(folder.path().join("credentials.toml")).expect("kept");
        let publisher = Publisher::new(&connection, "test", 10_000).expect("a publisher");
        Self { connection, view, folder, publisher, grants: BTreeMap::new(), _turn: turn }
    }

    pub fn secret(&self, name: &str, content: &str) {
        let path = self.folder.path().join("secrets").join(name);
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("private");
    }

    pub async fn grant(&mut self, id: &str, delivery: Delivery) {
        let grant = Grant {
            id: id.to_owned(),
            subscriber: "tax".to_owned(),
            dataset: self.view.dataset.clone(),
            fields: self.view.fields.clone(),
            masks: BTreeMap::new(),
            rows: None,
            purpose: "assessment".to_owned(),
            legal_basis: "law, art. 1".to_owned(),
            valid_from: jiff::civil::date(2020, 1, 1),
            valid_until: jiff::civil::date(2099, 12, 31),
            status: GrantStatus::Active,
            delivery,
            view: self.view.id.clone(),
        };
        self.put(grant).await;
    }

    pub async fn set_status(&mut self, id: &str, status: GrantStatus) {
        let grant = Grant { status, ..self.grants[id].clone() };
        self.put(grant).await;
    }

    async fn put(&mut self, grant: Grant) {
        let (to, entry) = (self.connection.clone(), Entry::Grant(Box::new(grant.clone())));
        blocking(move || catalog::write(&to, &[entry], &[]).expect("written")).await;
        self.grants.insert(grant.id.clone(), grant);
    }

    /// Steps of each of these keys, in order; the event's id is `<key>-<step>`.
    pub async fn publish(&self, keys: &[&str], steps: std::ops::Range<i64>) {
        let mut records = Vec::new();
        for step in steps {
            for key in keys {
                records.push(self.record(key, step));
            }
        }
        for result in self.publisher.publish_all(&records).await {
            result.expect("published");
        }
    }

    fn record(&self, key: &str, step: i64) -> Record {
        let mut value = vec![0, 0, 0, 0, 7, u8::try_from(key.len() * 2).expect("a short key")];
        value.extend_from_slice(key.as_bytes());
        let mut zigzag = u64::try_from(step * 2).expect("a step");
        while zigzag >= 0x80 {
            value.push((zigzag & 0x7f) as u8 | 0x80);
            zigzag >>= 7;
        }
        value.push(zigzag as u8);
        let now = jiff::Timestamp::now().as_microsecond();
        let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
        Record {
            topic: topics::view(&self.view.id),
            partition: None,
            key: Some(key.as_bytes().to_vec()),
            value: Some(value),
            headers: [
                header("ce_specversion", "1.0".to_owned()),
                header("ce_id", format!("{key}-{step}")),
                header("ce_source", "urn:permits".to_owned()),
                header("ce_type", "permits.changed".to_owned()),
                header("freshet_published_at", now.to_string()),
            ]
            .into_iter()
            .collect(),
            timestamp_ms: None,
        }
    }

    pub async fn start(&self, set: impl FnOnce(&mut Config)) -> Fanout {
        let address = SocketAddr::from(([127, 0, 0, 1], freshet_testkit::ports::free_port().expect("a port")));
        let mut config = Config {
            listen: address,
            credentials_file: self.folder.path().join("credentials.toml"),
            secrets_dir: self.secrets(),
            allow_private_addresses: vec!["127.0.0.0/8".to_owned()],
            ..Config::default()
        };
        (config.webhook.retry_initial_ms, config.webhook.retry_max_ms) = (5, 50);
        (config.postgres.retry_initial_ms, config.postgres.retry_max_ms) = (20, 200);
        set(&mut config);
        let context = Context::new();
        let task = tokio::spawn(freshet_fanout::run(config, self.connection.clone(), context.clone()));
        let fanout = Fanout { url: format!("http://{address}"), context, task };
        eventually("the fanout is ready", || async {
            assert!(!fanout.task.is_finished(), "the fanout ended at its start");
            let ready = fanout.context.readiness.is_ready();
            ready && tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        fanout
    }

    fn secrets(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    /// Every receipt of a grant.
    pub async fn receipts(&self, grant: &str) -> Vec<Receipt> {
        let (to, grant) = (self.connection.clone(), grant.to_owned());
        blocking(move || {
            let mut found = Vec::new();
            let mut reader = Reader::new(&to).expect("a reader");
            let each = &mut |record: &freshet_core::InRecord<'_>| {
                if record.key == Some(grant.as_bytes()) {
                    found.push(serde_json::from_slice(record.value.unwrap_or_default()).expect("a receipt"));
                }
                Ok(())
            };
            reader.replay(topics::AUDIT, 0, ReplayRange::default(), each).expect("read");
            found
        })
        .await
    }
}

impl Fanout {
    pub async fn stop(self) {
        self.context.stop.cancel();
        tokio::time::timeout(LIMIT, self.task).await.expect("it stops").expect("no panic").expect("no error");
    }

    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.context.registry.gather();
        let metrics = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        metrics
            .filter(|metric| {
                labels.iter().all(|(key, value)| {
                    metric.get_label().iter().any(|label| label.name() == *key && label.value() == *value)
                })
            })
            .map(|metric| {
                let histogram = metric.get_histogram().get_sample_count() as f64;
                metric.get_counter().get_value() + metric.get_gauge().get_value() + histogram
            })
            .sum()
    }

    pub async fn subscription(&self, grant: &str) -> serde_json::Value {
        let response =
            reqwest::Client::new().get(format!("{}/v1/subscriptions", self.url)).bearer_auth(TOKEN).send().await;
        let text = response.expect("an answer").text().await.expect("a body");
        let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let all = list["subscriptions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one["grant"] == grant).unwrap_or_default()
    }
}

/// The ids of every step of every key, as [`World::publish`] makes them, sorted.
pub fn ids(keys: &[&str], steps: std::ops::Range<i64>) -> Vec<String> {
    let mut ids: Vec<String> =
        keys.iter().flat_map(|key| steps.clone().map(move |step| format!("{key}-{step}"))).collect();
    ids.sort();
    ids
}

/// Asserts that the steps of each key come in order, and returns the sorted ids.
pub fn in_order(received: &[(String, i64)]) -> Vec<String> {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for (key, step) in received {
        let before = last.insert(key, *step);
        assert!(before.is_none_or(|before| before < *step), "{key}: {step} after {before:?}");
    }
    let mut ids: Vec<String> = received.iter().map(|(key, step)| format!("{key}-{step}")).collect();
    ids.sort();
    ids
}

pub fn key_and_step(event: &serde_json::Value) -> (String, i64) {
    let key = event["data"]["number"].as_str().expect("a number").to_owned();
    (key, event["data"]["step"].as_i64().expect("a step"))
}

pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}
