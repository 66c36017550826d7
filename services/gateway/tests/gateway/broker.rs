//! The whole service against the real broker.

use std::time::{Duration, Instant};

use freshet_catalog_model::topic::topics_of;
use freshet_gateway::Config;
use freshet_kafka::{Connection, admin, catalog};
use freshet_runtime::Context;
use freshet_testkit::Broker;
use freshet_testkit::departments::Consumer;
use serde_json::Value;

use crate::fixture::{EVENTS, ROADS, UPLOADS, closure, credentials_file};

const LIMIT: Duration = Duration::from_secs(30);

fn free_address() -> std::net::SocketAddr {
    ([127, 0, 0, 1], freshet_testkit::ports::free_port().unwrap()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_can_be_read() {
    let bootstrap = tokio::task::spawn_blocking(|| Broker::shared().bootstrap()).await.unwrap();
    let connection = Connection::to(bootstrap.clone());
    let file = credentials_file();
    let config = Config { listen: free_address(), credentials_file: Some(file.path().to_owned()), ..Config::default() };
    let address = format!("http://{}", config.listen);
    let context = Context::new();
    let service = tokio::spawn(freshet_gateway::run(config, connection.clone(), context.clone()));
    let client = reqwest::Client::new();
    let send = |path: &str, content_type: &str, body: String| {
        let request = client.post(format!("{address}{path}")).bearer_auth(ROADS).header("content-type", content_type);
        request.body(body).send()
    };

    // P10: no catalogue, no work.
    let deadline = Instant::now() + LIMIT;
    let answer = loop {
        match send(EVENTS, "application/cloudevents+json", closure(1).to_string()).await {
            Ok(answer) => break answer,
            Err(_) if Instant::now() < deadline => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(context.readiness.waiting_for(), ["gateway: the catalogue"]);

    let wanted = crate::fixture::catalog();
    let writer = connection.clone();
    tokio::task::spawn_blocking(move || {
        admin::ensure_topics(&writer, &topics_of(&wanted)).unwrap();
        let puts: Vec<_> = wanted.entries().collect();
        catalog::write(&writer, &puts, &[]).unwrap();
    })
    .await
    .unwrap();
    let deadline = Instant::now() + LIMIT;
    let answer: Value = loop {
        let answer = send(EVENTS, "application/cloudevents+json", closure(1).to_string()).await.unwrap();
        if answer.status() == 202 {
            break answer.json().await.unwrap();
        }
        assert!(Instant::now() < deadline, "{}", answer.text().await.unwrap());
    };
    assert!(context.readiness.is_ready());
    let rows: String = (0..500)
        .map(|number| {
            format!("{{\"closure_id\":\"RC-{number}\",\"street\":\"Bay\",\"lanes\":1,\"status\":\"over\"}}\n{{\n")
        })
        .collect();
    let upload = send(&format!("{UPLOADS}?name=rows.jsonl"), "application/x-ndjson", rows).await.unwrap();
    let text = upload.text().await.unwrap();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["summary"]["accepted"], 500, "{summary}");
    assert_eq!(summary["summary"]["refused"], 500, "{summary}");

    let position = answer["position"].clone();
    tokio::task::spawn_blocking(move || {
        let consumer = Consumer::new(&bootstrap, "gateway-test", &["publish.road_closure", "reject.roads"]).unwrap();
        let (mut published, mut refused) = (Vec::new(), Vec::new());
        let deadline = Instant::now() + LIMIT;
        while published.len() + refused.len() < 1_001 {
            assert!(Instant::now() < deadline, "{} published, {} refused", published.len(), refused.len());
            match consumer.next(Duration::from_millis(200)).unwrap() {
                Some(record) if record.topic == "publish.road_closure" => published.push(record),
                Some(record) => refused.push(record),
                None => {}
            }
        }
        assert_eq!((published.len(), refused.len()), (501, 500));
        let first = published.iter().find(|record| record.header("ce_id") == Some("event-1")).unwrap();
        assert_eq!(first.partition, freshet_core::partition(b"RC-1", 3));
        assert_eq!(
            (position["partition"].as_i64(), position["offset"].as_i64()),
            (Some(first.partition.into()), Some(first.offset))
        );
        let lines: Vec<_> = refused.iter().map(|record| record.header("freshet_line").unwrap()).collect();
        let expected: Vec<_> = (1..=500).map(|number| format!("rows.jsonl line {}", number * 2)).collect();
        assert_eq!(lines, expected, "in the order of the file");
    })
    .await
    .unwrap();

    context.stop.cancel();
    tokio::time::timeout(LIMIT, service).await.unwrap().unwrap().unwrap();
}
