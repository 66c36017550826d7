//! The gateway's routes, in this process: whatever comes, an answer; and what it says was written is what was written.

use fastrand::Rng;
use freshet_gateway::Config;
use serde_json::json;

use crate::fixture::{self, Fixture};
use crate::guard::Guard;
use crate::http_text::{self, Answer};
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "gateway",
    what: "the gateway's routes",
    share: 12,
    parts: 1,
    dictionary: &[
        "POST ",
        "GET ",
        "/v1/datasets",
        "/road_closure",
        "/permit",
        "/person",
        "/events",
        "/uploads",
        "?format=csv",
        "?format=jsonl",
        "&name=a.csv",
        "&source=urn:example:roads",
        "&divcode=42",
        "&sequence_base=18446744073709551615",
        "/openapi.json",
        "authorization: Bearer token-of-roads\n",
        "authorization: Bearer token-of-parks\n",
        "content-type: application/cloudevents+json\n",
        "content-type: application/cloudevents-batch+json\n",
        "content-type: application/json\n",
        "content-type: application/avro\n",
        "content-type: text/csv\n",
        "content-type: application/x-ndjson\n",
        "content-encoding: gzip\n",
        "content-length: 99999999999\n",
        "ce-id: 1\n",
        "ce-specversion: 1.0\n",
        "ce-source: urn:example:roads\n",
        "ce-type: x.deleted\n",
        "ce-sequence: 7\n",
        "ce-time: 2026-11-22T08:00:00Z\n",
        "ce-partitionkey: %E7%8E%8B\n",
        "%0d%0a",
        "%00",
        "%ff",
        "..%2f",
        "\n\n",
        "\"specversion\":\"1.0\"",
        "\"data\":",
        "\"data_base64\":\"AAAAAAE=\"",
        "\"sequence\":",
        "\"partitionkey\":",
        "\"type\":\"x.deleted\"",
        "null",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\\u0000",
        "\\ud800",
        "1e999",
        "\u{0}\u{0}\u{0}\u{0}\u{1}",
        "王",
    ],
    make: || Box::new(Gateway::new()),
};

struct Gateway {
    runtime: tokio::runtime::Runtime,
    fixture: Fixture,
}

impl Gateway {
    fn new() -> Self {
        // The rate is another test's; here it would only slow down.
        let config = Config { rate_per_second: u32::MAX, burst: u32::MAX, ..Config::default() };
        Self { runtime: http_text::runtime(), fixture: Fixture::with(config) }
    }
}

impl Target for Gateway {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let mut event = fixture::closure(rng.u64(..100));
        match rng.u8(..4) {
            0 => drop(event.as_object_mut()?.remove("data")),
            1 => event["type"] = json!("example.road_closure.deleted"),
            2 => event["data"]["lanes"] = json!(rng.i64(..)),
            _ => {}
        }
        let (kind, body) = match rng.bool() {
            true => ("cloudevents", event.to_string()),
            false => ("cloudevents-batch", json!([event, fixture::closure(7)]).to_string()),
        };
        let head = format!(
            "POST {}\nauthorization: Bearer {}\ncontent-type: application/{kind}+json\n\n",
            fixture::EVENTS,
            fixture::ROADS
        );
        Some(format!("{head}{body}").into_bytes())
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let Some(request) = http_text::request(input) else { return Ok(Seen::of("no request")) };
        let (path, method) = (request.uri().path().to_owned(), request.method().clone());
        let (runtime, fixture) = (&self.runtime, &self.fixture);
        let most = (4 << 20) + 512 * input.len();
        let answer = guard.ours("a request", most, || runtime.block_on(http_text::ask(&fixture.router, request)))??;
        let records = fixture.sink.take();
        answer.judge()?;
        let said = match answer.status {
            400.. if method != http::Method::HEAD => Seen::kind_of(&answer.problem()?),
            _ => String::new(),
        };
        for (name, due) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
            if answer.headers.get(name).is_none_or(|value| value != due) {
                return Err(format!("the answer lacks {name}: {due}"));
            }
        }
        let written: Vec<&str> = records.iter().map(|record| record.topic.as_str()).collect();
        account(&answer, &path, &written)?;
        Ok(Seen::of((answer.status, said, size_class(records.len()), path.len().min(40))))
    }
}

/// P1 at this door: the counts of the answer are what was written, and of a refused request nothing is published.
fn account(answer: &Answer, path: &str, topics: &[&str]) -> Result<(), String> {
    let published = topics.iter().filter(|topic| topic.starts_with("publish.")).count() as u64;
    let refused = topics.iter().filter(|topic| topic.starts_with("reject.")).count() as u64;
    let of = |body: &serde_json::Value| (body["accepted"].as_u64(), body["refused"].as_u64());
    let told = match (answer.status, path.ends_with("/uploads")) {
        (200, true) => {
            let last = answer.body.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
            of(&serde_json::from_slice::<serde_json::Value>(last).unwrap_or_default()["summary"])
        }
        (200, false) if path.ends_with("/events") => of(&serde_json::from_slice(&answer.body).unwrap_or_default()),
        (202, _) => (Some(1), Some(0)),
        _ => (Some(0), Some(refused)),
    };
    match told {
        (Some(accepted), Some(told)) if (accepted, told) == (published, refused) => Ok(()),
        told => Err(format!(
            "answered {} and told {told:?}, but {published} were published and {refused} refused",
            answer.status
        )),
    }
}
