//! Small inputs that would become large. Files are read as a stream, so what they become is never in memory as a whole.

use std::io::Write;

use freshet_gateway::Config;
use serde_json::{Value, json};

use crate::fixture::{EVENTS, Fixture, ROADS, UPLOADS, closure, post};

fn gzip(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for part in parts {
        encoder.write_all(&part).unwrap();
    }
    encoder.finish().unwrap()
}

async fn upload(config: Config, body: Vec<u8>) -> (Value, usize) {
    let fixture = Fixture::with(config);
    let mut request = post(&format!("{UPLOADS}?format=jsonl"), ROADS, "application/octet-stream", body);
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let answer = fixture.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let summary = answer.lines().last().unwrap()["summary"].clone();
    (summary, fixture.sink.records().len())
}

/// 50 MB in one line of 50 kB: the line is read to its end and thrown away, not kept.
#[tokio::test]
async fn a_compressed_line_without_an_end_is_one_refused_line() {
    let bomb = gzip(std::iter::repeat_n(vec![b'x'; 1 << 20], 50));
    assert!(bomb.len() < 80_000, "{}", bomb.len());
    let (summary, records) = upload(Config::default(), bomb).await;
    assert_eq!((&summary["refused"], &summary["complete"]), (&json!(1), &json!(true)), "{summary}");
    assert_eq!((&summary["by_reason"]["envelope.size"], records), (&json!(1), 1), "{summary}");
}

/// A member behind a member behind a member: each small, all together as bounded as one.
#[tokio::test]
async fn many_compressed_members_count_as_one_file() {
    let member = gzip(std::iter::once(b" ".repeat(100_000)));
    let fixture = Fixture::with(Config { max_upload_bytes: 10_000_000, ..Config::default() });
    for (members, status) in [(100, 200), (101, 413)] {
        let mut request =
            post(&format!("{UPLOADS}?format=jsonl"), ROADS, "application/octet-stream", member.repeat(members));
        request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        assert_eq!(fixture.send(request).await.status, status, "{members} members");
    }
}

/// A file in a file is text that is no JSON: nothing is decompressed twice.
#[tokio::test]
async fn a_compressed_file_inside_a_compressed_file_is_refused_as_it_stands() {
    let inner = gzip(std::iter::once(b"{}\n".repeat(1_000)));
    let (summary, _) = upload(Config::default(), gzip(std::iter::once(inner))).await;
    assert_eq!((&summary["accepted"], &summary["complete"]), (&json!(0), &json!(true)), "{summary}");
}

#[tokio::test]
async fn events_are_not_taken_compressed() {
    let fixture = Fixture::new();
    let body = gzip(std::iter::once(closure(1).to_string().into_bytes()));
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, gzip"] {
        let mut request = post(EVENTS, ROADS, "application/cloudevents+json", body.clone());
        request.headers_mut().insert("content-encoding", coding.parse().unwrap());
        fixture.send(request).await.is_problem(415, "unsupported-media");
    }
    for path in [EVENTS, UPLOADS] {
        let mut request =
            post(path, ROADS, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", body.clone());
        request.headers_mut().insert("content-encoding", "identity".parse().unwrap());
        fixture.send(request).await.is_problem(415, "unsupported-media");
    }
}
