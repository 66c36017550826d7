//! Avro to JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use freshet_core::{Code, Violation};
use serde_json::{Map, Value as Json};

use crate::calendar::{self, NANOS_A_SECOND};
use crate::schema::{DecimalType, FieldType, RecordType};
use crate::{Plan, Walk, decimal, limits, varint};

/// One record from Avro to JSON: the inverse of [`super::encode`]. The record is checked first, completely.
pub fn decode(plan: &Plan, bytes: &[u8]) -> Result<Json, Vec<Violation>> {
    let mut walk = Walk::new();
    if !plan.check(bytes, &mut walk) {
        return Err(walk.violations().to_vec());
    }
    let mut reader = Reader { bytes, position: 0 };
    reader.record(plan.record()).ok_or_else(|| {
        vec![Violation::whole(Code::SchemaMalformed, "the record passed the check, but has no JSON form: report this")]
    })
}

/// Reads bytes that have passed the check; None cannot happen to them.
struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, ty: &FieldType) -> Option<Json> {
        Some(match ty {
            FieldType::Null => Json::Null,
            FieldType::Boolean => Json::Bool(self.take(1)?[0] == 1),
            FieldType::Int | FieldType::Long => Json::from(self.long()?),
            FieldType::Float => {
                let value = f32::from_le_bytes(*self.take(4)?.first_chunk()?);
                // The shortest text of an f32 reads back as the same f32; its f64 has digits that nobody wrote.
                float(value.to_string().parse().ok()?)
            }
            FieldType::Double => float(f64::from_le_bytes(*self.take(8)?.first_chunk()?)),
            FieldType::Bytes => Json::String(STANDARD.encode(self.sized()?)),
            FieldType::Fixed(fixed) | FieldType::Duration(fixed) => {
                Json::String(STANDARD.encode(self.take(fixed.size)?))
            }
            FieldType::String | FieldType::Uuid => Json::String(self.text()?),
            FieldType::UuidFixed(fixed) => Json::String(uuid_text(self.take(fixed.size)?)?),
            FieldType::Date => Json::String(calendar::date_to_text(i32::try_from(self.long()?).ok()?)?),
            FieldType::TimeMillis => Json::String(calendar::time_to_text(self.nanos(1_000)?)),
            FieldType::TimeMicros => Json::String(calendar::time_to_text(self.nanos(1_000_000)?)),
            FieldType::TimestampMillis => Json::String(calendar::timestamp_to_text(self.nanos(1_000)?)?),
            FieldType::TimestampMicros => Json::String(calendar::timestamp_to_text(self.nanos(1_000_000)?)?),
            FieldType::TimestampNanos => Json::String(calendar::timestamp_to_text(self.nanos(1_000_000_000)?)?),
            FieldType::LocalTimestampMillis => Json::String(calendar::local_to_text(self.nanos(1_000)?)?),
            FieldType::LocalTimestampMicros => Json::String(calendar::local_to_text(self.nanos(1_000_000)?)?),
            FieldType::LocalTimestampNanos => Json::String(calendar::local_to_text(self.nanos(1_000_000_000)?)?),
            FieldType::Decimal(DecimalType { scale, fixed, .. }) => {
                let digits = match fixed {
                    None => self.sized()?,
                    Some(fixed) => self.take(fixed.size)?,
                };
                Json::String(decimal::format(decimal::from_bytes(digits)?, *scale))
            }
            FieldType::Enum(symbols) => Json::String(symbols.symbols.get(self.index()?)?.clone()),
            FieldType::Array(items) => {
                let mut values = Vec::new();
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        values.push(self.value(items)?);
                    }
                }
                Json::Array(values)
            }
            FieldType::Map(inner) => {
                let mut values = Map::new();
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        let key = self.text()?;
                        values.insert(key, self.value(inner)?);
                    }
                }
                Json::Object(values)
            }
            FieldType::Union(branches) => {
                let index = self.index()?;
                self.value(branches.get(index)?)?
            }
            FieldType::Record(record) => self.record(record)?,
        })
    }

    fn record(&mut self, record: &RecordType) -> Option<Json> {
        let mut values = Map::new();
        for field in &record.fields {
            values.insert(field.name.clone(), self.value(&field.ty)?);
        }
        Some(Json::Object(values))
    }

    /// The count of the next block's items. `Some(None)`: there is no further block.
    fn block(&mut self) -> Option<Option<u64>> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        Some((count != 0).then_some(count.unsigned_abs()))
    }

    fn nanos(&mut self, units_a_second: i128) -> Option<i128> {
        Some(i128::from(self.long()?) * (NANOS_A_SECOND / units_a_second))
    }

    fn long(&mut self) -> Option<i64> {
        varint::read(self.bytes, &mut self.position).ok()
    }

    fn index(&mut self) -> Option<usize> {
        usize::try_from(self.long()?).ok()
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.index()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        simdutf8::basic::from_utf8(self.sized()?).ok().map(str::to_owned)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.position..self.position.checked_add(length)?)?;
        self.position += length;
        Some(taken)
    }
}

fn float(value: f64) -> Json {
    if value.is_finite() {
        Json::from(value)
    } else if value.is_nan() {
        Json::from("NaN")
    } else if value > 0.0 {
        Json::from("Infinity")
    } else {
        Json::from("-Infinity")
    }
}

fn uuid_text(bytes: &[u8]) -> Option<String> {
    let hex = format!("{:032x}", u128::from_be_bytes(*bytes.first_chunk()?));
    let text = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    limits::is_uuid(text.as_bytes()).then_some(text)
}
