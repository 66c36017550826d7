//! Limits of size, rate and concurrency, and what a department is told at each.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use freshet_gateway::Config;
use freshet_runtime::CancellationToken;
use freshet_runtime::http::Bounds;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Answer, EVENTS, Fixture, PARKS, ROADS, UPLOADS, closure, get, post};

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
    let server = fixture.server(Bounds { header_timeout: Duration::from_millis(50), ..Config::default().bounds() });
    let server = tokio::spawn(server.serve(listener, stop.clone()));

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

/// A good event whose data has so many bytes.
fn of_bytes(data: usize) -> Value {
    let mut event = closure(1);
    let without = event["data"].to_string().len() - "Queen Street".len();
    event["data"]["street"] = json!("x".repeat(data - without));
    assert_eq!(event["data"].to_string().len(), data);
    event
}

/// A good event and white space, so many bytes in all.
fn padded_to(bytes: usize) -> String {
    let event = closure(1).to_string();
    let room = bytes - event.len();
    event + &" ".repeat(room)
}

fn attributes_of(event: &Value) -> usize {
    let attributes = event.as_object().unwrap().iter().filter(|(name, _)| *name != "data");
    attributes.map(|(name, value)| name.len() + value.as_str().unwrap().len()).sum()
}

#[tokio::test]
async fn an_event_a_batch_and_a_body_at_their_limits_and_one_more() {
    let attributes = attributes_of(&closure(1));
    let fixture = Fixture::with(Config { max_event_bytes: 1_000, ..Config::default() });
    assert_eq!(fixture.publish(&of_bytes(1_000 - attributes)).await.status, 202);
    fixture.publish(&of_bytes(1_001 - attributes)).await.is_problem(413, "too-large");

    let fixture = Fixture::with(Config { max_batch_events: 3, ..Config::default() });
    let batch = |count| Value::Array((1..=count).map(closure).collect());
    assert_eq!(fixture.publish_batch(&batch(3)).await.status, 200);
    fixture.publish_batch(&batch(4)).await.is_problem(413, "too-large");

    let fixture = Fixture::with(Config { max_body_bytes: 70_000, ..Config::default() });
    let padded = |bytes: usize| padded_to(bytes);
    for (bytes, status) in [(70_000, 202), (70_001, 413)] {
        assert_eq!(fixture.send(post(EVENTS, ROADS, STRUCTURED, padded(bytes))).await.status, status, "{bytes}");
        // In parts, without an announcement.
        let text = padded(bytes).into_bytes();
        let parts: Vec<_> =
            text.chunks(999).map(|part| Ok::<_, std::io::Error>(Bytes::copy_from_slice(part))).collect();
        let body = Body::from_stream(futures::stream::iter(parts));
        assert_eq!(fixture.send(post(EVENTS, ROADS, STRUCTURED, body)).await.status, status, "{bytes} in parts");
    }
}

#[tokio::test]
async fn attributes_at_their_limits_and_one_more() {
    let fixture = Fixture::new();
    let with = |name: &str, value: Value| {
        let mut event = closure(1);
        event[name] = value;
        event
    };
    assert_eq!(fixture.publish(&with(&"n".repeat(20), json!("x"))).await.status, 202);
    assert_eq!(fixture.publish(&with(&"n".repeat(21), json!("x"))).await.status, 422);
    assert_eq!(fixture.publish(&with("subject", json!("x".repeat(2_048)))).await.status, 202);
    assert_eq!(fixture.publish(&with("subject", json!("x".repeat(2_049)))).await.status, 422);
    // As many members as an object may have, and one more, which is no event any more.
    let members = |count: usize| {
        let mut event = closure(1);
        for number in 0..count - event.as_object().unwrap().len() {
            event[format!("x{number}")] = json!(1);
        }
        event
    };
    assert_eq!(fixture.publish(&members(4_096)).await.status, 202);
    let answer = fixture.publish(&members(4_097)).await;
    assert!(answer.status == 422 && answer.text.contains("more than 4096 members"), "{}", answer.text);
    // Faults are listed up to 100.
    let mut wrong = closure(1);
    for number in 0..101 {
        wrong["data"][format!("field{number}")] = json!(1);
    }
    let listed = fixture.publish(&wrong).await.json()["violations"].as_array().unwrap().len();
    assert_eq!(listed, 101, "a hundred, and how many more");
}

#[tokio::test]
async fn a_key_at_its_limit_and_one_more() {
    let fixture = Fixture::new();
    let keyed = |bytes: usize| {
        let mut event = closure(1);
        event["data"]["closure_id"] = json!("k".repeat(bytes));
        event
    };
    assert_eq!(fixture.publish(&keyed(1_024)).await.status, 202);
    let answer = fixture.publish(&keyed(1_025)).await;
    assert_eq!(answer.violations(), [("envelope.key".to_owned(), "closure_id".to_owned())], "{}", answer.text);
}

#[tokio::test]
async fn lines_and_what_is_listed_of_them_at_their_limits_and_one_more() {
    let good = r#"{"closure_id":"RC-1","street":"","lanes":1,"status":"over"}"#;
    let line = |bytes: usize| good.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - good.len())));
    let fixture = Fixture::with(Config { max_line_bytes: 200, ..Config::default() });
    let upload = |text: String| fixture.send(post(UPLOADS, ROADS, "application/x-ndjson", text));
    let summary = |answer: &Answer| answer.lines().last().unwrap()["summary"].clone();
    assert_eq!(summary(&upload(line(200)).await)["accepted"], 1);
    assert_eq!(summary(&upload(line(201)).await)["by_reason"]["envelope.size"], 1);

    let config = Config { max_listed_refusals: 3, ..Config::default() };
    let fixture = Fixture::with(config.clone());
    let upload = |text: String| fixture.send(post(UPLOADS, ROADS, "application/x-ndjson", text));
    for (lines, listed) in [(3, 3), (4, 3)] {
        let answer = upload("{\n".repeat(lines)).await;
        assert_eq!((summary(&answer)["listed"].as_u64(), answer.lines().len()), (Some(listed), listed as usize + 1));
        assert_eq!(summary(&answer)["refused"], lines);
    }
    // The first line may be longer than the limit; behind it nothing is listed any more.
    let fixture = Fixture::with(Config { max_listed_bytes: 1, ..config });
    let answer = fixture.send(post(UPLOADS, ROADS, "application/x-ndjson", "{\n{\n")).await;
    assert_eq!((summary(&answer)["listed"].as_u64(), summary(&answer)["refused"].as_u64()), (Some(1), Some(2)));

    let fixture = Fixture::with(Config { max_upload_bytes: good.len() as u64, ..Config::default() });
    let upload = |text: String| fixture.send(post(UPLOADS, ROADS, "application/x-ndjson", text));
    assert_eq!(summary(&upload(good.to_owned()).await)["accepted"], 1);
    upload(format!("{good} ")).await.is_problem(413, "too-large");
}

#[tokio::test]
async fn one_department_takes_its_part_and_another_is_served() {
    let permit = || {
        let mut event = closure(1);
        (event["source"], event["data"]) =
            (json!("urn:example:parks"), json!({"division": "33", "number": 1, "updated": 5}));
        post("/v1/datasets/permit/events", PARKS, STRUCTURED, event.to_string())
    };
    // Requests: one that holds the department's only place.
    let fixture = Fixture::with(Config { max_department_requests: 1, ..Config::default() });
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let slow = fixture.send(post(EVENTS, ROADS, STRUCTURED, body));
    let others = async {
        let answer = fixture.publish(&closure(1)).await;
        answer.is_problem(429, "too-many-requests");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(fixture.send(permit()).await.status, 202);
        sender.send(Ok(Bytes::from(closure(2).to_string()))).await.unwrap();
        drop(sender);
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_eq!(slow.status, 202, "{}", slow.text);

    // Events that wait for the broker.
    let config = Config { max_department_in_flight_events: 2, max_batch_events: 2, ..Config::default() };
    let fixture = Fixture::with(config);
    fixture.sink.set_holds(true);
    let batch = Value::Array((1..=2).map(closure).collect());
    let held = fixture.publish_batch(&batch);
    let others = async {
        fixture.publish(&closure(3)).await.is_problem(429, "too-many-requests");
        fixture.sink.set_holds(false);
        assert_eq!(fixture.send(permit()).await.status, 202);
    };
    tokio::select! {
        biased;
        answer = held => panic!("{answer:?}"),
        () = others => {}
    }
    assert_eq!(fixture.publish_batch(&batch).await.status, 200, "the request that was given up holds nothing");

    // Bytes.
    let config = Config { max_department_work_bytes: 8 * 1_000, ..Config::default() };
    let fixture = Fixture::with(config);
    let padded = |bytes: usize| post(EVENTS, ROADS, STRUCTURED, padded_to(bytes));
    assert_eq!(fixture.send(padded(1_000)).await.status, 202);
    fixture.send(padded(1_001)).await.is_problem(429, "too-many-requests");
    let fixture = Fixture::with(Config { max_work_bytes: 8 * 1_000, ..Config::default() });
    assert_eq!(fixture.send(padded(1_000)).await.status, 202);
    fixture.send(padded(1_001)).await.is_problem(503, "unavailable");
}

#[tokio::test]
async fn files_of_a_department_and_of_all_are_bounded() {
    let fixture = Fixture::with(Config { max_uploads: 2, max_department_uploads: 1, ..Config::default() });
    let open = |token: &'static str, path: &'static str| {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
        (sender, fixture.send(post(path, token, "application/x-ndjson", body)))
    };
    let permits = "/v1/datasets/permit/uploads";
    let ((first, slow), (second, other)) = (open(ROADS, UPLOADS), open(PARKS, permits));
    let others = async {
        fixture.send(post(permits, ROADS, "application/x-ndjson", "{}")).await.is_problem(429, "too-many-requests");
        let summaries = fixture.send(get("/v1/datasets", ROADS)).await;
        assert_eq!(summaries.status, 200);
        drop((first, second));
    };
    let (slow, other, ()) = tokio::join!(slow, other, others);
    assert_eq!((slow.status, other.status), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_ends_in_408() {
    let fixture = Fixture::new();
    let begun = tokio::time::Instant::now();
    let body = Body::from_stream(futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    }));
    let answer = fixture.send(post(EVENTS, ROADS, STRUCTURED, body)).await;
    answer.is_problem(408, "timeout");
    assert!(answer.text.contains("slower than 1000 bytes a second"), "{}", answer.text);
    assert_eq!(begun.elapsed().as_secs(), 30, "the patience of body_idle_timeout_seconds, in all");
}

#[tokio::test]
async fn a_refused_delete_of_a_person_can_be_sent_again() {
    let fixture = Fixture::new();
    let mut event = closure(1);
    event.as_object_mut().unwrap().remove("data");
    (event["partitionkey"], event["source"]) = (json!("110101199003070134"), json!("urn:example:parks"));
    let path = "/v1/datasets/person/events";
    let request = |event: &Value| post(path, ROADS, STRUCTURED, event.to_string());
    fixture.send(request(&event)).await.is_problem(403, "forbidden");
    event["source"] = json!("urn:example:roads");
    assert_eq!(fixture.send(request(&event)).await.status, 202);
    let records = fixture.sink.records();
    let [refused, published] = &records[..] else { panic!("{records:?}") };
    assert_eq!((refused.topic.as_str(), published.topic.as_str()), ("reject.roads", "publish.person"));
    assert_eq!((&refused.key, &refused.value), (&published.key, &None));
    assert_eq!(crate::fixture::header(refused, "content-type"), Some("application/avro"), "what resend asks for");
    assert!(crate::fixture::header(refused, "ce_partitionkey").is_none());
}
