//! A field's value, borrowed from the record's bytes.

use crate::schema::{DecimalType, FieldType};
use crate::{decimal, varint};

/// What stands in a field. Numbers of logical types have the type's own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    /// A record around the field is null, or the walk ended before it.
    Absent,
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    String(&'a str),
    /// `bytes`, or `fixed` of any logical type but decimal.
    Bytes(&'a [u8]),
    Enum {
        index: usize,
        symbol: &'a str,
    },
    Decimal {
        unscaled: i128,
        scale: u32,
    },
    /// Days since 1970-01-01.
    Date(i32),
    TimeMillis(i32),
    TimeMicros(i64),
    TimestampMillis(i64),
    TimestampMicros(i64),
    TimestampNanos(i64),
    LocalTimestampMillis(i64),
    LocalTimestampMicros(i64),
    LocalTimestampNanos(i64),
    Uuid(&'a str),
    /// Record, array, map: the encoded bytes. Also a value that is not of its type.
    Other(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Reads the value of type `ty` at the beginning of `bytes`.
    pub(crate) fn read(ty: &'a FieldType, bytes: &'a [u8]) -> Self {
        Self::try_read(ty, bytes).unwrap_or(Self::Other(bytes))
    }

    #[inline]
    fn try_read(ty: &'a FieldType, bytes: &'a [u8]) -> Option<Self> {
        let mut position = 0;
        let mut long = || varint::read(bytes, &mut position).ok();
        Some(match ty {
            FieldType::Null => Self::Null,
            FieldType::Boolean => Self::Boolean(*bytes.first()? == 1),
            FieldType::Int => Self::Int(i32::try_from(long()?).ok()?),
            FieldType::Long => Self::Long(long()?),
            FieldType::Float => Self::Float(f32::from_le_bytes(*bytes.first_chunk()?)),
            FieldType::Double => Self::Double(f64::from_le_bytes(*bytes.first_chunk()?)),
            FieldType::Bytes => Self::Bytes(sized(bytes)?),
            FieldType::String => Self::String(simdutf8::basic::from_utf8(sized(bytes)?).ok()?),
            FieldType::Uuid => Self::Uuid(simdutf8::basic::from_utf8(sized(bytes)?).ok()?),
            FieldType::Date => Self::Date(i32::try_from(long()?).ok()?),
            FieldType::TimeMillis => Self::TimeMillis(i32::try_from(long()?).ok()?),
            FieldType::TimeMicros => Self::TimeMicros(long()?),
            FieldType::TimestampMillis => Self::TimestampMillis(long()?),
            FieldType::TimestampMicros => Self::TimestampMicros(long()?),
            FieldType::TimestampNanos => Self::TimestampNanos(long()?),
            FieldType::LocalTimestampMillis => Self::LocalTimestampMillis(long()?),
            FieldType::LocalTimestampMicros => Self::LocalTimestampMicros(long()?),
            FieldType::LocalTimestampNanos => Self::LocalTimestampNanos(long()?),
            FieldType::Decimal(DecimalType { scale, fixed, .. }) => {
                let digits = match fixed {
                    None => sized(bytes)?,
                    Some(fixed) => bytes.get(..fixed.size)?,
                };
                Self::Decimal { unscaled: decimal::from_bytes(digits)?, scale: *scale }
            }
            FieldType::Fixed(fixed) | FieldType::UuidFixed(fixed) | FieldType::Duration(fixed) => {
                Self::Bytes(bytes.get(..fixed.size)?)
            }
            FieldType::Enum(symbols) => {
                let index = usize::try_from(long()?).ok()?;
                Self::Enum { index, symbol: symbols.symbols.get(index)? }
            }
            FieldType::Union(branches) => {
                let branch = branches.get(usize::try_from(long()?).ok()?)?;
                return Self::try_read(branch, &bytes[position..]);
            }
            FieldType::Array(_) | FieldType::Map(_) | FieldType::Record(_) => Self::Other(bytes),
        })
    }

    /// True for null and absent.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::Absent)
    }
}

/// The content of `bytes` or `string`.
#[inline]
pub(crate) fn sized(bytes: &[u8]) -> Option<&[u8]> {
    let mut position = 0;
    let length = usize::try_from(varint::read(bytes, &mut position).ok()?).ok()?;
    bytes.get(position..position.checked_add(length)?)
}
