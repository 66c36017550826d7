//! JSON values without parts to Avro, whether they come from a tree or straight from a text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value as Json};

use crate::calendar::{self, NANOS_A_SECOND};
use crate::decimal::{self, DecimalError};
use crate::schema::{DecimalType, FieldType};
use crate::{limits, varint};

#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Number(&'a Number),
    Text(&'a str),
}

/// Why a value is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not of the type.
    Type,
    /// A time between two of the type's units.
    TooFine,
    /// A decimal as a number that `f64` may have changed.
    Inexact,
    /// Digits other than 0 behind the decimal's last place.
    TooManyFractionDigits,
    TooManyDigits,
}

impl<'a> Scalar<'a> {
    /// None: an array or object.
    pub(super) fn of(json: &'a Json) -> Option<Self> {
        Some(match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Boolean(*value),
            Json::Number(number) => Self::Number(number),
            Json::String(text) => Self::Text(text),
            Json::Array(_) | Json::Object(_) => return None,
        })
    }

    fn text(self) -> Result<&'a str, Wrong> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(Wrong::Type),
        }
    }

    fn integer(self) -> Result<i64, Wrong> {
        match self {
            Self::Number(number) => number.as_i64().ok_or(Wrong::Type),
            _ => Err(Wrong::Type),
        }
    }

    fn float(self) -> Result<f64, Wrong> {
        match self {
            Self::Number(number) => number.as_f64(),
            Self::Text("NaN") => Some(f64::NAN),
            Self::Text("Infinity") => Some(f64::INFINITY),
            Self::Text("-Infinity") => Some(f64::NEG_INFINITY),
            _ => None,
        }
        .ok_or(Wrong::Type)
    }

    fn base64(self) -> Result<Vec<u8>, Wrong> {
        STANDARD.decode(self.text()?).map_err(|_| Wrong::Type)
    }
}

/// Appends the value as `ty` has it; nothing where it is not taken. A union takes no scalar: its branch does.
pub(super) fn put(ty: &FieldType, scalar: Scalar<'_>, out: &mut Vec<u8>) -> Result<(), Wrong> {
    match ty {
        FieldType::Null => match scalar {
            Scalar::Null => {}
            _ => return Err(Wrong::Type),
        },
        FieldType::Boolean => match scalar {
            Scalar::Boolean(value) => out.push(u8::from(value)),
            _ => return Err(Wrong::Type),
        },
        FieldType::Int => {
            let value = i32::try_from(scalar.integer()?).map_err(|_| Wrong::Type)?;
            varint::write(i64::from(value), out);
        }
        FieldType::Long => varint::write(scalar.integer()?, out),
        FieldType::Float => {
            let wide = scalar.float()?;
            let value = wide as f32;
            // A finite number beyond the range of 32 bits would become infinite.
            if wide.is_finite() && !value.is_finite() {
                return Err(Wrong::Type);
            }
            out.extend_from_slice(&value.to_le_bytes());
        }
        FieldType::Double => out.extend_from_slice(&scalar.float()?.to_le_bytes()),
        FieldType::String => varint::write_bytes(scalar.text()?.as_bytes(), out),
        FieldType::Uuid => varint::write_bytes(uuid(scalar.text()?)?.as_bytes(), out),
        FieldType::UuidFixed(_) => {
            let digits = uuid(scalar.text()?)?.replace('-', "");
            let value = u128::from_str_radix(&digits, 16).map_err(|_| Wrong::Type)?;
            out.extend_from_slice(&value.to_be_bytes());
        }
        FieldType::Bytes => varint::write_bytes(&scalar.base64()?, out),
        FieldType::Fixed(fixed) | FieldType::Duration(fixed) => {
            let bytes = scalar.base64()?;
            if bytes.len() != fixed.size {
                return Err(Wrong::Type);
            }
            out.extend_from_slice(&bytes);
        }
        FieldType::Date => {
            let days = calendar::date_from_text(scalar.text()?).ok_or(Wrong::Type)?;
            varint::write(i64::from(days), out);
        }
        FieldType::TimeMillis => time(calendar::time_from_text(scalar.text()?), 1_000, |_| true, out)?,
        FieldType::TimeMicros => time(calendar::time_from_text(scalar.text()?), 1_000_000, |_| true, out)?,
        FieldType::TimestampMillis => timestamp(calendar::timestamp_from_text(scalar.text()?), 1_000, out)?,
        FieldType::TimestampMicros => timestamp(calendar::timestamp_from_text(scalar.text()?), 1_000_000, out)?,
        FieldType::TimestampNanos => timestamp(calendar::timestamp_from_text(scalar.text()?), 1_000_000_000, out)?,
        FieldType::LocalTimestampMillis => timestamp(calendar::local_from_text(scalar.text()?), 1_000, out)?,
        FieldType::LocalTimestampMicros => timestamp(calendar::local_from_text(scalar.text()?), 1_000_000, out)?,
        FieldType::LocalTimestampNanos => timestamp(calendar::local_from_text(scalar.text()?), 1_000_000_000, out)?,
        FieldType::Decimal(ty) => match scalar {
            Scalar::Text(text) => decimal(ty, text, out)?,
            Scalar::Number(number) => decimal(ty, &exact_text(number).ok_or(Wrong::Inexact)?, out)?,
            _ => return Err(Wrong::Type),
        },
        FieldType::Enum(symbols) => {
            let text = scalar.text()?;
            let index = symbols.symbols.iter().position(|symbol| symbol == text).ok_or(Wrong::Type)?;
            varint::write(index as i64, out);
        }
        FieldType::Array(_) | FieldType::Map(_) | FieldType::Union(_) | FieldType::Record(_) => {
            return Err(Wrong::Type);
        }
    }
    Ok(())
}

fn uuid(text: &str) -> Result<&str, Wrong> {
    if limits::is_uuid(text.as_bytes()) { Ok(text) } else { Err(Wrong::Type) }
}

fn timestamp(nanos: Option<i128>, units_a_second: i64, out: &mut Vec<u8>) -> Result<(), Wrong> {
    time(nanos, units_a_second, |value| limits::is_timestamp(value, units_a_second), out)
}

fn time(
    nanos: Option<i128>,
    units_a_second: i64,
    is_in_range: impl Fn(i64) -> bool,
    out: &mut Vec<u8>,
) -> Result<(), Wrong> {
    let nanos = nanos.ok_or(Wrong::Type)?;
    let unit = NANOS_A_SECOND / i128::from(units_a_second);
    if nanos.rem_euclid(unit) != 0 {
        return Err(Wrong::TooFine);
    }
    let value = i64::try_from(nanos.div_euclid(unit)).ok().filter(|value| is_in_range(*value)).ok_or(Wrong::Type)?;
    varint::write(value, out);
    Ok(())
}

fn decimal(ty: &DecimalType, text: &str, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let unscaled = decimal::parse(text, ty.precision, ty.scale).map_err(|error| match error {
        DecimalError::NotADecimal => Wrong::Type,
        DecimalError::TooManyFractionDigits => Wrong::TooManyFractionDigits,
        DecimalError::TooManyDigits => Wrong::TooManyDigits,
    })?;
    match &ty.fixed {
        None => {
            let mut bytes = Vec::with_capacity(16);
            decimal::to_bytes(unscaled, &mut bytes);
            varint::write_bytes(&bytes, out);
            Ok(())
        }
        Some(fixed) if decimal::to_fixed(unscaled, fixed.size, out) => Ok(()),
        Some(_) => Err(Wrong::Type),
    }
}

/// The number's own text where `f64` cannot have changed it: any decimal of up to 15 digits comes back from an `f64` as
/// it was.
fn exact_text(number: &Number) -> Option<String> {
    let text = number.to_string();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (!number.is_f64() || (digits <= 15 && !text.contains(['e', 'E']))).then_some(text)
}
