//! Whatever is sent: an answer of 2xx or 4xx, never a panic, and every accepted or refused event stands in a topic.

use axum::body::Body;
use http::Request;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{Fixture, ROADS, closure};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// A good event with some members replaced or removed.
fn near_event() -> impl Strategy<Value = Value> {
    let members = ["specversion", "id", "source", "type", "time", "sequence", "data", "data_base64", "partitionkey"];
    let change = (prop::sample::select(members.to_vec()), prop::option::of(any_json()));
    let field = (prop::sample::select(vec!["closure_id", "street", "lanes", "status", "more"]), any_json());
    (prop::collection::vec(change, 0..3), prop::collection::vec(field, 0..3)).prop_map(|(changes, fields)| {
        let mut event = closure(1);
        for (field, value) in fields {
            event["data"][field] = value;
        }
        for (member, value) in changes {
            match value {
                Some(value) => event[member] = value,
                None => drop(event.as_object_mut().unwrap().remove(member)),
            }
        }
        event
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        any_json().prop_map(|value| value.to_string().into_bytes()),
        near_event().prop_map(|value| value.to_string().into_bytes()),
        prop::collection::vec(near_event(), 0..4).prop_map(|value| Value::from(value).to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|mut bytes| {
            bytes.splice(0..0, [0, 0, 0, 0, 1]);
            bytes
        }),
        "[a-z_,\"\n{}:0-9]{0,200}".prop_map(String::into_bytes),
    ]
}

fn content_type() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/json",
        "application/avro",
        "application/x-ndjson",
        "text/csv",
        "text/csv; charset=gbk",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn always_an_answer(
        path in prop::sample::select(vec!["events", "uploads", "uploads?format=csv", "uploads?format=jsonl"]),
        content_type in content_type(),
        encoding in prop::option::weighted(0.1, prop::sample::select(vec!["gzip", "br"])),
        attributes in prop::collection::vec(("ce-[a-z-]{1,12}", prop::collection::vec(0x20_u8..=0xff, 0..12)), 0..4),
        body in body(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            let mut request = Request::post(format!("/v1/datasets/road_closure/{path}"))
                .header("authorization", format!("Bearer {ROADS}"))
                .header("content-type", content_type);
            if let Some(encoding) = encoding {
                request = request.header("content-encoding", encoding);
            }
            for (name, value) in attributes {
                if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                    request = request.header(name, value);
                }
            }
            let answer = fixture.send(request.body(Body::from(body)).unwrap()).await;
            prop_assert!(matches!(answer.status, 200..=299 | 400..=499), "{} {}", answer.status, answer.text);
            // P1 at this door: the answer's counts are what was written.
            let records = fixture.sink.records();
            let written = |topic: &str| records.iter().filter(|record| record.topic == topic).count() as u64;
            let (published, refused) = (written("publish.road_closure"), written("reject.roads"));
            match (answer.status, path) {
                (200, "events") => {
                    let body = answer.json();
                    prop_assert_eq!(body["accepted"].as_u64(), Some(published));
                    prop_assert_eq!(body["refused"].as_u64(), Some(refused));
                }
                (202, _) => prop_assert_eq!((published, refused), (1, 0)),
                (200, _) => {
                    let lines = answer.lines();
                    let summary = &lines.last().unwrap()["summary"];
                    prop_assert_eq!(summary["accepted"].as_u64(), Some(published));
                    prop_assert_eq!(summary["refused"].as_u64(), Some(refused));
                }
                _ => prop_assert_eq!(published, 0),
            }
            Ok(())
        })?;
    }
}
