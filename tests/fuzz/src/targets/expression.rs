//! Row filters: read a second time by the demo's own reader, evaluated a second time over `apache-avro`'s tree, in three
//! values. The input is the text; it is asked of a few rows.

use std::cmp::Ordering;

use apache_avro::types::Value;
use fastrand::Rng;
use freshet_avro::predicate::{MAX_LENGTH, Predicate};
use freshet_avro::{FieldType, Plan, Walk, json};
use freshet_demo::filter::{Filter, Operand};
use serde_json::json as j;

use crate::ask::{Answer, ask};
use crate::condition::{Condition, SCHEMA};
use crate::guard::Guard;
use crate::naive;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "expression",
    what: "row filters and rules",
    share: 120,
    parts: 1,
    dictionary: &[
        " and ",
        " or ",
        "not ",
        "(",
        ")",
        " is null",
        " is not null",
        " in (",
        " not in (",
        " contains ",
        " starts_with ",
        " = ",
        " != ",
        " < ",
        " <= ",
        " > ",
        " >= ",
        "'",
        "''",
        ",",
        "name",
        "ward",
        "price",
        "ratio",
        "count",
        "active",
        "from",
        "until",
        "at",
        "seen",
        "status",
        "states",
        "tags",
        "in.x",
        "\"in.x\"",
        "mixed",
        "blob",
        "true",
        "FALSE",
        "null",
        "'OPEN'",
        "'2024-02-29'",
        "'2024-02-29T12:00:00Z'",
        "12.5",
        "-0",
        "1e9",
        "9999999999999999999999",
        "王",
        "\u{a0}",
    ],
    make: || Box::new(Expressions::new()),
};

struct Row {
    bytes: Vec<u8>,
    walk: Walk,
    value: Value,
}

struct Expressions {
    plan: Plan,
    fields: Vec<(String, FieldType)>,
    rows: Vec<Row>,
}

impl Expressions {
    fn new() -> Self {
        let plan = Plan::compile(SCHEMA).expect("the schema of the tests");
        let schema = apache_avro::Schema::parse_str(SCHEMA).expect("the schema of the tests");
        let full = j!({"name": "O'Hara", "ward": "7", "price": "12.50", "ratio": 0.5, "count": 7, "active": true,
            "from": "2024-02-29", "until": "2025-01-01", "at": "2024-02-29T12:00:00Z", "seen": "2024-02-29T12:00:00Z",
            "status": "OPEN", "states": ["CLOSED"], "tags": ["a", "bc"], "in": {"x": 5}, "mixed": "x", "blob": ""});
        let changed = |with: serde_json::Value| {
            let mut row = full.clone();
            if let (Some(row), serde_json::Value::Object(with)) = (row.as_object_mut(), with) {
                row.extend(with);
            }
            row
        };
        let rows = [
            full.clone(),
            changed(j!({"ward": null, "until": null, "in": null, "mixed": null, "tags": [], "states": []})),
            changed(j!({"name": "", "price": "-0.01", "count": -2_147_483_648, "active": false, "status": "CLOSED"})),
            changed(
                j!({"name": "王小明", "ratio": "NaN", "count": 0, "in": {"x": -1}, "tags": ["王", ""], "from": "0001-01-01"}),
            ),
        ];
        let rows = rows.into_iter().map(|row| {
            let bytes = json::encode(&plan, &row).unwrap_or_else(|violations| panic!("{row}: {violations:?}"));
            let mut walk = Walk::new();
            assert!(plan.check(&bytes, &mut walk));
            let Answer::Taken { value, .. } = ask(&schema, &bytes) else { panic!("apache-avro does not read {row}") };
            Row { bytes, walk, value }
        });
        let rows = rows.collect();
        let fields = plan.fields().map(|(path, _, ty)| (path.to_owned(), ty.clone())).collect();
        Self { plan, fields, rows }
    }
}

impl Target for Expressions {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let fields: Vec<(&str, FieldType)> = self.fields.iter().map(|(path, ty)| (path.as_str(), ty.clone())).collect();
        let row = rng.choice(&self.rows)?;
        Some(Condition::random(&fields, &row.value, 3, rng)?.text().into_bytes())
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(Seen::of("no text")) };
        let most = (256 << 10) + 64 * input.len();
        let predicate = match guard.ours("an expression", most, || Predicate::compile(text, &self.plan))? {
            Ok(predicate) => predicate,
            Err(error) if error.at > text.chars().count() => {
                return Err(format!("the mistake is at character {} of {}", error.at, text.chars().count()));
            }
            Err(error) => return Ok(Seen::of((Seen::kind_of(&error.message), size_class(error.at)))),
        };
        if text.len() > MAX_LENGTH {
            return Err(format!("{} bytes are taken", text.len()));
        }
        // The demo's reader knows fewer forms (quoted names, `not contains`): what it does not read, it does not judge.
        let second = Filter::read(Some(text)).ok().filter(|_| is_comparable(text));
        let mut answers = Vec::new();
        for row in &self.rows {
            let ours = guard.ours("a condition", 0, || predicate.matches(&self.plan, &row.walk, &row.bytes))?;
            let theirs = second.as_ref().and_then(|filter| evaluate(filter, &row.value).ok());
            if let Some(theirs) = theirs
                && ours != (theirs == Some(true))
            {
                return Err(format!("{text} is {ours} of {:?}, and {theirs:?} by the second evaluation", row.value));
            }
            answers.push((ours, theirs));
        }
        Ok(Seen::of((answers, size_class(text.len()))))
    }
}

/// Numbers of more digits than an `f64` holds, which the demo's reader keeps them in, are not compared; nor names in quotes,
/// which it does not know.
fn is_comparable(text: &str) -> bool {
    let mut digits = 0;
    for sign in text.chars() {
        digits = match sign {
            '0'..='9' => digits + 1,
            '.' => digits,
            _ => 0,
        };
        if digits > 15 || sign == '"' {
            return false;
        }
    }
    true
}

/// The outer error: this evaluation does not know. Inside, None is unknown, as in SQL.
fn evaluate(filter: &Filter, row: &Value) -> Result<Option<bool>, ()> {
    let at = |path: &str| naive::at(row, path).filter(|value| **value != Value::Null);
    Ok(match filter {
        Filter::All => Some(true),
        // How the demo's reader says `not in`; of null that is unknown, and not false as the same written out would be.
        Filter::And(parts) if is_not_in(parts) => {
            let [Filter::Not(is_null), Filter::Not(within)] = &parts[..] else { return Err(()) };
            if evaluate(is_null, row)? == Some(true) {
                return Err(());
            }
            evaluate(within, row)?.map(|answer| !answer)
        }
        Filter::And(parts) => {
            let answers = parts.iter().map(|part| evaluate(part, row)).collect::<Result<Vec<_>, ()>>()?;
            if answers.contains(&Some(false)) {
                Some(false)
            } else {
                answers.iter().all(Option::is_some).then_some(true)
            }
        }
        Filter::Or(parts) => {
            let answers = parts.iter().map(|part| evaluate(part, row)).collect::<Result<Vec<_>, ()>>()?;
            if answers.contains(&Some(true)) {
                Some(true)
            } else {
                answers.iter().all(Option::is_some).then_some(false)
            }
        }
        Filter::Not(part) => evaluate(part, row)?.map(|answer| !answer),
        Filter::IsNull(path) => Some(at(path).is_none()),
        Filter::StartsWith(path, text) => match at(path) {
            None => None,
            Some(Value::String(found)) => Some(found.starts_with(text.as_str())),
            _ => return Err(()),
        },
        Filter::Contains(path, text) => match at(path) {
            None => None,
            Some(Value::String(found)) => Some(found.contains(text.as_str())),
            Some(Value::Array(items)) => Some(items.iter().any(|item| match naive::open(item) {
                Value::String(found) | Value::Enum(_, found) => found == text,
                _ => false,
            })),
            _ => return Err(()),
        },
        Filter::In(path, operands) => match at(path) {
            None => None,
            Some(found) => {
                let mut any = false;
                for operand in operands {
                    any |= order(found, operand, row)? == Some(Ordering::Equal);
                }
                Some(any)
            }
        },
        Filter::Compare(path, sign, operand) => {
            let Some(found) = at(path) else { return Ok(None) };
            if let Operand::Field(other) = operand
                && at(other).is_none()
            {
                // The demo's reader takes a boolean in capital letters for a field.
                let is_boolean = ["true", "false"].iter().any(|word| other.eq_ignore_ascii_case(word));
                return if is_boolean { Err(()) } else { Ok(None) };
            }
            let order = order(found, operand, row)?;
            Some(match *sign {
                "=" => order == Some(Ordering::Equal),
                "!=" => order != Some(Ordering::Equal),
                "<" => order == Some(Ordering::Less),
                "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                ">" => order == Some(Ordering::Greater),
                _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            })
        }
    })
}

fn is_not_in(parts: &[Filter]) -> bool {
    matches!(parts, [Filter::Not(null), Filter::Not(within)] if matches!(**null, Filter::IsNull(_)) && matches!(**within, Filter::In(..)))
}

/// None: one of the two is NaN.
fn order(left: &Value, operand: &Operand, row: &Value) -> Result<Option<Ordering>, ()> {
    match (left, operand) {
        (_, Operand::Field(path)) => {
            let right = naive::at(row, path).ok_or(())?;
            Ok(match (number(left), number(right)) {
                (Some(left), Some(right)) => left.partial_cmp(&right),
                _ => Some(moment(left).ok_or(())?.cmp(&moment(right).ok_or(())?)),
            })
        }
        (Value::Boolean(left), Operand::Boolean(right)) => Ok(Some(left.cmp(right))),
        (Value::String(left) | Value::Enum(_, left), Operand::Text(right)) => Ok(Some(left.cmp(right))),
        // A literal is as narrow as its field.
        (Value::Float(left), Operand::Number(right)) => Ok(left.partial_cmp(&(*right as f32))),
        (_, Operand::Number(right)) => Ok(number(left).ok_or(())?.partial_cmp(right)),
        (_, Operand::Text(right)) => Ok(Some(moment(left).ok_or(())?.cmp(&literal(right).ok_or(())?))),
        _ => Err(()),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(f64::from(*number)),
        Value::Long(number) => Some(*number as f64),
        Value::Float(number) => Some(f64::from(*number)),
        Value::Double(number) => Some(*number),
        // Of the schema's one decimal, with two digits behind the point.
        Value::Decimal(decimal) => {
            let bytes: Vec<u8> = decimal.clone().try_into().ok()?;
            let sign = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
            let unscaled = bytes.iter().fold(sign, |number: i64, byte| (number << 8) | i64::from(*byte));
            Some(unscaled as f64 / 100.0)
        }
        _ => None,
    }
}

/// Nanoseconds since 1970.
fn moment(value: &Value) -> Option<i128> {
    Some(match value {
        Value::Date(days) => i128::from(*days) * 86_400_000_000_000,
        Value::TimestampMillis(number) => i128::from(*number) * 1_000_000,
        Value::TimestampMicros(number) => i128::from(*number) * 1_000,
        _ => return None,
    })
}

fn literal(text: &str) -> Option<i128> {
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    whole.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
}
