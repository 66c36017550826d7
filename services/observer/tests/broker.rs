//! The observer on a real broker: the trail as an operator asks for it, the lag of a subscriber that pulls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use freshet_catalog_model::{Delivery, Entry, Grant, GrantStatus, View};
use freshet_core::{Receipt, ReceiptOutcome, Way, topics};
use freshet_kafka::admin::{self, TopicSpec};
use freshet_kafka::publisher::Publisher;
use freshet_kafka::{Connection, Record, catalog};
use freshet_observer::Config;
use freshet_runtime::{Context, credentials};
use freshet_testkit::Broker;

const LIMIT: Duration = Duration::from_secs(90);
const VIEW: &str = "permits.0123456789ab";

fn grant() -> Grant {
    Grant {
        id: "tax-permits".to_owned(),
        subscriber: "tax".to_owned(),
        dataset: "permits".to_owned(),
        fields: vec!["number".to_owned()],
        masks: BTreeMap::new(),
        rows: None,
        purpose: "assessment".to_owned(),
        legal_basis: "law".to_owned(),
        valid_from: jiff::civil::date(2020, 1, 1),
        valid_until: jiff::civil::date(2099, 12, 31),
        status: GrantStatus::Active,
        delivery: Delivery::Pull,
        view: VIEW.to_owned(),
    }
}

fn receipt(first_offset: i64, last_offset: i64) -> Receipt {
    Receipt {
        grant: "tax-permits".to_owned(),
        subscriber: "tax".to_owned(),
        purpose: "assessment".to_owned(),
        legal_basis: "law".to_owned(),
        dataset: "permits".to_owned(),
        view: VIEW.to_owned(),
        partition: 0,
        first_offset,
        last_offset,
        count: u32::try_from(last_offset - first_offset + 1).expect("a count"),
        offsets: Vec::new(),
        events: (first_offset..=last_offset).map(|offset| format!("e-{offset}")).collect(),
        way: Way::Pull,
        at: jiff::Timestamp::now().to_string(),
        outcome: ReceiptOutcome::Released,
    }
}

fn prepare(connection: &Connection) {
    let view = View {
        id: VIEW.to_owned(),
        dataset: "permits".to_owned(),
        fields: vec!["number".to_owned()],
        masks: BTreeMap::new(),
        rows: None,
        schema_id: 7,
        partitions: 1,
    };
    let spec =
        |name: &str| TopicSpec { name: name.to_owned(), partitions: 1, may_grow: false, settings: BTreeMap::new() };
    let all = [spec(topics::CATALOG), spec(topics::AUDIT), spec(&topics::view(VIEW))];
    admin::ensure_topics(connection, &all).expect("topics");
    let entries = [Entry::View(view), Entry::Grant(Box::new(grant()))];
    catalog::write(connection, &entries, &[]).expect("written");
}

async fn publish(publisher: &Publisher, topic: String, value: Vec<u8>) {
    let record = Record { topic, key: Some(b"tax-permits".to_vec()), value: Some(value), ..Record::default() };
    publisher.publish(record).await.expect("published");
}

struct Asker {
    url: String,
    client: reqwest::Client,
}

impl Asker {
    async fn get(&self, path: &str, token: &str) -> (u16, serde_json::Value) {
        let response = self.client.get(format!("{}{path}", self.url)).bearer_auth(token).send().await;
        let Ok(response) = response else { return (0, serde_json::Value::Null) };
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// Asks until the answer is as expected.
    async fn until(&self, path: &str, expected: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let (_, answer) = self.get(path, "of-an-operator").await;
            if expected(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path}: {answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_who_was_told_what_and_who_is_behind() {
    let connection = tokio::task::spawn_blocking(|| {
        let connection = Connection::to(Broker::shared().bootstrap());
        prepare(&connection);
        connection
    })
    .await
    .expect("prepared");
    let publisher = Publisher::new(&connection, "test", 100).expect("a publisher");
    for _ in 0..3 {
        publish(&publisher, topics::view(VIEW), vec![0, 0, 0, 0, 7, 0]).await;
    }
    publish(&publisher, topics::AUDIT.to_owned(), serde_json::to_vec(&receipt(0, 1)).expect("JSON")).await;

    let folder = tempfile::tempdir().expect("a folder");
    let file = tempfile::NamedTempFile::new_in(folder.path()).expect("a file");
    let hash = credentials::hash_of("of-an-operator");
    std::fs::write(file.path(), format!("[tokens]\nalice = [\"{hash}\"]\n")).expect("written");
    let address = SocketAddr::from(([127, 0, 0, 1], freshet_testkit::ports::free_port().expect("a port")));
    let config =
        Config { listen: address, operators_file: file.path().to_owned(), lag_interval_ms: 100, ..Config::default() };
    let context = Context::new();
    let running = tokio::spawn(freshet_observer::run(config, connection.clone(), context.clone()));
    let asker = Asker { url: format!("http://{address}"), client: reqwest::Client::new() };

    let answer = asker.until("/v1/trail?event=e-1", |answer| answer["receipts"][0]["grant"] == "tax-permits").await;
    assert_eq!(answer["receipts"][0]["purpose"], "assessment");
    assert_eq!(asker.get("/v1/trail?event=e-2", "of-an-operator").await.1["receipts"], serde_json::json!([]));
    assert_eq!(asker.get("/v1/trail?event=e-1", "guess").await.0, 401);
    assert_eq!(asker.get("/v1/trail", "of-an-operator").await.0, 400);

    let lag = asker.until("/v1/lag", |answer| answer["subscribers"][0]["records"] == 1).await;
    assert!(lag["subscribers"][0]["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{lag}");
    publish(&publisher, topics::AUDIT.to_owned(), serde_json::to_vec(&receipt(2, 2)).expect("JSON")).await;
    asker.until("/v1/lag", |answer| answer["subscribers"][0]["records"] == 0).await;
    let gathered = context.registry.gather();
    let names: Vec<&str> = gathered.iter().map(|family| family.name()).collect();
    for name in ["subscriber_lag_records", "subscriber_lag_seconds", "receipts_total"] {
        assert!(names.contains(&format!("freshet_observer_{name}").as_str()), "{names:?}");
    }

    context.stop.cancel();
    tokio::time::timeout(LIMIT, running).await.expect("it stops").expect("no panic").expect("no error");
}
