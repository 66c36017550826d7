//! The language of conditions: against a naive evaluator over `apache-avro`'s tree, and by hand.

use std::cmp::Ordering;

use apache_avro::Schema;
use apache_avro::types::Value;
use fastrand::Rng;
use freshet_avro::predicate::Predicate;
use freshet_avro::{FieldType, Plan, Walk, json};
use proptest::prelude::*;
use serde_json::json as j;

use crate::naive;
use crate::shape::{self, Shape, shapes};

/// A condition in a form of its own, from which the text is written and the answer is found.
enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    IsNull(String),
    /// Field, sign, literal as text, literal as a number, or else compared as texts.
    Compare(String, &'static str, String, Option<f64>),
    In(String, Vec<String>),
    StartsWith(String, String),
    Contains(String, String),
}

const SIGNS: [&str; 6] = ["=", "!=", "<", "<=", ">", ">="];

impl Condition {
    fn random(fields: &[(&str, FieldType)], value: &Value, depth: u32, rng: &mut Rng) -> Option<Self> {
        if depth > 0 && rng.u8(..3) > 0 {
            let left = Box::new(Self::random(fields, value, depth - 1, rng)?);
            return Some(match rng.u8(..3) {
                0 => Self::Not(left),
                1 => Self::And(left, Box::new(Self::random(fields, value, depth - 1, rng)?)),
                _ => Self::Or(left, Box::new(Self::random(fields, value, depth - 1, rng)?)),
            });
        }
        let (path, ty) = &fields[rng.usize(..fields.len())];
        let path = (*path).to_owned();
        let sign = SIGNS[rng.usize(..6)];
        // Half of the literals are what the record has, or comparisons would hardly ever be of equals.
        let present = naive::at(value, &path).filter(|_| rng.bool());
        Some(match ty.without_null() {
            _ if rng.u8(..6) == 0 => Self::IsNull(path),
            FieldType::Int | FieldType::Long => {
                let number = match present {
                    Some(Value::Int(number)) => i64::from(*number),
                    // Numbers that f64, in which the naive side compares, holds exactly.
                    Some(Value::Long(number)) if number.abs() < 1 << 50 => *number,
                    _ => rng.i64(-100..100),
                };
                Self::Compare(path, sign, number.to_string(), Some(number as f64))
            }
            FieldType::Double => {
                let number = match present {
                    Some(Value::Double(number)) => *number,
                    _ => f64::from(rng.i16(..)) / 10.0,
                };
                Self::Compare(path, sign, number.to_string(), Some(number))
            }
            FieldType::String => {
                let text = match present {
                    Some(Value::String(text)) => text.clone(),
                    _ => ["", "a", "王", "B0", "'"][rng.usize(..5)].to_owned(),
                };
                match rng.u8(..4) {
                    0 => Self::StartsWith(path, text.chars().take(2).collect()),
                    1 => Self::Contains(path, text.chars().skip(1).take(2).collect()),
                    2 => Self::In(path, vec!["x".to_owned(), text]),
                    _ => Self::Compare(path, sign, text, None),
                }
            }
            FieldType::Enum(symbols) => {
                let symbol = symbols.symbols[rng.usize(..symbols.symbols.len())].clone();
                Self::Compare(path, SIGNS[rng.usize(..2)], symbol, None)
            }
            FieldType::Array(items) if **items == FieldType::String => {
                let item = match present {
                    Some(Value::Array(items)) if !items.is_empty() => match &items[rng.usize(..items.len())] {
                        Value::String(item) => item.clone(),
                        _ => return None,
                    },
                    _ => "a".to_owned(),
                };
                Self::Contains(path, item)
            }
            _ => Self::IsNull(path),
        })
    }

    fn text(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match self {
            Self::And(left, right) => format!("({}) and ({})", left.text(), right.text()),
            Self::Or(left, right) => format!("({}) OR ({})", left.text(), right.text()),
            Self::Not(inner) => format!("not ({})", inner.text()),
            Self::IsNull(path) => format!("{path} is null"),
            Self::Compare(path, sign, literal, Some(_)) => format!("{path} {sign} {literal}"),
            Self::Compare(path, sign, literal, None) => format!("{path} {sign} {}", quoted(literal)),
            Self::In(path, list) => {
                format!("{path} in ({})", list.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
            }
            Self::StartsWith(path, text) => format!("{path} starts_with {}", quoted(text)),
            Self::Contains(path, text) => format!("{path} contains {}", quoted(text)),
        }
    }

    fn answer(&self, value: &Value) -> Option<bool> {
        let at = |path: &str| naive::at(value, path).filter(|value| **value != Value::Null);
        match self {
            Self::And(left, right) => match (left.answer(value), right.answer(value)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(left, right) => match (left.answer(value), right.answer(value)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(inner) => inner.answer(value).map(|answer| !answer),
            Self::IsNull(path) => Some(at(path).is_none()),
            Self::Compare(path, sign, literal, number) => {
                let order = match (at(path)?, number) {
                    (Value::Int(left), Some(right)) => f64::from(*left).partial_cmp(right)?,
                    (Value::Long(left), Some(right)) => (*left as f64).partial_cmp(right)?,
                    (Value::Double(left), Some(right)) => left.partial_cmp(right)?,
                    (Value::String(left) | Value::Enum(_, left), None) => left.as_str().cmp(literal),
                    (other, _) => panic!("{other:?} against {literal}"),
                };
                Some(match *sign {
                    "=" => order == Ordering::Equal,
                    "!=" => order != Ordering::Equal,
                    "<" => order == Ordering::Less,
                    "<=" => order != Ordering::Greater,
                    ">" => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                })
            }
            Self::In(path, list) => match at(path)? {
                Value::String(text) => Some(list.contains(text)),
                other => panic!("{other:?}"),
            },
            Self::StartsWith(path, part) => match at(path)? {
                Value::String(text) => Some(text.starts_with(part)),
                other => panic!("{other:?}"),
            },
            Self::Contains(path, part) => match at(path)? {
                Value::String(text) => Some(text.contains(part)),
                Value::Array(items) => Some(items.contains(&Value::String(part.clone()))),
                other => panic!("{other:?}"),
            },
        }
    }
}

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

const SCHEMA: &str = r#"{"type":"record","name":"r","fields":[
    {"name":"name","type":"string"},
    {"name":"ward","type":["null","string"]},
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},
    {"name":"ratio","type":"float"},
    {"name":"count","type":"int"},
    {"name":"active","type":"boolean"},
    {"name":"from","type":{"type":"int","logicalType":"date"}},
    {"name":"until","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"seen","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"status","type":{"type":"enum","name":"S","symbols":["OPEN","CLOSED"]}},
    {"name":"states","type":{"type":"array","items":"S"}},
    {"name":"tags","type":{"type":"array","items":"string"}},
    {"name":"in","type":["null",{"type":"record","name":"I","fields":[{"name":"x","type":"long"}]}]},
    {"name":"mixed","type":["null","int","string"]},
    {"name":"blob","type":"bytes"}]}"#;

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
