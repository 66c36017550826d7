use serde_json::json;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
}

const REQUIRED: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "urn:x"), ("ce-type", "x.changed")];

fn from_binary<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Event<'a> {
    Event::from_binary(headers, body, usize::MAX)
}

fn structured(event: &str) -> Result<Event<'_>, Violation> {
    Event::from_structured(event, usize::MAX)
}

fn fields<'e>(event: &'e Event<'_>) -> Vec<&'e str> {
    let all = event.form_violations.iter().chain(&event.attribute_violations);
    all.map(|violation| violation.field.as_deref().unwrap_or("")).collect()
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
    let headers = headers(&all);
    let event = from_binary(&headers, b"{\"a\":1}");
    assert_eq!(fields(&event), [""; 0]);
    assert_eq!(event.attribute("subject"), Some("Straße \"1\""));
    assert_eq!((event.data, &event.raw[..]), (Data::Json, &b"{\"a\":1}"[..]));
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
    let event = from_binary(&wrong, b"{");
    assert_eq!(fields(&event), ["a-b", "sequence", "source", "specversion", "time", "id", "type"]);
    assert_eq!(event.data, Data::Json, "nobody has looked into it");
}

#[test]
fn structured_mode_is_the_same_event() {
    let text = json!({
        "specversion": "1.0", "id": "1", "source": "urn:x", "type": "x.changed", "sequence": 7, "subject": null,
        "data": {"a": 1},
    })
    .to_string();
    let mut all = REQUIRED.to_vec();
    all.push(("ce-sequence", "7"));
    assert_eq!(structured(&text).unwrap(), from_binary(&headers(&all), b"{\"a\":1}"));
    let escaped = text.replace("urn:x", r"urn\u003ax");
    assert_eq!(structured(&escaped).unwrap(), from_binary(&headers(&all), b"{\"a\":1}"));
}

#[test]
fn structured_data_may_be_base64() {
    let event = |content_type: &str, data: &str| {
        json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t",
            "datacontenttype": content_type, "data_base64": data})
        .to_string()
    };
    let data = |content_type: &str, data: &str| {
        let text = event(content_type, data);
        let event = structured(&text).unwrap();
        (event.data, event.raw.to_vec())
    };
    assert_eq!(data("application/avro", "AAE="), (Data::Avro, vec![0, 1]));
    assert_eq!(data("application/json", "e30="), (Data::Json, b"{}".to_vec()));
    assert_eq!(data("application/json", "bnVsbA=="), (Data::Absent, b"null".to_vec()));
    assert_eq!(data("application/json", "e30"), (Data::Unreadable, b"e30".to_vec()));
    assert_eq!(fields(&structured(&event("text/plain", "e30=")).unwrap()), ["datacontenttype"]);
    assert!(structured("[]").is_err());
}

#[test]
fn a_delete_has_no_data_or_says_so() {
    for (body, is_delete) in [("", true), ("null", true), (" \tnull\r\n", true), ("nullx", false), ("{}", false)] {
        assert_eq!(from_binary(&headers(&REQUIRED), body.as_bytes()).is_delete(), is_delete, "{body}");
    }
    let mut deleted = REQUIRED;
    deleted[3].1 = "x.deleted";
    assert!(from_binary(&headers(&deleted), b"{\"id\":1}").is_delete());
}

#[test]
fn what_stands_twice_is_refused() {
    let text = r#"{"specversion":"1.0","id":"1","source":"urn:x","source":"urn:y","type":"t","data":{"a":1,"a":2}}"#;
    let event = structured(text).unwrap();
    assert_eq!(fields(&event), ["source"]);
    assert_eq!(event.attribute("source"), Some("urn:y"));
    assert_eq!(&event.raw[..], br#"{"a":1,"a":2}"#, "as it was sent");
}

#[test]
fn control_characters_are_those_of_unicode() {
    for character in ['\0', '\t', '\u{1f}', ' ', '~', '\u{7f}', '\u{80}', '\u{9f}', '\u{a0}', 'é', '证'] {
        for value in [character.to_string(), format!("证{character}")] {
            assert_eq!(has_control(&value), character.is_control(), "{character:?}");
        }
    }
}
