//! Limits of size, rate and concurrency, and what a department is told at each.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use freshet_gateway::{Config, serve};
use freshet_runtime::CancellationToken;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{EVENTS, Fixture, ROADS, closure, post};

const STRUCTURED: &str = "application/cloudevents+json";

#[tokio::test]
async fn an_event_that_is_too_large_is_refused_with_413() {
    let fixture = Fixture::with(Config { max_event_bytes: 1_000, ..Config::default() });
    let mut event = closure(1);
    event["data"]["street"] = json!("x".repeat(2_000));
    let answer = fixture.publish(&event).await;
    answer.is_problem(413, "too-large");
    assert_eq!(answer.violations(), [("envelope.size".to_owned(), String::new())]);
    let records = fixture.sink.records();
    assert_eq!((records[0].topic.as_str(), records[0].value.as_ref().unwrap().len()), ("reject.roads", 1_000));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let fixture = Fixture::with(Config { max_body_bytes: 70_000, ..Config::default() });
    // Announced.
    let mut announced = post(EVENTS, ROADS, STRUCTURED, Body::empty());
    announced.headers_mut().insert("content-length", "70001".parse().unwrap());
    fixture.send(announced).await.is_problem(413, "too-large");
    // In parts, without an announcement.
    let parts = (0..8).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 10_000])));
    let streamed = Body::from_stream(futures::stream::iter(parts));
    fixture.send(post(EVENTS, ROADS, STRUCTURED, streamed)).await.is_problem(413, "too-large");
    // A batch of too many.
    let fixture = Fixture::with(Config { max_batch_events: 2, ..Config::default() });
    let batch = Value::Array((1..=3).map(closure).collect());
    fixture.publish_batch(&batch).await.is_problem(413, "too-large");
    assert!(fixture.sink.records().is_empty());
}

#[tokio::test]
async fn too_fast_is_told_until_when() {
    let fixture = Fixture::with(Config { rate_per_second: 1, burst: 2, max_batch_events: 2, ..Config::default() });
    let batch = Value::Array((1..=2).map(closure).collect());
    assert_eq!(fixture.publish_batch(&batch).await.status, 200);
    let answer = fixture.publish_batch(&batch).await;
    answer.is_problem(429, "too-many-requests");
    assert!((1..=2).contains(&answer.header("retry-after").unwrap().parse::<u64>().unwrap()));
    assert_eq!(fixture.metric(r#"freshet_gateway_errors_total{kind="too-many-requests"}"#).unwrap(), "1");
}

#[tokio::test]
async fn too_many_requests_at_a_time_are_turned_away() {
    let fixture = Fixture::with(Config { max_requests: 1, ..Config::default() });
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let slow = fixture.send(post(EVENTS, ROADS, STRUCTURED, body));
    let quick = async {
        // The slow one holds the only place: its body does not end before this does.
        let answer = fixture.publish(&closure(1)).await;
        answer.is_problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        sender.send(Ok(Bytes::from(closure(2).to_string()))).await.unwrap();
        drop(sender);
    };
    let (slow, ()) = tokio::join!(slow, quick);
    assert_eq!(slow.status, 202, "{}", slow.text);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_ends_in_408() {
    let fixture = Fixture::new();
    let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    fixture.send(post(EVENTS, ROADS, STRUCTURED, body)).await.is_problem(408, "timeout");
}

#[tokio::test]
async fn a_head_that_stops_coming_is_cut_off_and_a_stop_lets_requests_finish() {
    let fixture = Fixture::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve::serve(listener, fixture.router.clone(), Duration::from_millis(50), stop.clone()));

    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST /v1/datasets HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the gateway closed the connection");

    let body = closure(1).to_string();
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ROADS}\r\nContent-Type: {STRUCTURED}\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    client.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "the request is in work");
    stop.cancel();
    client.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    server.await.unwrap();
    assert_eq!(fixture.sink.records().len(), 1);
}
