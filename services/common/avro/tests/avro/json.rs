//! Natural JSON, both ways.

use apache_avro::Schema;
use freshet_avro::{Plan, json};
use freshet_core::Code;
use proptest::prelude::*;
use serde_json::json as j;

use crate::ask::{Answer, ask};
use crate::shape::{self, Shape, shapes};

/// Of several branches JSON may choose another than the one that was written: the text of bytes is a string.
fn is_ambiguous(shape: &Shape) -> bool {
    match shape {
        Shape::Union(..) => true,
        Shape::Array(inner) | Shape::Map(inner) | Shape::Nullable(inner, _) => is_ambiguous(inner),
        Shape::Record(fields) => fields.iter().any(is_ambiguous),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back_from_json(shape in shapes(), seed: u64) {
        let avsc = shape::avsc(&shape);
        let plan = Plan::compile(&avsc).expect("a plan");
        let schema = Schema::parse_str(&avsc).expect("a schema");
        let (value, bytes) = shape::value(&schema, seed);
        let decoded = json::decode(&plan, &bytes).map_err(|violations| TestCaseError::fail(format!("{violations:?}")))?;
        let again = json::encode(&plan, &decoded)
            .map_err(|violations| TestCaseError::fail(format!("{violations:?}: {decoded}")))?;
        let Answer::Taken { value: reread, left: 0 } = ask(&schema, &again) else {
            return Err(TestCaseError::fail("apache-avro does not take what was encoded"));
        };
        if !is_ambiguous(&shape) {
            prop_assert_eq!(reread, value);
            prop_assert_eq!(json::decode(&plan, &again), Ok(decoded));
        }
    }
}

const SCHEMA: &str = r#"{"type":"record","name":"award","fields":[
    {"name":"number","type":"string"},
    {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},
    {"name":"signed","type":{"type":"int","logicalType":"date"}},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},
    {"name":"status","type":{"type":"enum","name":"Status","symbols":["OPEN","CLOSED"]},"default":"OPEN"},
    {"name":"place","type":["null",{"type":"record","name":"Place","fields":[{"name":"ward","type":"int"}]}],"default":null},
    {"name":"tags","type":{"type":"array","items":"string"},"default":[]},
    {"name":"note","type":["null","string"]},
    {"name":"choice","type":["null","long","string"],"default":null}]}"#;

fn check(record: serde_json::Value, expected: &[(Code, &str, &str)]) {
    let plan = Plan::compile(SCHEMA).expect("a plan");
    let violations = json::encode(&plan, &record).err().unwrap_or_default();
    let found: Vec<_> = violations.iter().map(|one| (one.code, one.field.as_deref().unwrap_or(""))).collect();
    let wanted: Vec<_> = expected.iter().map(|(code, field, _)| (*code, *field)).collect();
    assert_eq!(found, wanted, "{violations:#?}");
    for (violation, (_, _, part)) in violations.iter().zip(expected) {
        assert!(violation.message.contains(part), "{violation:?}");
    }
}

#[test]
fn defaults_fill_what_is_missing() {
    let plan = Plan::compile(SCHEMA).expect("a plan");
    let bytes = json::encode(&plan, &j!({"number": "1", "amount": "0.10", "signed": "2024-02-29"})).expect("a record");
    assert_eq!(
        json::decode(&plan, &bytes).expect("its JSON"),
        j!({"number": "1", "amount": "0.10", "signed": "2024-02-29", "at": null, "status": "OPEN", "place": null,
            "tags": [], "note": null, "choice": null})
    );
}

#[test]
fn every_violation_is_told_at_once() {
    check(
        j!({"number": 7, "amount": "3501.872.63", "signed": "2024-02-30", "at": "2024-01-01T00:00:00.0001Z",
            "status": "open", "place": {"ward": 3_000_000_000i64, "street": ""}, "tags": ["a", 1], "choice": true,
            "colour": "red"}),
        &[
            (Code::SchemaType, "number", "7 is not a text"),
            (Code::SchemaType, "amount", "\"3501.872.63\" is not a decimal"),
            (Code::SchemaType, "signed", "\"2024-02-30\" is not a date"),
            (Code::SchemaType, "at", "finer than the timestamp-millis"),
            (Code::SchemaType, "status", "\"open\" is not one of OPEN, CLOSED"),
            (Code::SchemaType, "place.ward", "not an integer of 32 bits"),
            (Code::SchemaUnknownField, "place.street", "no such field"),
            (Code::SchemaType, "tags[1]", "1 is not a text"),
            (Code::SchemaType, "choice", "true is not a union of null, long, string"),
            (Code::SchemaUnknownField, "colour", "no such field"),
        ],
    );
    check(
        j!({}),
        &[
            (Code::SchemaMissing, "number", "requires a string"),
            (Code::SchemaMissing, "amount", "requires a decimal(10, 2)"),
            (Code::SchemaMissing, "signed", "requires a date"),
        ],
    );
    check(j!([]), &[(Code::SchemaType, "", "not an object")]);
}

#[test]
fn decimals_are_exact_or_refused() {
    let amount = |amount: serde_json::Value, expected: &[(Code, &str, &str)]| {
        check(j!({"number": "1", "amount": amount, "signed": "2024-01-01"}), expected);
    };
    amount(j!("12345678.90"), &[]);
    amount(j!(12), &[]);
    amount(j!(12.5), &[]);
    amount(j!(-0.1), &[]);
    amount(j!("1.005"), &[(Code::SchemaType, "amount", "more than 2 digits behind the point")]);
    amount(j!(1.005), &[(Code::SchemaType, "amount", "more than 2 digits behind the point")]);
    amount(j!("123456789"), &[(Code::SchemaType, "amount", "more than 8 digits before the point")]);
    amount(j!(12_345_678_901_234_567.25), &[(Code::SchemaType, "amount", "write the decimal as a text")]);
    amount(j!("1e3"), &[(Code::SchemaType, "amount", "not a decimal")]);
    amount(j!(null), &[(Code::SchemaType, "amount", "null is not a decimal")]);
}

#[test]
fn bytes_that_are_no_record_have_no_json() {
    let plan = Plan::compile(SCHEMA).expect("a plan");
    let violations = json::decode(&plan, &[2]).expect_err("cut off");
    assert_eq!(violations[0].code, Code::SchemaMalformed);
}
