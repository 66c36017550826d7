//! Files: each line published or in the reject topic, told in order, the same each time.

use std::io::Write;

use axum::body::Body;
use freshet_gateway::Config;
use serde_json::{Value, json};

use crate::fixture::{Fixture, ROADS, UPLOADS, header, post, violations};

const CSV: &str = "closure_id,street,lanes,status\nRC-1,Queen,2,planned\nRC-2,King,two,planned\nRC-3,Bay,1,active\n";

fn upload(query: &str, body: impl Into<Body>) -> http::Request<Body> {
    post(&format!("{UPLOADS}?{query}"), ROADS, "application/octet-stream", body)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn summary(lines: &[Value]) -> &Value {
    &lines.last().unwrap()["summary"]
}

#[tokio::test]
async fn each_line_is_published_or_refused_with_its_number() {
    let fixture = Fixture::new();
    let answer = fixture.send(upload("format=csv&name=closures.csv&sequence_base=100", CSV)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines = answer.lines();
    assert_eq!(lines.len(), 2, "{}", answer.text);
    assert_eq!((lines[0]["line"].as_u64(), lines[0]["status"].as_str()), (Some(3), Some("refused")));
    let code = violations(&lines[0]["violations"])[0].0.clone();
    assert_eq!(
        summary(&lines),
        &json!({"file": "closures.csv", "dataset": "road_closure", "lines": 3, "accepted": 2, "refused": 1, "failed": 0,
            "by_reason": {code: 1}, "listed": 1, "complete": true})
    );
    let records = fixture.sink.records();
    let topics: Vec<_> = records.iter().map(|record| record.topic.as_str()).collect();
    assert_eq!(topics, ["publish.road_closure", "reject.roads", "publish.road_closure"]);
    assert_eq!(records[0].key.as_deref(), Some(&b"RC-1"[..]));
    assert_eq!(header(&records[0], "ce_sequence"), Some("00000000000000000102"));
    assert_eq!(header(&records[0], "ce_source"), Some("urn:example:roads"));
    assert_eq!(header(&records[0], "ce_type"), Some("freshet.road_closure.changed"));
    assert_eq!(records[1].value.as_deref(), Some(&b"RC-2,King,two,planned"[..]));
    assert_eq!(header(&records[1], "freshet_line"), Some("closures.csv line 3"));
    assert_eq!(records[1].partition, Some(0));
}

#[tokio::test]
async fn json_lines_may_be_compressed() {
    let fixture = Fixture::new();
    let row = r#"{"closure_id": "RC-1", "street": "Queen", "lanes": 2, "status": "planned"}"#;
    let mut request = upload("format=jsonl", gzip(format!("{row}\n{{\n{row}").as_bytes()));
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let lines = fixture.send(request).await.lines();
    assert_eq!((summary(&lines)["accepted"].as_u64(), summary(&lines)["refused"].as_u64()), (Some(2), Some(1)));
}

#[tokio::test]
async fn the_same_file_gives_the_same_ids() {
    let fixture = Fixture::new();
    for query in ["format=csv&sequence_base=1", "format=csv&sequence_base=1", "format=csv"] {
        assert_eq!(fixture.send(upload(query, CSV)).await.status, 200);
    }
    let all = fixture.sink.records();
    let ids: Vec<_> = all
        .iter()
        .filter(|record| record.topic == "publish.road_closure")
        .map(|record| header(record, "ce_id").unwrap())
        .collect();
    assert_eq!(ids[0..2], ids[2..4], "the same base: duplicates, which the validator drops");
    assert!(ids[0] != ids[1] && ids[0] != ids[4], "another line, another upload: another event");
}

#[tokio::test]
async fn a_small_file_that_becomes_large_is_cut_off() {
    let fixture = Fixture::with(Config { max_upload_bytes: 100_000, ..Config::default() });
    let row = r#"{"closure_id": "RC-1", "street": "Queen", "lanes": 2, "status": "planned"}"#;
    let bomb = gzip(format!("{row}\n").repeat(10_000).as_bytes());
    assert!(bomb.len() < 10_000);
    let mut request = upload("format=jsonl", bomb);
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let lines = fixture.send(request).await.lines();
    assert_eq!(summary(&lines)["complete"], false);
    assert!(summary(&lines)["reason"].as_str().unwrap().contains("more than the 100000 bytes"), "{lines:?}");
    assert!(fixture.sink.records().len() < 2_000);
}

#[tokio::test]
async fn a_file_that_does_not_fit_is_refused_as_a_whole() {
    let fixture = Fixture::new();
    let answer = fixture.send(upload("format=csv", "closure_id,road\nRC-1,Queen\n")).await;
    answer.is_problem(422, "refused");
    assert!(!answer.violations().is_empty());
    fixture.send(upload("format=xml", "<a/>")).await.is_problem(415, "unsupported-media");
    fixture.send(upload("", "x")).await.is_problem(415, "unsupported-media");
    fixture.send(upload("format=csv&colour=red", CSV)).await.is_problem(400, "malformed");
    fixture.send(upload("format=csv&name=a%0Ab", CSV)).await.is_problem(400, "malformed");
    fixture.send(upload("format=csv&source=urn:example:parks", CSV)).await.is_problem(403, "forbidden");
    let mut brotli = upload("format=csv", CSV);
    brotli.headers_mut().insert("content-encoding", "br".parse().unwrap());
    fixture.send(brotli).await.is_problem(415, "unsupported-media");
    let mut large = upload("format=csv", Body::empty());
    large.headers_mut().insert("content-length", "99999999999".parse().unwrap());
    fixture.send(large).await.is_problem(413, "too-large");
    assert!(fixture.sink.records().is_empty());
}

#[tokio::test]
async fn a_failure_of_the_broker_ends_in_an_incomplete_summary() {
    let fixture = Fixture::new();
    fixture.sink.set_fails(true);
    let lines = fixture.send(upload("format=csv", CSV)).await.lines();
    let summary = summary(&lines);
    assert_eq!((summary["complete"].as_bool(), summary["accepted"].as_u64()), (Some(false), Some(0)));
    assert!(summary["reason"].as_str().unwrap().contains("no broker"), "{summary}");
    assert!(summary["reason"].as_str().unwrap().contains("send the file again"), "{summary}");
}

#[tokio::test(start_paused = true)]
async fn a_full_publisher_slows_a_file_down_and_then_ends_it() {
    let fixture = Fixture::new();
    fixture.sink.set_room(Some(1));
    let lines = fixture.send(upload("format=csv", CSV)).await.lines();
    let summary = summary(&lines);
    assert_eq!((summary["accepted"].as_u64(), summary["complete"].as_bool()), (Some(1), Some(false)));
    assert!(summary["reason"].as_str().unwrap().starts_with("line 3"), "{summary}");
}

#[tokio::test]
async fn a_stopping_gateway_says_how_far_it_came() {
    let fixture = Fixture::new();
    fixture.stop.cancel();
    let lines = fixture.send(upload("format=csv", CSV)).await.lines();
    assert_eq!(summary(&lines)["complete"], false);
    assert!(summary(&lines)["reason"].as_str().unwrap().contains("stopping"), "{lines:?}");
}

#[tokio::test]
async fn a_long_list_of_refusals_is_cut_but_counted() {
    let fixture = Fixture::with(Config { max_listed_refusals: 3, ..Config::default() });
    let lines = fixture.send(upload("format=jsonl", "{}\n".repeat(10))).await.lines();
    assert_eq!(lines.len(), 4);
    assert_eq!((summary(&lines)["refused"].as_u64(), summary(&lines)["listed"].as_u64()), (Some(10), Some(3)));
    assert_eq!(fixture.sink.records().len(), 10, "all of them stand in the reject topic");
}

#[tokio::test]
async fn lines_keep_to_the_division_and_the_version_of_their_record() {
    let fixture = Fixture::new();
    let csv = "division,number,updated\n420106,1,5\n330602,2,5\n";
    let answer = fixture.send(post("/v1/datasets/permit/uploads?format=csv", ROADS, "text/csv", csv)).await;
    let lines = answer.lines();
    assert_eq!(violations(&lines[0]["violations"])[0].0, "source.authority", "the other department's division");
    let records = fixture.sink.records();
    assert_eq!(header(&records[0], "ce_sequence"), None, "the version is the record's field");
    assert_eq!(records[0].key.as_deref(), Some(&b"420106|1"[..]));
}
