use serde_json::json;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
}

const REQUIRED: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "urn:x"), ("ce-type", "x.changed")];

fn from_binary(headers: &HeaderMap, body: Bytes) -> Event {
    Event::from_binary(headers, body, usize::MAX)
}

fn structured(event: &serde_json::Value) -> Result<Event, Violation> {
    let body = Bytes::from(event.to_string());
    Event::from_structured(&body, std::str::from_utf8(&body).unwrap(), usize::MAX)
}

fn fields(event: &Event) -> Vec<&str> {
    event.violations.iter().map(|violation| violation.field.as_deref().unwrap_or("")).collect()
}

#[test]
fn the_content_type_says_the_mode() {
    let mode = |content_type: &str| Mode::of(&headers(&[("content-type", content_type)]));
    assert_eq!(mode("application/cloudevents+json; charset=UTF-8"), Ok(Mode::Structured));
    assert_eq!(mode("application/cloudevents-batch+json"), Ok(Mode::Batch));
    assert_eq!(mode("application/json"), Ok(Mode::Binary));
    assert_eq!(mode("application/vnd.licence+json"), Ok(Mode::Binary));
    assert_eq!(mode("application/avro"), Ok(Mode::Binary));
    assert_eq!(Mode::of(&HeaderMap::new()), Ok(Mode::Binary));
    assert!(mode("application/json; charset=gbk").is_err());
    assert!(mode("application/cloudevents+avro").is_err());
    assert!(mode("text/plain").is_err());
}

#[test]
fn binary_mode_decodes_attributes() {
    let mut all = REQUIRED.to_vec();
    all.push(("ce-subject", "\"Stra%C3%9Fe \\\"1\\\"\""));
    all.push(("ce-sequence", "00000000000000000007"));
    let event = from_binary(&headers(&all), Bytes::from_static(b"{\"a\":1}"));
    assert_eq!(event.violations, []);
    assert_eq!(event.attribute("subject"), Some("Straße \"1\""));
    assert_eq!(event.data, Data::Json(json!({"a": 1})));
    assert_eq!(event.content_type, "application/json");
    assert!(!event.is_delete());
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let wrong = headers(&[
        ("ce-specversion", "0.3"),
        ("ce-time", "yesterday"),
        ("ce-sequence", "-1"),
        ("ce-a-b", "x"),
        ("ce-source", ""),
    ]);
    let event = from_binary(&wrong, Bytes::from_static(b"{"));
    assert_eq!(fields(&event), ["", "a-b", "sequence", "source", "specversion", "time", "id", "type"]);
    assert_eq!(event.data, Data::Unreadable);
}

#[test]
fn structured_mode_is_the_same_event() {
    let event = structured(&json!({
        "specversion": "1.0", "id": "1", "source": "urn:x", "type": "x.changed", "sequence": 7, "subject": null,
        "data": {"a": 1},
    }))
    .unwrap();
    let mut all = REQUIRED.to_vec();
    all.push(("ce-sequence", "7"));
    assert_eq!(event, from_binary(&headers(&all), Bytes::from_static(b"{\"a\":1}")));
}

#[test]
fn structured_data_may_be_base64() {
    let event = |content_type: &str, data: &str| {
        let event = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t",
            "datacontenttype": content_type, "data_base64": data});
        structured(&event).unwrap()
    };
    assert_eq!(event("application/avro", "AAE=").data, Data::Avro(Bytes::from_static(&[0, 1])));
    assert_eq!(event("application/json", "e30=").data, Data::Json(json!({})));
    assert_eq!(event("application/json", "e30").data, Data::Unreadable);
    assert_eq!(fields(&event("text/plain", "e30=")), ["datacontenttype"]);
    assert!(structured(&json!([])).is_err());
}

#[test]
fn a_delete_has_no_data_or_says_so() {
    assert!(from_binary(&headers(&REQUIRED), Bytes::new()).is_delete());
    let mut deleted = REQUIRED;
    deleted[3].1 = "x.deleted";
    assert!(from_binary(&headers(&deleted), Bytes::from_static(b"{\"id\":1}")).is_delete());
}

#[test]
fn what_stands_twice_is_refused() {
    let body = Bytes::from_static(
        br#"{"specversion":"1.0","id":"1","source":"urn:x","source":"urn:y","type":"t","data":{"a":1,"a":2}}"#,
    );
    let event = Event::from_structured(&body, std::str::from_utf8(&body).unwrap(), usize::MAX).unwrap();
    assert_eq!(fields(&event), ["source", ""]);
    assert_eq!(event.data, Data::Unreadable);
    assert_eq!(event.raw, &br#"{"a":1,"a":2}"#[..], "as it was sent");
    let twice = from_binary(&headers(&REQUIRED), Bytes::from_static(b"{\"a\":1,\"a\":2}"));
    assert!(twice.violations[0].message.contains("stands twice"), "{:?}", twice.violations);
}
