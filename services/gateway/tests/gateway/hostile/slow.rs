//! Clients that take their time, so as to hold what others need. A slow head, a connection that never speaks and one that
//! idles are in `connections.rs`.

use std::time::Duration;

use freshet_gateway::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connections::{bounds, listen, rest};
use crate::fixture::{EVENTS, Fixture, PARKS, ROADS, UPLOADS};
use freshet_runtime::http::Bounds;

fn head(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ROADS}\r\n{more}\r\n\r\n")
}

/// Until the sample has this value; the gateway may need a moment to see that a client is gone.
async fn until(fixture: &Fixture, sample: &str, value: &str) {
    let wait = async {
        while fixture.metric(sample).as_deref() != Some(value) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{sample} is not {value}"));
}

#[tokio::test]
async fn bodies_that_trickle_hold_a_place_for_so_long_and_no_longer() {
    let config = Config { body_idle_timeout_seconds: 1, min_body_bytes_per_second: 1_000_000, ..Config::default() };
    let fixture = Fixture::with(config);
    let (address, _stop) = listen(fixture.server(bounds())).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    let lines = "Content-Type: application/cloudevents+json\r\nContent-Length: 100000";
    slow.write_all(head(EVENTS, lines).as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let trickle = async {
        // A byte now and then: never idle, and yet nothing.
        while slow.write_all(b" ").await.is_ok() {
            if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(100), slow.read_exact(&mut answer)).await {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), trickle).await.expect("an answer, however slowly the body comes");
    assert_eq!(&answer, b"HTTP/1.1 408");
    until(&fixture, "freshet_gateway_in_flight", "0").await;
}

#[tokio::test]
async fn whoever_leaves_in_the_middle_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let (address, _stop) = listen(fixture.server(bounds())).await;
    for path in [EVENTS, UPLOADS] {
        let mut half = TcpStream::connect(address).await.unwrap();
        let lines = "Content-Type: application/x-ndjson\r\nContent-Length: 100000";
        let lines = if path == EVENTS { lines.replace("x-ndjson", "cloudevents+json") } else { lines.to_owned() };
        half.write_all((head(path, &lines) + "{").as_bytes()).await.unwrap();
        until(&fixture, "freshet_gateway_connections", "1").await;
        drop(half);
        until(&fixture, "freshet_gateway_connections", "0").await;
        until(&fixture, "freshet_gateway_in_flight", "0").await;
    }
    assert!(fixture.sink.records().is_empty());
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up_and_its_file_is_published_all_the_same() {
    // Refused lines whose list is larger than what the system's buffers take.
    let config = Config {
        max_listed_refusals: 200_000,
        max_listed_bytes: 64 << 20,
        rate_per_second: 1_000_000,
        burst: 1_000_000,
        ..Config::default()
    };
    let fixture = Fixture::with(config);
    let bounds = Bounds { write_timeout: Duration::from_millis(300), ..bounds() };
    let (address, _stop) = listen(fixture.server(bounds)).await;
    let lines = 2_000;
    let unknown: String = (0..99).map(|number| format!("\"no_such_field_{number}\":1,")).collect();
    let body = format!("{{{unknown}\"last\":1}}\n").repeat(lines);
    let mut deaf = TcpStream::connect(address).await.unwrap();
    let more = format!("Content-Type: application/x-ndjson\r\nContent-Length: {}", body.len());
    deaf.write_all((head(UPLOADS, &more) + &body).as_bytes()).await.unwrap();
    until(&fixture, r#"freshet_gateway_events_total{dataset="road_closure",outcome="refused"}"#, &lines.to_string())
        .await;
    until(&fixture, "freshet_gateway_connections", "0").await;
    until(&fixture, "freshet_gateway_in_flight", "0").await;
    assert_eq!(fixture.sink.records().len(), lines, "each line stands in the reject topic");
    // What was sent before the end is an answer without a summary: not complete.
    assert!(!rest(&mut deaf).await.contains("\"complete\":true"));
}

#[tokio::test]
async fn all_slow_clients_of_one_department_leave_the_others_served() {
    let fixture = Fixture::with(Config { max_department_requests: 4, max_requests: 8, ..Config::default() });
    let (address, _stop) = listen(fixture.server(bounds())).await;
    let lines = "Content-Type: application/cloudevents+json\r\nContent-Length: 1000";
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head(EVENTS, lines).as_bytes()).await.unwrap();
        slow.push(stream);
    }
    until(&fixture, "freshet_gateway_in_flight", "4").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let list = |token: &'static str| client.get(format!("http://{address}/v1/datasets")).bearer_auth(token).send();
    assert_eq!(list(PARKS).await.unwrap().status(), 200);
}
