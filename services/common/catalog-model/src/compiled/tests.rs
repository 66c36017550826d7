use freshet_avro::{Plan, Walk, json};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::entry::{Dataset, KeyForm};

const AVSC: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"a","type":"string"},
    {"name":"b","type":"string"},
    {"name":"day","type":{"type":"int","logicalType":"date"}},
    {"name":"n","type":"long"},
    {"name":"status","type":{"type":"enum","name":"S","symbols":["NEW","OPEN","SHUT"]}}
]}"#;

fn compiled(key: &[&str], form: KeyForm) -> CompiledDataset {
    let dataset: Dataset = serde_json::from_value(json!({
        "id": "d",
        "title": {"en": "D"},
        "authorities": [{"department": "x"}],
        "key": {"fields": key, "form": form},
        "version": {"field": "n"},
        "schema_ids": [1],
        "partitions": 1,
        "division": {"field": "b"},
        "transitions": {"field": "status", "initial": ["NEW"], "allowed": {"NEW": ["OPEN"], "OPEN": ["OPEN", "SHUT"]}},
        "catalogue": {
            "summary": {"en": "D"}, "update_frequency": "daily", "share_type": "unconditional",
            "share_method": "other", "classification": "general"
        }
    }))
    .expect("a dataset");
    let plan = Arc::new(Plan::compile(AVSC).expect("a schema"));
    CompiledDataset::from_plans(dataset, &[(1, plan)]).expect("compiles")
}

fn datum(schema: &CompiledSchema, a: &str, b: &str, n: i64) -> (Walk, Vec<u8>) {
    let record = json!({"a": a, "b": b, "day": "2024-02-29", "n": n, "status": "OPEN"});
    let datum = json::encode(&schema.plan, &record).expect("encodes");
    let mut walk = Walk::new();
    assert!(schema.plan.check(&datum, &mut walk), "{:?}", walk.violations());
    (walk, datum)
}

#[test]
fn the_key_is_the_fields_texts() {
    let dataset = compiled(&["a", "day", "n", "status"], KeyForm::Plain);
    let schema = dataset.latest();
    let (walk, datum) = datum(schema, "x|y", "b", -7);
    let key = dataset.key_of(schema, &walk, &datum, None).expect("a key");
    assert_eq!(String::from_utf8_lossy(&key), r"x\|y|2024-02-29|-7|OPEN");
    let texts = dataset.key_of_texts(["x|y", "2024-02-29", "-7", "OPEN"], None);
    assert_eq!(texts.expect("a key"), key, "a delete has the key of its record");
    assert_eq!(schema.version_of(&walk, &datum), Some(-7));
    assert_eq!(schema.division_of(&walk, &datum), Some("b"));
}

#[test]
fn one_field_is_the_key_as_it_is_and_never_empty() {
    let dataset = compiled(&["a"], KeyForm::Plain);
    let schema = dataset.latest();
    let (walk, bytes) = datum(schema, r"x|\y", "b", 1);
    assert_eq!(dataset.key_of(schema, &walk, &bytes, None).expect("a key"), br"x|\y");
    let (walk, bytes) = datum(schema, "", "b", 1);
    let violation = dataset.key_of(schema, &walk, &bytes, None).expect_err("empty");
    assert_eq!(violation.code, freshet_core::Code::EnvelopeKey);
}

#[test]
fn a_pseudonym_hides_the_key() {
    let dataset = compiled(&["a"], KeyForm::Pseudonym);
    let secret = PseudonymKey::new(b"0123456789abcdef0123456789abcdef\n").expect("long enough");
    let key = dataset.key_of_texts(["42010019990101001X"], Some(&secret)).expect("a key");
    // printf 'd\x1f42010019990101001X' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    assert_eq!(String::from_utf8_lossy(&key), "94cbb34700d581d68a7219b6f3bfce6b");
    assert!(dataset.key_of_texts(["a"], None).is_err(), "without the secret nothing is published in the clear");
    assert!(PseudonymKey::new(b"short").is_err());
    assert_eq!(format!("{secret:?}"), "PseudonymKey(…)");
}

#[test]
fn a_status_follows_only_as_the_rule_says() {
    let dataset = compiled(&["a"], KeyForm::Plain);
    let schema = dataset.latest();
    let (walk, bytes) = datum(schema, "a", "b", 1);
    let transitions = schema.transitions.as_ref().expect("has them");
    let open = transitions.state_of(&schema.plan, &walk, &bytes).expect("a status");
    let states = &transitions.states;
    assert_eq!(states.name(open), "OPEN");
    assert!(!states.may_follow(None, open));
    assert_eq!(states.followers(None), ["NEW"]);
    assert!(states.may_follow(Some(open), open));
    assert_eq!(states.followers(Some(open)), ["OPEN", "SHUT"]);
    assert!(!states.may_follow(Some(99), open) && !states.may_follow(Some(open), 99));
}

proptest! {
    /// No two lists of texts have one key.
    #[test]
    fn keys_are_unique(
        first in prop::collection::vec(r"[ab|\\]{0,3}", 2..4),
        second in prop::collection::vec(r"[ab|\\]{0,3}", 2..4),
    ) {
        let key = |texts: &[String]| plain_key(texts.iter().map(String::as_str));
        prop_assert_eq!(key(&first) == key(&second), first == second);
    }

    #[test]
    fn keys_of_records_are_unique(
        first in (r"[ab|\\]{0,3}", r"[ab|\\]{0,3}"),
        second in (r"[ab|\\]{0,3}", r"[ab|\\]{0,3}"),
    ) {
        let dataset = compiled(&["a", "b"], KeyForm::Plain);
        let key = |(a, b): &(String, String)| {
            let (walk, datum) = datum(dataset.latest(), a, b, 1);
            dataset.key_of(dataset.latest(), &walk, &datum, None)
        };
        if let (Ok(one), Ok(other)) = (key(&first), key(&second)) {
            prop_assert_eq!(one == other, first == second);
        } else {
            let is_empty = |(a, b): &(String, String)| a.is_empty() && b.is_empty();
            prop_assert!(is_empty(&first) || is_empty(&second));
        }
    }
}
