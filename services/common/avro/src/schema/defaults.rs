//! A field's default: Avro's own JSON form (specification, "Complex types", table of default values) to bytes. It differs
//! from the natural JSON of `crate::json`: dates are numbers, bytes are a text of the code points 0 to 255.

use serde_json::Value as Json;

use super::{DecimalType, FieldType};
use crate::{decimal, limits, varint};

/// None where `json` is no value of the type.
pub(super) fn encode(ty: &FieldType, json: &Json) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    put(ty, json, &mut out)?;
    Some(out)
}

fn put(ty: &FieldType, json: &Json, out: &mut Vec<u8>) -> Option<()> {
    match ty {
        FieldType::Null => json.as_null()?,
        FieldType::Boolean => out.push(u8::from(json.as_bool()?)),
        FieldType::Int => varint::write(i64::from(i32::try_from(json.as_i64()?).ok()?), out),
        FieldType::Date => {
            let days = i32::try_from(json.as_i64()?).ok().filter(|days| limits::is_date(*days))?;
            varint::write(i64::from(days), out);
        }
        FieldType::TimeMillis => varint::write(json.as_i64().filter(|time| limits::is_time(*time, 1_000))?, out),
        FieldType::TimeMicros => varint::write(json.as_i64().filter(|time| limits::is_time(*time, 1_000_000))?, out),
        FieldType::TimestampMillis | FieldType::LocalTimestampMillis => {
            varint::write(json.as_i64().filter(|time| limits::is_timestamp(*time, 1_000))?, out);
        }
        FieldType::TimestampMicros | FieldType::LocalTimestampMicros => {
            varint::write(json.as_i64().filter(|time| limits::is_timestamp(*time, 1_000_000))?, out);
        }
        FieldType::Long | FieldType::TimestampNanos | FieldType::LocalTimestampNanos => {
            varint::write(json.as_i64()?, out)
        }
        FieldType::Float => out.extend_from_slice(&(json.as_f64()? as f32).to_le_bytes()),
        FieldType::Double => out.extend_from_slice(&json.as_f64()?.to_le_bytes()),
        FieldType::String => varint::write_bytes(json.as_str()?.as_bytes(), out),
        FieldType::Uuid => {
            let text = json.as_str().filter(|text| limits::is_uuid(text.as_bytes()))?;
            varint::write_bytes(text.as_bytes(), out);
        }
        FieldType::Bytes => varint::write_bytes(&code_points(json)?, out),
        FieldType::Fixed(fixed) | FieldType::UuidFixed(fixed) | FieldType::Duration(fixed) => {
            out.extend_from_slice(&code_points(json).filter(|bytes| bytes.len() == fixed.size)?);
        }
        FieldType::Decimal(DecimalType { precision, fixed, .. }) => {
            let bytes = code_points(json)?;
            decimal::from_bytes(&bytes).filter(|unscaled| decimal::fits(*unscaled, *precision))?;
            match fixed {
                None => varint::write_bytes(&bytes, out),
                Some(fixed) if bytes.len() == fixed.size => out.extend_from_slice(&bytes),
                Some(_) => return None,
            }
        }
        FieldType::Enum(symbols) => {
            let symbol = json.as_str()?;
            let index = symbols.symbols.iter().position(|known| known == symbol)?;
            varint::write(index as i64, out);
        }
        FieldType::Array(items) => {
            let values = json.as_array()?;
            if !values.is_empty() {
                varint::write(values.len() as i64, out);
                for value in values {
                    put(items, value, out)?;
                }
            }
            out.push(0);
        }
        FieldType::Map(inner) => {
            let values = json.as_object()?;
            if !values.is_empty() {
                varint::write(values.len() as i64, out);
                for (key, value) in values {
                    varint::write_bytes(key.as_bytes(), out);
                    put(inner, value, out)?;
                }
            }
            out.push(0);
        }
        // Avro 1.11: of the first branch; since 1.12 of any.
        FieldType::Union(branches) => {
            let (index, bytes) =
                branches.iter().enumerate().find_map(|(index, branch)| Some((index, encode(branch, json)?)))?;
            varint::write(index as i64, out);
            out.extend_from_slice(&bytes);
        }
        FieldType::Record(record) => {
            let values = json.as_object()?;
            for field in &record.fields {
                match (values.get(&field.name), &field.default) {
                    (Some(value), _) => put(&field.ty, value, out)?,
                    (None, Some(default)) => out.extend_from_slice(&default.bytes),
                    (None, None) => return None,
                }
            }
        }
    }
    Some(())
}

fn code_points(json: &Json) -> Option<Vec<u8>> {
    json.as_str()?.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}
