//! One event: what is published, what is refused and how it is told.

use axum::body::Body;
use freshet_avro::framing;
use freshet_catalog_model::compiled::CompiledDataset;
use http::Request;
use serde_json::{Value, json};

use crate::fixture::{EVENTS, Fixture, PARKS, ROADS, catalog, closure, get, header, post, violations};

fn decoded(dataset: &str, value: &[u8]) -> Value {
    let (id, datum) = framing::split(value).unwrap();
    let compiled = CompiledDataset::compile(&catalog(), dataset).unwrap();
    freshet_avro::json::decode(&compiled.schema(id).unwrap().plan, datum).unwrap()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(code, field)| ((*code).to_owned(), (*field).to_owned())).collect()
}

#[tokio::test]
async fn a_structured_event_is_published_as_avro() {
    let fixture = Fixture::new();
    let answer = fixture.publish(&closure(7)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(
        answer.json(),
        json!({"id": "event-7", "source": "urn:example:roads/app", "status": "accepted",
            "position": {"topic": "publish.road_closure", "partition": 0, "offset": 0}})
    );
    let records = fixture.sink.records();
    let [record] = &records[..] else { panic!("one record, not {}", records.len()) };
    assert_eq!(record.topic, "publish.road_closure");
    assert_eq!(record.partition, None);
    assert_eq!(record.key.as_deref(), Some(&b"RC-1"[..]));
    assert_eq!(decoded("road_closure", record.value.as_deref().unwrap()), closure(7)["data"]);
    for (name, value) in [
        ("ce_id", "event-7"),
        ("ce_source", "urn:example:roads/app"),
        ("ce_type", "example.road_closure.changed"),
        ("ce_specversion", "1.0"),
        ("ce_time", "2026-11-22T08:00:00Z"),
        ("ce_sequence", "7"),
        ("content-type", "application/avro"),
    ] {
        assert_eq!(header(record, name), Some(value), "{name}");
    }
    assert!(header(record, "freshet_published_at").unwrap().parse::<i64>().unwrap() > 0);
    assert_eq!(
        fixture.metric(r#"freshet_gateway_events_total{dataset="road_closure",outcome="accepted"}"#).unwrap(),
        "1"
    );
    let route = r#"freshet_gateway_requests_total{route="/v1/datasets/{dataset}/events",status="202"}"#;
    assert_eq!(fixture.metric(route).unwrap(), "1");
    assert_eq!(fixture.metric("freshet_gateway_in_flight").unwrap(), "0");
}

fn binary(content_type: &str, extra: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = post(EVENTS, ROADS, content_type, body);
    let attributes = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "urn:example:roads"),
        ("ce-type", "x.changed"),
        ("ce-sequence", "1"),
    ];
    for (name, value) in attributes.iter().chain(extra) {
        request.headers_mut().insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn binary_mode_gives_the_same_record() {
    let fixture = Fixture::new();
    let data = closure(1)["data"].to_string();
    assert_eq!(fixture.send(binary("application/json", &[], data)).await.status, 202);
    let framed = fixture.sink.records()[0].value.clone().unwrap();
    assert_eq!(fixture.send(binary("application/avro", &[], framed)).await.status, 202);
    let records = fixture.sink.records();
    assert_eq!((&records[0].key, &records[0].value), (&records[1].key, &records[1].value));
}

#[tokio::test]
async fn avro_that_is_none_is_refused() {
    let fixture = Fixture::new();
    for (body, code) in [
        (&b"\x00\x00\x00\x00\x01\x02"[..], "schema.malformed"),
        (&b"\x00\x00\x00\x00\x63\x02"[..], "schema.unknown"),
        (&b"{\"a\":1}"[..], "schema.framing"),
    ] {
        let answer = fixture.send(binary("application/avro", &[], body)).await;
        answer.is_problem(422, "refused");
        assert_eq!(answer.violations()[0].0, code);
        assert_eq!(fixture.sink.records().last().unwrap().value.as_deref(), Some(body), "unchanged");
    }
}

#[tokio::test]
async fn a_refused_event_gets_every_violation_and_stands_in_the_reject_topic() {
    let fixture = Fixture::new();
    let mut event = closure(1);
    event["time"] = json!("yesterday");
    event["data"] = json!({"closure_id": "RC-1", "lanes": "two", "status": "gone", "colour": "red"});
    let answer = fixture.publish(&event).await;
    answer.is_problem(422, "refused");
    let mut said = answer.violations();
    said.sort();
    assert_eq!(
        said,
        pairs(&[
            ("envelope.attribute", "time"),
            ("schema.missing", "street"),
            ("schema.type", "lanes"),
            ("schema.type", "status"),
            ("schema.unknown_field", "colour"),
        ])
    );
    let records = fixture.sink.records();
    let [record] = &records[..] else { panic!("one record") };
    assert_eq!(record.topic, "reject.roads");
    assert_eq!(serde_json::from_slice::<Value>(record.value.as_deref().unwrap()).unwrap(), event["data"]);
    assert_eq!(header(record, "content-type"), Some("application/json"));
    assert_eq!(header(record, "freshet_dataset"), Some("road_closure"));
    assert_eq!(header(record, "freshet_rejected_from"), Some("gateway"));
    assert_eq!(header(record, "ce_id"), Some("event-1"));
    let violations: Value = serde_json::from_str(header(record, "freshet_violations").unwrap()).unwrap();
    assert_eq!(violations, answer.json()["violations"]);
    assert_eq!(
        fixture.metric(r#"freshet_gateway_events_total{dataset="road_closure",outcome="refused"}"#).unwrap(),
        "1"
    );
    assert_eq!(fixture.metric(r#"freshet_gateway_errors_total{kind="refused"}"#).unwrap(), "1");
}

#[tokio::test]
async fn data_that_cannot_be_read_is_said_before_the_attributes() {
    let fixture = Fixture::new();
    for data in [r#"{"closure_id":"RC-1","closure_id":"RC-2"}"#, r#"{"closure_id":"\ud800"}"#, "[1e999]"] {
        let mut event = closure(1);
        event["time"] = json!("yesterday");
        event["data"] = json!("here");
        let text = event.to_string().replace("\"here\"", data);
        for (content_type, body) in [
            ("application/cloudevents+json", text.clone()),
            ("application/cloudevents-batch+json", format!("[{text}]")),
        ] {
            let answer = fixture.send(post(EVENTS, ROADS, content_type, body)).await.json();
            let said = if answer["results"].is_null() { &answer } else { &answer["results"][0] };
            let expected = pairs(&[("schema.malformed", ""), ("envelope.attribute", "time")]);
            assert_eq!(violations(&said["violations"]), expected, "{answer}");
            assert_eq!(fixture.sink.records().last().unwrap().value.as_deref(), Some(data.as_bytes()), "as sent");
        }
    }
}

#[tokio::test]
async fn a_delete_is_a_tombstone_of_the_same_key() {
    let fixture = Fixture::new();
    let mut by_data = closure(2);
    by_data["type"] = json!("example.road_closure.deleted");
    by_data["data"] = json!({"closure_id": "RC-1"});
    let mut by_key = closure(3);
    by_key.as_object_mut().unwrap().remove("data");
    by_key["partitionkey"] = json!("RC-1");
    for event in [&by_data, &by_key] {
        assert_eq!(fixture.publish(event).await.status, 202);
    }
    for record in fixture.sink.records() {
        assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"RC-1"[..]), None));
        assert_eq!(header(&record, "ce_partitionkey"), None);
    }
}

#[tokio::test]
async fn a_delete_says_what_and_when() {
    let fixture = Fixture::new();
    let mut event = closure(2);
    event.as_object_mut().unwrap().remove("data");
    event.as_object_mut().unwrap().remove("sequence");
    let answer = fixture.publish(&event).await;
    answer.is_problem(422, "refused");
    assert_eq!(answer.violations(), pairs(&[("version.missing", "sequence"), ("envelope.key", "partitionkey")]));
    event["type"] = json!("x.deleted");
    event["sequence"] = json!(1);
    event["data"] = json!({"closure_id": [1]});
    assert_eq!(fixture.publish(&event).await.violations(), pairs(&[("schema.type", "closure_id")]));
    event["data"] = json!({"closure_id": "RC-1"});
    event["partitionkey"] = json!("RC-2");
    assert_eq!(fixture.publish(&event).await.violations(), pairs(&[("envelope.key", "partitionkey")]));
}

#[tokio::test]
async fn a_key_of_a_person_is_a_pseudonym_everywhere() {
    let fixture = Fixture::new();
    let person = |id: &str, data: Option<Value>| {
        let mut event = closure(1);
        event["id"] = json!(id);
        match data {
            Some(data) => event["data"] = data,
            None => {
                event.as_object_mut().unwrap().remove("data");
                event["partitionkey"] = json!("110101199003070134");
            }
        }
        post("/v1/datasets/person/events", ROADS, "application/cloudevents+json", event.to_string())
    };
    let data = json!({"number": "110101199003070134", "name": "X"});
    assert_eq!(fixture.send(person("1", Some(data))).await.status, 202);
    assert_eq!(fixture.send(person("2", None)).await.status, 202);
    let records = fixture.sink.records();
    assert_eq!(records[0].key, records[1].key);
    assert_eq!(records[0].key.as_ref().unwrap().len(), 32);
    for record in &records {
        assert!(record.headers.iter().all(|(_, value)| !value.windows(18).any(|part| part == b"110101199003070134")));
    }
}

#[tokio::test]
async fn personal_data_is_in_no_answer_and_no_header_of_a_refusal() {
    let fixture = Fixture::new();
    // `name` is a sensitive field, `number` the key of a pseudonym.
    for data in [
        json!({"number": "110101199003070134", "name": 7_700_401}),
        json!({"number": 110_101_199_003_070_134_u64, "name": "Zhang 7700401"}),
        json!(["110101199003070134", "Zhang 7700401"]),
        json!({"number": "", "name": {"first": "7700401"}}),
    ] {
        let mut event = closure(1);
        (event["data"], event["partitionkey"]) = (data, json!("110101199003070134"));
        let path = "/v1/datasets/person/events";
        let answer = fixture.send(post(path, ROADS, "application/cloudevents+json", event.to_string())).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert!(answer.text.contains("schema.type"), "{}", answer.text);
        let records = fixture.sink.records();
        let record = records.last().unwrap();
        assert_eq!(record.topic, "reject.roads");
        let headers = record.headers.iter().map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        for text in headers.chain([answer.text.clone()]) {
            assert!(!text.contains("110101199003070134") && !text.contains("7700401"), "{text}");
        }
    }
    // Of other fields the value is quoted.
    let mut event = closure(1);
    event["data"]["lanes"] = json!("two lanes");
    assert!(fixture.publish(&event).await.text.contains("two lanes"));
}

#[tokio::test]
async fn who_may_publish_what() {
    let fixture = Fixture::new();
    let structured = "application/cloudevents+json";
    // A dataset of another department: nothing is read, nothing is written.
    let answer = fixture.send(post(EVENTS, PARKS, structured, closure(1).to_string())).await;
    answer.is_problem(403, "forbidden");
    assert!(fixture.sink.records().is_empty());
    // Another department's source, and nobody's.
    for (source, code) in [("urn:example:parks/1", "source.authority"), ("urn:nobody", "source.unknown")] {
        let mut event = closure(1);
        event["source"] = json!(source);
        let answer = fixture.publish(&event).await;
        answer.is_problem(403, "forbidden");
        assert_eq!(answer.violations(), pairs(&[(code, "source")]));
        assert_eq!(fixture.sink.records().last().unwrap().topic, "reject.roads", "the caller's own reject topic");
    }
    // P5: another department's division.
    let permit = |division: &str, divcode: Option<&str>| {
        let mut event = closure(1);
        event["data"] = json!({"division": division, "number": 1, "updated": 5});
        event["divcode"] = json!(divcode);
        post("/v1/datasets/permit/events", ROADS, structured, event.to_string())
    };
    assert_eq!(fixture.send(permit("420106", None)).await.status, 202);
    assert_eq!(fixture.sink.records().last().unwrap().key.as_deref(), Some(&b"420106|1"[..]));
    let answer = fixture.send(permit("330602", None)).await;
    answer.is_problem(403, "forbidden");
    let answer = fixture.send(permit("420106", Some("330602"))).await;
    assert_eq!(answer.violations(), pairs(&[("division.mismatch", "divcode")]));
}

#[tokio::test]
async fn a_token_is_needed() {
    let fixture = Fixture::new();
    for authorization in [None, Some("Bearer wrong"), Some("Basic dTpw"), Some("Bearer"), Some("Bearer ")] {
        let mut request = Request::post(EVENTS).header("content-type", "application/cloudevents+json");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = fixture.send(request.body(Body::from(closure(1).to_string())).unwrap()).await;
        answer.is_problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"freshet\""));
    }
    assert!(fixture.sink.records().is_empty());
}

#[tokio::test]
async fn what_is_not_there_or_not_taken() {
    let fixture = Fixture::new();
    let structured = "application/cloudevents+json";
    fixture.send(post("/v1/datasets/nothing/events", ROADS, structured, "{}")).await.is_problem(404, "not-found");
    fixture.send(get("/v2", ROADS)).await.is_problem(404, "not-found");
    fixture.send(get(EVENTS, ROADS)).await.is_problem(405, "method-not-allowed");
    fixture.send(post(EVENTS, ROADS, "text/plain", "x")).await.is_problem(415, "unsupported-media");
    fixture.send(post(EVENTS, ROADS, structured, "{")).await.is_problem(400, "malformed");
    let mut compressed = post(EVENTS, ROADS, structured, "x");
    compressed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    fixture.send(compressed).await.is_problem(415, "unsupported-media");
}

#[tokio::test]
async fn lists_what_the_department_may_publish() {
    let fixture = Fixture::new();
    let list = fixture.send(get("/v1/datasets", PARKS)).await.json();
    assert_eq!((list["department"].as_str(), list["sources"][0].as_str()), (Some("parks"), Some("urn:example:parks")));
    let datasets = list["datasets"].as_array().unwrap();
    assert_eq!(datasets.len(), 1);
    assert_eq!(datasets[0]["id"], "permit");
    assert_eq!(datasets[0]["divisions"], json!(["33"]));
    assert_eq!(datasets[0]["needs_sequence"], false);
    assert_eq!(datasets[0]["schema"]["name"], "Permit");
}

#[tokio::test]
async fn a_change_of_the_catalogue_acts_at_once() {
    let fixture = Fixture::new();
    let mut changed = catalog();
    changed.datasets.remove("road_closure");
    fixture.catalogue.replace(changed);
    fixture.publish(&closure(1)).await.is_problem(404, "not-found");
    fixture.catalogue.replace(catalog());
    assert_eq!(fixture.publish(&closure(1)).await.status, 202);
}

#[tokio::test]
async fn answers_carry_security_headers() {
    let fixture = Fixture::new();
    for request in [get("/openapi.json", ""), get("/nothing", "")] {
        let answer = fixture.send(request).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("content-security-policy").is_some());
    }
}
