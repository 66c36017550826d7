//! A condition over one record, in three values.

use std::cmp::Ordering;

use super::operand::{Literal, Operand, Scalar};
use crate::schema::FieldType;
use crate::skip::block;
use crate::value::sized;
use crate::{Walk, decimal, varint};

#[derive(Debug, Clone)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    IsNull(Operand),
    Compare(Operand, Comparison, Literal),
    CompareFields(Operand, Comparison, Operand),
    OneOf(Operand, Vec<Literal>),
    /// An array of texts or symbols has the item.
    HasItem(Operand, Item),
    HasPart(Operand, Box<str>),
    StartsWith(Operand, Box<str>),
}

#[derive(Debug, Clone)]
pub(super) enum Item {
    Text(Box<str>),
    Symbol(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Node {
    /// None: unknown.
    pub(super) fn evaluate(&self, walk: &Walk, bytes: &[u8]) -> Option<bool> {
        match self {
            Self::All(nodes) => {
                let mut result = Some(true);
                for node in nodes {
                    match node.evaluate(walk, bytes) {
                        Some(false) => return Some(false),
                        Some(true) => {}
                        None => result = None,
                    }
                }
                result
            }
            Self::Any(nodes) => {
                let mut result = Some(false);
                for node in nodes {
                    match node.evaluate(walk, bytes) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => result = None,
                    }
                }
                result
            }
            Self::Not(node) => node.evaluate(walk, bytes).map(|value| !value),
            Self::IsNull(operand) => Some(operand.is_null(walk, bytes)),
            Self::Compare(left, comparison, right) => comparison.holds(left.scalar(walk, bytes), right.scalar()),
            Self::CompareFields(left, comparison, right) => {
                comparison.holds(left.scalar(walk, bytes), right.scalar(walk, bytes))
            }
            Self::OneOf(operand, literals) => match operand.scalar(walk, bytes) {
                Scalar::Null => None,
                value => {
                    Some(literals.iter().any(|literal| Comparison::Equal.holds(value, literal.scalar()) == Some(true)))
                }
            },
            Self::HasItem(operand, item) => {
                let raw = operand.raw(walk, bytes)?;
                has_item(raw, item)
            }
            Self::HasPart(operand, part) => {
                let text = simdutf8::basic::from_utf8(text(operand, walk, bytes)?).ok()?;
                Some(text.contains(&**part))
            }
            Self::StartsWith(operand, part) => Some(text(operand, walk, bytes)?.starts_with(part.as_bytes())),
        }
    }
}

fn text<'a>(operand: &'a Operand, walk: &Walk, bytes: &'a [u8]) -> Option<&'a [u8]> {
    match operand.ty.without_null() {
        FieldType::String | FieldType::Uuid => sized(operand.raw(walk, bytes)?),
        _ => None,
    }
}

fn has_item(raw: &[u8], item: &Item) -> Option<bool> {
    let mut position = 0;
    while let Some(count) = block(raw, &mut position)? {
        for _ in 0..count {
            let found = match item {
                Item::Text(text) => {
                    let length = usize::try_from(varint::read(raw, &mut position).ok()?).ok()?;
                    let end = position.checked_add(length)?;
                    let found = raw.get(position..end)? == text.as_bytes();
                    position = end;
                    found
                }
                Item::Symbol(symbol) => varint::read(raw, &mut position).ok()? == *symbol,
            };
            if found {
                return Some(true);
            }
        }
    }
    Some(false)
}

impl Comparison {
    /// None where one side is null.
    fn holds(self, left: Scalar<'_>, right: Scalar<'_>) -> Option<bool> {
        let order = match (left, right) {
            (Scalar::Null, _) | (_, Scalar::Null) => return None,
            (Scalar::Boolean(left), Scalar::Boolean(right)) => Some(left.cmp(&right)),
            (Scalar::Text(left), Scalar::Text(right)) => Some(left.cmp(right)),
            (Scalar::Moment(left), Scalar::Moment(right)) => Some(left.cmp(&right)),
            (Scalar::Exact(left, left_scale), Scalar::Exact(right, right_scale)) => {
                Some(decimal::compare((left, left_scale), (right, right_scale)))
            }
            (Scalar::Float(left), Scalar::Float(right)) => left.partial_cmp(&right),
            (Scalar::Float(left), Scalar::Exact(right, scale)) => left.partial_cmp(&approximate(right, scale)),
            (Scalar::Exact(left, scale), Scalar::Float(right)) => approximate(left, scale).partial_cmp(&right),
            // The parser lets no other pair through.
            _ => return None,
        };
        // NaN has no order: it differs from everything, as in IEEE 754.
        Some(match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        })
    }
}

fn approximate(unscaled: i128, scale: u32) -> f64 {
    unscaled as f64 / 10f64.powi(scale as i32)
}
