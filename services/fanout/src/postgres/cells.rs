//! The columns of many rows as PostgreSQL's binary arrays (manual, 54.7 and the `recv` functions of the types): what an
//! Avro value becomes, straight from the record's bytes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use freshet_avro::{FieldType, Value, json};
use serde::Serialize as _;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// From 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The types that a column of ours may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Bigint,
    Double,
    Boolean,
    Numeric,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Jsonb,
}

impl Kind {
    /// Of a column's type as the statements write it.
    pub fn of(sql_type: &str) -> Self {
        match sql_type {
            "bigint" => Self::Bigint,
            "double precision" => Self::Double,
            "boolean" => Self::Boolean,
            "numeric" => Self::Numeric,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::Timestamptz,
            "jsonb" => Self::Jsonb,
            _ => Self::Text,
        }
    }

    fn element(self) -> Type {
        match self {
            Self::Text => Type::TEXT,
            Self::Bigint => Type::INT8,
            Self::Double => Type::FLOAT8,
            Self::Boolean => Type::BOOL,
            Self::Numeric => Type::NUMERIC,
            Self::Date => Type::DATE,
            Self::Time => Type::TIME,
            Self::Timestamp => Type::TIMESTAMP,
            Self::Timestamptz => Type::TIMESTAMPTZ,
            Self::Jsonb => Type::JSONB,
        }
    }

    /// Whether [`Array::push`] takes every value of the Avro type.
    pub fn takes(self, ty: &FieldType) -> bool {
        match (self, ty) {
            (_, FieldType::Null) | (Self::Jsonb, _) => true,
            (_, FieldType::Union(branches)) => branches.iter().all(|branch| self.takes(branch)),
            (Self::Bigint | Self::Double | Self::Numeric, FieldType::Int | FieldType::Long)
            | (Self::Double, FieldType::Float | FieldType::Double)
            | (Self::Boolean, FieldType::Boolean)
            | (Self::Numeric, FieldType::Decimal(_))
            | (Self::Date, FieldType::Date)
            | (Self::Time, FieldType::TimeMillis | FieldType::TimeMicros)
            | (Self::Timestamp, FieldType::LocalTimestampMillis | FieldType::LocalTimestampMicros)
            | (Self::Timestamptz, FieldType::TimestampMillis | FieldType::TimestampMicros)
            | (
                Self::Text,
                FieldType::String
                | FieldType::Uuid
                | FieldType::Enum(_)
                | FieldType::Bytes
                | FieldType::Fixed(_)
                | FieldType::Duration(_),
            ) => true,
            _ => false,
        }
    }
}

/// One column of a round, as the value of an array parameter.
#[derive(Debug)]
pub struct Array {
    kind: Kind,
    count: i32,
    has_null: bool,
    elements: BytesMut,
}

/// The value is not one that its column takes, or a column has 2 GiB in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misfit;

impl Array {
    pub fn new(kind: Kind) -> Self {
        Self { kind, count: 0, has_null: false, elements: BytesMut::new() }
    }

    /// How many rows it has.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or_default()
    }

    pub fn push_null(&mut self) {
        self.count += 1;
        self.has_null = true;
        self.elements.put_i32(-1);
    }

    pub fn push_text(&mut self, text: &str) -> Result<(), Misfit> {
        self.push_bytes(without_nul(text).as_bytes())
    }

    /// A moment, in microseconds since 1970.
    pub fn push_moment(&mut self, microseconds: i64) -> Result<(), Misfit> {
        let since_2000 = microseconds.checked_sub(EPOCH_MICROS).ok_or(Misfit)?;
        self.push_bytes(&since_2000.to_be_bytes())
    }

    /// `natural` is the same value, for columns of JSON.
    pub fn push(&mut self, value: Value<'_>, natural: json::Natural<'_>) -> Result<(), Misfit> {
        match (self.kind, value) {
            (_, Value::Null | Value::Absent) => {
                self.push_null();
                Ok(())
            }
            (Kind::Jsonb, _) => self.push_json(natural),
            (Kind::Text, Value::String(text) | Value::Uuid(text) | Value::Enum { symbol: text, .. }) => {
                self.push_text(text)
            }
            (Kind::Text, Value::Bytes(bytes)) => self.push_bytes(STANDARD.encode(bytes).as_bytes()),
            (Kind::Bigint, Value::Int(value)) => self.push_bytes(&i64::from(value).to_be_bytes()),
            (Kind::Bigint, Value::Long(value)) => self.push_bytes(&value.to_be_bytes()),
            (Kind::Double, Value::Double(value)) => self.push_double(value),
            (Kind::Double, Value::Float(value)) => self.push_double(json::widened(value)),
            (Kind::Double, Value::Int(value)) => self.push_double(f64::from(value)),
            // To the nearest, as PostgreSQL reads its digits.
            (Kind::Double, Value::Long(value)) => self.push_double(value as f64),
            (Kind::Boolean, Value::Boolean(value)) => self.push_bytes(&[u8::from(value)]),
            (Kind::Numeric, Value::Decimal { unscaled, scale }) => self.push_numeric(unscaled, scale),
            (Kind::Numeric, Value::Int(value)) => self.push_numeric(i128::from(value), 0),
            (Kind::Numeric, Value::Long(value)) => self.push_numeric(i128::from(value), 0),
            (Kind::Date, Value::Date(days)) => {
                self.push_bytes(&days.checked_sub(EPOCH_DAYS).ok_or(Misfit)?.to_be_bytes())
            }
            (Kind::Time, Value::TimeMillis(value)) => self.push_bytes(&(i64::from(value) * 1_000).to_be_bytes()),
            (Kind::Time, Value::TimeMicros(value)) => self.push_bytes(&value.to_be_bytes()),
            (Kind::Timestamptz, Value::TimestampMillis(value))
            | (Kind::Timestamp, Value::LocalTimestampMillis(value)) => {
                self.push_moment(value.checked_mul(1_000).ok_or(Misfit)?)
            }
            (Kind::Timestamptz, Value::TimestampMicros(value))
            | (Kind::Timestamp, Value::LocalTimestampMicros(value)) => self.push_moment(value),
            _ => Err(Misfit),
        }
    }

    fn push_double(&mut self, value: f64) -> Result<(), Misfit> {
        // Of its many forms the one that PostgreSQL makes of the text NaN.
        let value = if value.is_nan() { f64::NAN } else { value };
        self.push_bytes(&value.to_be_bytes())
    }

    fn push_numeric(&mut self, unscaled: i128, scale: u32) -> Result<(), Misfit> {
        let scale = u16::try_from(scale).map_err(|_| Misfit)?;
        let (digits, weight) = digits(unscaled.unsigned_abs(), scale);
        let sign: u16 = if unscaled < 0 { 0x4000 } else { 0 };
        self.element(|out| {
            out.put_i16(digits.len() as i16);
            out.put_i16(weight);
            out.put_u16(sign);
            out.put_u16(scale);
            digits.iter().for_each(|digit| out.put_u16(*digit));
        })
    }

    fn push_json(&mut self, natural: json::Natural<'_>) -> Result<(), Misfit> {
        let mut text = Vec::with_capacity(64);
        let mut serializer = serde_json::Serializer::new(&mut text);
        natural.with(json::Nul::Replaced).serialize(&mut serializer).map_err(|_| Misfit)?;
        self.element(|out| {
            // The version of the form.
            out.put_u8(1);
            out.put_slice(&text);
        })
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), Misfit> {
        self.element(|out| out.put_slice(bytes))
    }

    fn element(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), Misfit> {
        let at = self.elements.len();
        self.elements.put_i32(0);
        write(&mut self.elements);
        let length = i32::try_from(self.elements.len() - at - 4).map_err(|_| Misfit)?;
        self.elements[at..at + 4].copy_from_slice(&length.to_be_bytes());
        self.count += 1;
        Ok(())
    }
}

impl ToSql for Array {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_i32(1);
        out.put_i32(i32::from(self.has_null));
        out.put_u32(self.kind.element().oid());
        out.put_i32(self.count);
        out.put_i32(1);
        out.put_slice(&self.elements);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), tokio_postgres::types::Kind::Array(_))
    }

    to_sql_checked!();
}

/// The digits of a numeric to the base of 10,000, the greatest first, and the exponent of the first: no zeros at either end,
/// none at all of zero.
fn digits(mut unscaled: u128, scale: u16) -> (Vec<u16>, i16) {
    const PLACES: u16 = 4;
    let mut digits = Vec::with_capacity(12);
    // Digits behind the point are grouped from the point on: the last group may be filled up with zeros.
    let behind = scale % PLACES;
    if behind > 0 {
        let part = 10_u128.pow(u32::from(behind));
        digits.push((unscaled % part) as u16 * 10_u16.pow(u32::from(PLACES - behind)));
        unscaled /= part;
    }
    while unscaled > 0 {
        digits.push((unscaled % 10_000) as u16);
        unscaled /= 10_000;
    }
    let mut weight = digits.len() as i16 - scale.div_ceil(PLACES) as i16 - 1;
    while digits.last() == Some(&0) {
        digits.pop();
        weight -= 1;
    }
    digits.reverse();
    while digits.last() == Some(&0) {
        digits.pop();
    }
    if digits.is_empty() { (digits, 0) } else { (digits, weight) }
}

/// PostgreSQL has no U+0000 in a text (manual, 8.3): it becomes U+FFFD, the character for what cannot be shown. Anything
/// else would leave one such record in the way of all that follow it.
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_a_numeric_are_grouped_from_the_point() {
        assert_eq!(digits(0, 2), (vec![], 0));
        assert_eq!(digits(35_018_763, 2), (vec![35, 187, 6300], 1));
        assert_eq!(digits(1, 0), (vec![1], 0));
        assert_eq!(digits(10_000, 0), (vec![1], 1));
        assert_eq!(digits(1, 4), (vec![1], -1));
        assert_eq!(digits(1, 5), (vec![1000], -2));
        assert_eq!(digits(1, 38), (vec![100], -10));
        assert_eq!(digits(120_000_000, 4), (vec![1, 2000], 1));
    }

    #[test]
    fn what_postgresql_cannot_hold_is_shown_as_such() {
        assert_eq!(without_nul("x\0y"), "x\u{fffd}y");
        assert!(matches!(without_nul("xy"), Cow::Borrowed("xy")));
    }
}
