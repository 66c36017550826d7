//! The limits of schemas and of conditions: at each and one beyond.

use freshet_avro::predicate::{MAX_LENGTH, MAX_NESTING, Predicate};
use freshet_avro::{Plan, SchemaError, Walk, json};
use serde_json::json as j;

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#)
}

/// A field below so many arrays, maps, unions or records.
fn nested(kind: &str, levels: usize) -> String {
    let mut ty = r#""int""#.to_owned();
    for level in 0..levels {
        ty = match kind {
            "array" => format!(r#"{{"type":"array","items":{ty}}}"#),
            "map" => format!(r#"{{"type":"map","values":{ty}}}"#),
            "record" => format!(r#"{{"type":"record","name":"r{level}","fields":[{{"name":"f","type":{ty}}}]}}"#),
            // A union stands in no other: two levels each.
            _ => format!(r#"["null",{{"type":"array","items":{ty}}}]"#),
        };
    }
    record(&format!(r#"{{"name":"f","type":{ty}}}"#))
}

#[test]
fn a_schema_at_its_depth_and_one_level_more() {
    for (kind, most) in [("array", 31), ("map", 31), ("record", 31), ("union", 15)] {
        assert!(Plan::compile(&nested(kind, most)).is_ok(), "{most} of {kind}");
        let beyond = Plan::compile(&nested(kind, most + 1)).expect_err(kind);
        assert!(matches!(beyond, SchemaError::TooDeep { .. }), "{kind}: {beyond}");
    }
}

#[test]
fn a_schema_at_its_types_and_one_more() {
    let with = |count: usize| {
        let fields: Vec<String> = (0..count).map(|number| format!(r#"{{"name":"f{number}","type":"int"}}"#)).collect();
        Plan::compile(&record(&fields.join(",")))
    };
    // The record is one of them.
    assert!(with(19_999).is_ok());
    assert_eq!(with(20_000).expect_err("one more"), SchemaError::TooLarge);
}

#[test]
fn a_union_at_the_types_of_its_schema_and_one_branch_more() {
    let with = |count: usize| {
        let branches: Vec<String> =
            (0..count).map(|number| format!(r#"{{"type":"fixed","name":"b{number}","size":1}}"#)).collect();
        Plan::compile(&record(&format!(r#"{{"name":"f","type":[{}]}}"#, branches.join(","))))
    };
    // Beside the record and the union itself.
    assert!(with(19_998).is_ok());
    assert_eq!(with(19_999).expect_err("one more"), SchemaError::TooLarge);
}

#[test]
fn a_condition_at_its_length_and_one_byte_more() {
    let plan = Plan::compile(&record(r#"{"name":"f","type":"string"}"#)).expect("a schema");
    let of = |bytes: usize| format!("f = '{}'", "x".repeat(bytes - "f = ''".len()));
    assert!(Predicate::compile(&of(MAX_LENGTH), &plan).is_ok());
    let beyond = Predicate::compile(&of(MAX_LENGTH + 1), &plan).expect_err("one more").to_string();
    assert!(beyond.contains("1025 bytes, at most 1024 are taken"), "{beyond}");
}

#[test]
fn a_condition_at_its_depth_and_one_level_more() {
    let plan = Plan::compile(&record(r#"{"name":"f","type":"string"}"#)).expect("a schema");
    for (open, close) in [("(", ")"), ("not ", "")] {
        // The comparison inside is a level too.
        let of = |levels: usize| format!("{}f = 'x'{}", open.repeat(levels - 1), close.repeat(levels - 1));
        assert!(Predicate::compile(&of(MAX_NESTING), &plan).is_ok(), "{open}");
        let beyond = Predicate::compile(&of(MAX_NESTING + 1), &plan).expect_err(open).to_string();
        assert!(beyond.contains("nested deeper than 32 levels"), "{beyond}");
    }
}

/// Rules have no patterns, so none that could be made to backtrack. What is searched for is searched for once: a needle that
/// nearly stands at each of four million places would take an hour where the search began anew at each.
#[test]
fn there_is_no_pattern_that_backtracks() {
    let plan = Plan::compile(&record(r#"{"name":"f","type":"string"}"#)).expect("a schema");
    for pattern in ["f matches '(a+)+$'", "f like '%a%a%a%'", "f ~ '(a|a)*b'", "f = /(a+)+$/", "f regexp 'a'"] {
        assert!(Predicate::compile(pattern, &plan).is_err(), "{pattern}");
    }
    let datum = json::encode(&plan, &j!({"f": "a".repeat(4 << 20)})).expect("a record");
    let mut walk = Walk::new();
    assert!(plan.check(&datum, &mut walk));
    let needle = format!("{}b", "a".repeat(900));
    for (condition, expected) in [
        (format!("f contains '{needle}'"), false),
        (format!("not f contains '{needle}'"), true),
        (format!("f starts_with '{needle}'"), false),
    ] {
        let predicate = Predicate::compile(&condition, &plan).expect("a condition");
        assert_eq!(predicate.matches(&plan, &walk, &datum), expected);
    }
}
