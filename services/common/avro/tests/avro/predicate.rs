//! The language of conditions: against a naive evaluator over `apache-avro`'s tree, and by hand.

use apache_avro::Schema;
use fastrand::Rng;
use freshet_avro::predicate::Predicate;
use freshet_avro::{FieldType, Plan, Walk, json};
use proptest::prelude::*;
use serde_json::json as j;

use crate::condition::{Condition, SCHEMA};
use crate::shape::{self, Shape, shapes};

/// Fields of every kind that conditions are about, beside random ones.
fn with_certain_fields(shape: Shape) -> Shape {
    let nullable = |shape: Shape| Shape::Nullable(Box::new(shape), true);
    let leaves = ["int", "long", "double", "string"].map(Shape::Leaf);
    let mut fields = leaves.to_vec();
    fields.extend(leaves.map(nullable));
    fields.push(Shape::Enum(3));
    fields.push(nullable(Shape::Array(Box::new(Shape::Leaf("string")))));
    fields.push(Shape::Array(Box::new(Shape::Leaf("string"))));
    fields.push(nullable(shape));
    Shape::Record(fields)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conditions_agree_with_the_naive_evaluator(shape in shapes(), seed: u64) {
        let avsc = shape::avsc(&with_certain_fields(shape));
        let plan = Plan::compile(&avsc).expect("a plan");
        let schema = Schema::parse_str(&avsc).expect("a schema");
        let (value, _) = shape::value(&schema, seed);
        let bytes = shape::encode_in_blocks(&schema, &value, seed);
        let mut walk = Walk::new();
        prop_assert!(plan.check(&bytes, &mut walk));
        let fields: Vec<(&str, FieldType)> = plan.fields().map(|(path, _, ty)| (path, ty.clone())).collect();
        let mut rng = Rng::with_seed(seed);
        for _ in 0..8 {
            let Some(condition) = Condition::random(&fields, &value, 3, &mut rng) else { continue };
            let text = condition.text();
            if text.len() > freshet_avro::predicate::MAX_LENGTH {
                continue;
            }
            let predicate = Predicate::compile(&text, &plan)
                .map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
            let ours = predicate.matches(&plan, &walk, &bytes);
            prop_assert_eq!(ours, condition.answer(&value) == Some(true), "{} of {:?}", text, value);
        }
    }
}

fn record() -> serde_json::Value {
    j!({"name": "O'Hara", "ward": null, "price": "12.50", "ratio": 0.1, "count": 7, "active": true,
        "from": "2024-02-29", "until": null, "at": "2024-02-29T12:00:00Z", "seen": "2024-02-29T12:00:00Z",
        "status": "OPEN", "states": ["CLOSED"], "tags": ["a", "bc"], "in": {"x": 5}, "mixed": null, "blob": ""})
}

fn check(text: &str, expected: bool) {
    let plan = Plan::compile(SCHEMA).expect("a plan");
    let bytes = json::encode(&plan, &record()).expect("a record");
    let mut walk = Walk::new();
    assert!(plan.check(&bytes, &mut walk));
    let predicate = Predicate::compile(text, &plan).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(predicate.matches(&plan, &walk, &bytes), expected, "{text}");
}

#[test]
fn comparisons_are_by_type() {
    check("name = 'O''Hara'", true);
    check("name starts_with 'O' and name contains 'Har' and not name contains 'x'", true);
    check("price = 12.5 and price > 12.499 and price <= 12.50 and price != 12.51", true);
    check("price in (1, 12.5)", true);
    check("price not in (1, 12.5)", false);
    check("ratio = 0.1", true);
    check("count < price and count = 7.0 and count > -1", true);
    check("active = true and active != FALSE", true);
    check("from = '2024-02-29' and from < '2024-03-01'", true);
    check("at >= '2024-02-29' and at < '2024-02-29T20:00:00.5+08:00'", true);
    check("at = seen", true);
    check("status = 'OPEN' and status in ('CLOSED', 'OPEN') and status != 'CLOSED'", true);
    check("states contains 'CLOSED' and states not contains 'OPEN'", true);
    check("tags contains 'bc' and not tags contains 'b'", true);
    check("in.x = 5 and \"in.x\" > 4 and \"in\" is not null", true);
}

#[test]
fn null_is_unknown() {
    for text in ["ward = 'a'", "ward != 'a'", "not ward = 'a'", "ward not in ('a')", "ward not starts_with 'a'"] {
        check(text, false);
    }
    check("ward = name", false);
    check("until < from or until >= from", false);
    check("ward is null and until is null and mixed is null and name is not null", true);
    check("ward is not null", false);
    check("ward = 'a' or count = 7", true);
    check("not (ward = 'a' and count = 8)", true);
}

#[test]
fn and_binds_tighter_than_or() {
    check("count = 7 or count = 8 and count = 9", true);
    check("(count = 7 or count = 8) and count = 9", false);
    check("not count = 8 and count = 7", true);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let wrong = |text: &str, at: usize, part: &str| {
        let plan = Plan::compile(SCHEMA).expect("a plan");
        let error = Predicate::compile(text, &plan).expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    };
    wrong("", 0, "expected a field, found the end");
    wrong("name", 4, "expected `=`, `!=`");
    wrong("name = ", 7, "expected a value");
    wrong("name = 'a", 7, "no closing '");
    wrong("name = 'a' name", 11, "expected `and`, `or` or the end, found name");
    wrong("name == 'a'", 6, "expected a value");
    wrong("nmae = 'a'", 0, "no field `nmae`; did you mean `name`?");
    wrong("name = \"ACTIF\"", 7, "a text stands in single quotes: 'text'");
    wrong("Name = 'a'", 0, "did you mean `name`?");
    wrong("x = 1", 0, "did you mean `in.x`?");
    wrong("王 = 1", 0, "no field `王`");
    wrong("name = '王' and from = '2024-02-30'", 22, "expected the form 'YYYY-MM-DD'");
    wrong("from = 20240229", 7, "single quotes");
    wrong("count = '7'", 8, "number without quotes");
    wrong("name = 7", 7, "single quotes, '7'");
    wrong("active = 'true'", 9, "expected true or false");
    wrong("status = 'open'", 9, "is not one of OPEN, CLOSED");
    wrong("status < 'OPEN'", 7, "has no order");
    wrong("states contains 'x'", 16, "is not one of OPEN, CLOSED");
    wrong("name = count", 7, "a string is not compared with a int");
    wrong("from < at", 7, "a date is not compared with a timestamp-micros");
    wrong("blob = 'a'", 5, "a bytes is not compared");
    wrong("blob contains 'a'", 5, "needs a text or an array");
    wrong("count starts_with 'a'", 6, "needs a text");
    wrong("name = null", 7, "write `is null`");
    wrong("name is empty", 8, "`null` or `not null`");
    wrong("name not = 'a'", 9, "expected `in`, `contains` or `starts_with`");
    wrong("name in 'a'", 8, "expected `(`");
    wrong("name in ('a' 'b')", 13, "expected `,` or `)`");
    wrong("(name = 'a'", 11, "expected `)`");
    wrong("name ~ 'a'", 5, "`~` has no meaning");
    wrong("count = 1.2.3", 8, "not a number");
    wrong(&"(".repeat(40), 32, "nested deeper");
    wrong(&"not ".repeat(40), 128, "nested deeper");
    wrong(&format!("name = '{}'", "a".repeat(1020)), 0, "at most 1024");
}

/// A field that only the newer schema has takes its default in older records, also inside a record.
#[test]
fn older_records_take_defaults() {
    let schema = |inner: &str, more: &str| {
        format!(
            r#"{{"type":"record","name":"r","fields":[{{"name":"i","type":{{"type":"record","name":"I","fields":[
            {{"name":"x","type":"int"}}{inner}]}}}},
            {{"name":"e","type":{{"type":"enum","name":"E","symbols":["A"{more}],"default":"A"}}}}]}}"#
        )
    };
    let old = Plan::compile(&schema("", "")).expect("old");
    let new = schema(
        r#",{"name":"y","type":["null","string"],"default":null},{"name":"z","type":"int","default":3}"#,
        r#","B""#,
    );
    let new = new.trim_end_matches("]}").to_owned()
        + r#",{"name":"o","type":{"type":"record","name":"O","fields":[{"name":"p","type":"string"},{"name":"q","type":"long"}]},
           "default":{"p":"text","q":4}}]}"#;
    let new = Plan::compile(&new).expect("new");
    let bytes = json::encode(&old, &j!({"i": {"x": 1}, "e": "A"})).expect("a record");
    let mut walk = Walk::new();
    assert!(old.check(&bytes, &mut walk));
    for (text, expected) in [
        ("i.z = 3 and i.x = 1", true),
        ("i.y is null", true),
        ("i.y = 'a'", false),
        ("o.p = 'text' and o.q = 4", true),
        ("o.q > i.z", true),
        ("e = 'B'", false),
        ("e != 'B'", true),
    ] {
        let predicate =
            Predicate::compile_with_defaults(text, &old, &new).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(predicate.matches(&old, &walk, &bytes), expected, "{text}");
    }
}
