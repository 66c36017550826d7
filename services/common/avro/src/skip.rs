//! Passing over one encoded value that has been checked.

use crate::schema::{DecimalType, FieldType};
use crate::varint;

/// Moves `position` behind the value of type `ty`. None cannot happen to bytes that have passed the check.
pub(crate) fn skip(ty: &FieldType, bytes: &[u8], position: &mut usize) -> Option<()> {
    match ty {
        FieldType::Null => {}
        FieldType::Boolean => advance(1, bytes, position)?,
        FieldType::Float => advance(4, bytes, position)?,
        FieldType::Double => advance(8, bytes, position)?,
        FieldType::Fixed(fixed) | FieldType::UuidFixed(fixed) | FieldType::Duration(fixed) => {
            advance(fixed.size, bytes, position)?;
        }
        FieldType::Decimal(DecimalType { fixed: Some(fixed), .. }) => advance(fixed.size, bytes, position)?,
        FieldType::Bytes
        | FieldType::String
        | FieldType::Uuid
        | FieldType::Decimal(DecimalType { fixed: None, .. }) => {
            skip_sized(bytes, position)?;
        }
        FieldType::Array(items) => {
            while let Some(count) = block(bytes, position)? {
                for _ in 0..count {
                    skip(items, bytes, position)?;
                }
            }
        }
        FieldType::Map(values) => {
            while let Some(count) = block(bytes, position)? {
                for _ in 0..count {
                    skip_sized(bytes, position)?;
                    skip(values, bytes, position)?;
                }
            }
        }
        FieldType::Union(branches) => {
            let index = usize::try_from(varint::read(bytes, position).ok()?).ok()?;
            skip(branches.get(index)?, bytes, position)?;
        }
        FieldType::Record(record) => {
            for field in &record.fields {
                skip(&field.ty, bytes, position)?;
            }
        }
        FieldType::Int
        | FieldType::Long
        | FieldType::Date
        | FieldType::TimeMillis
        | FieldType::TimeMicros
        | FieldType::TimestampMillis
        | FieldType::TimestampMicros
        | FieldType::TimestampNanos
        | FieldType::LocalTimestampMillis
        | FieldType::LocalTimestampMicros
        | FieldType::LocalTimestampNanos
        | FieldType::Enum(_) => {
            varint::read(bytes, position).ok()?;
        }
    }
    Some(())
}

pub(crate) fn skip_sized(bytes: &[u8], position: &mut usize) -> Option<()> {
    let length = usize::try_from(varint::read(bytes, position).ok()?).ok()?;
    advance(length, bytes, position)
}

/// The count of the next block's items. `Some(None)`: there is no further block.
pub(crate) fn block(bytes: &[u8], position: &mut usize) -> Option<Option<u64>> {
    let count = varint::read(bytes, position).ok()?;
    if count < 0 {
        varint::read(bytes, position).ok()?;
    }
    Some((count != 0).then_some(count.unsigned_abs()))
}

fn advance(length: usize, bytes: &[u8], position: &mut usize) -> Option<()> {
    let end = position.checked_add(length).filter(|end| *end <= bytes.len())?;
    *position = end;
    Some(())
}
