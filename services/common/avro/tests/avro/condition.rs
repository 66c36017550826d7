//! Random conditions, as a text and as an answer of their own. Used by the fuzz targets too (`tests/fuzz`).

use std::cmp::Ordering;

use apache_avro::types::Value;
use fastrand::Rng;
use freshet_avro::FieldType;

use crate::naive;

/// A field of every type that conditions are about.
pub const SCHEMA: &str = r#"{"type":"record","name":"r","fields":[
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

/// A condition in a form of its own, from which the text is written and the answer is found.
pub enum Condition {
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
    pub fn random(fields: &[(&str, FieldType)], value: &Value, depth: u32, rng: &mut Rng) -> Option<Self> {
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

    pub fn text(&self) -> String {
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

    pub fn answer(&self, value: &Value) -> Option<bool> {
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
