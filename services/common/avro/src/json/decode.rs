//! Avro to JSON: a record, or one value of it, as something that serde writes. Nothing is built on the way to a text.

use std::cell::Cell;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use freshet_core::{Code, Violation};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use crate::calendar::{self, NANOS_A_SECOND};
use crate::schema::{DecimalType, FieldType, RecordType};
use crate::skip::{self, skip};
use crate::{Plan, Slot, Walk, decimal, limits, varint};

/// One record from Avro to JSON: the inverse of [`super::encode`]. The record is checked first, completely.
pub fn decode(plan: &Plan, bytes: &[u8]) -> Result<Json, Vec<Violation>> {
    let mut walk = Walk::new();
    if !plan.check(bytes, &mut walk) {
        return Err(walk.violations().to_vec());
    }
    serde_json::to_value(record(plan, bytes)).map_err(|_| {
        vec![Violation::whole(Code::SchemaMalformed, "the record passed the check, but has no JSON form: report this")]
    })
}

/// What becomes of U+0000 in texts and in keys of maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nul {
    #[default]
    Kept,
    /// By U+FFFD, for readers that cannot hold it.
    Replaced,
}

/// The natural JSON of a record that has passed the check of `plan`. Fields come in the order of the schema.
pub fn record<'a>(plan: &'a Plan, bytes: &'a [u8]) -> Natural<'a> {
    Natural { what: What::Record(plan.record()), bytes, nul: Nul::Kept }
}

/// The natural JSON of one field of the record that `walk` checked last, with `plan`. Null where the field is absent.
pub fn field<'a>(plan: &'a Plan, walk: &Walk, slot: Slot, bytes: &'a [u8]) -> Natural<'a> {
    let what = if walk.is_present(slot) { What::Value(plan.type_of(slot)) } else { What::Value(&FieldType::Null) };
    Natural { what, bytes: bytes.get(walk.raw(slot)).unwrap_or_default(), nul: Nul::Kept }
}

/// Something checked, whose `Serialize` is its natural JSON.
#[derive(Debug, Clone, Copy)]
pub struct Natural<'a> {
    what: What<'a>,
    bytes: &'a [u8],
    nul: Nul,
}

#[derive(Debug, Clone, Copy)]
enum What<'a> {
    Record(&'a RecordType),
    Value(&'a FieldType),
}

impl Natural<'_> {
    pub fn with(self, nul: Nul) -> Self {
        Self { nul, ..self }
    }
}

impl Serialize for Natural<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reader = Reader { bytes: self.bytes, position: Cell::new(0), nul: self.nul };
        match self.what {
            What::Record(record) => One { reader: &reader, ty: record }.serialize(serializer),
            What::Value(ty) => One { reader: &reader, ty }.serialize(serializer),
        }
    }
}

/// Reads bytes that have passed the check; None cannot happen to them. Its values are serialized in the order of the
/// bytes, each once, which is what moves the position.
struct Reader<'a> {
    bytes: &'a [u8],
    position: Cell<usize>,
    nul: Nul,
}

/// The value of type `ty` that comes next.
struct One<'r, 'a, T> {
    reader: &'r Reader<'a>,
    ty: &'r T,
}

impl Serialize for One<'_, '_, FieldType> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reader = self.reader;
        match self.ty {
            FieldType::Null => serializer.serialize_unit(),
            FieldType::Boolean => serializer.serialize_bool(some(reader.take(1))?[0] == 1),
            FieldType::Int | FieldType::Long => serializer.serialize_i64(some(reader.long())?),
            FieldType::Float => {
                let value = f32::from_le_bytes(*some(some(reader.take(4))?.first_chunk())?);
                float(widened(value), serializer)
            }
            FieldType::Double => float(f64::from_le_bytes(*some(some(reader.take(8))?.first_chunk())?), serializer),
            FieldType::Bytes => serializer.serialize_str(&STANDARD.encode(some(reader.sized())?)),
            FieldType::Fixed(fixed) | FieldType::Duration(fixed) => {
                serializer.serialize_str(&STANDARD.encode(some(reader.take(fixed.size))?))
            }
            FieldType::String | FieldType::Uuid => {
                let text = some(reader.text())?;
                match reader.nul {
                    Nul::Replaced if text.contains('\0') => serializer.serialize_str(&text.replace('\0', "\u{fffd}")),
                    Nul::Replaced | Nul::Kept => serializer.serialize_str(text),
                }
            }
            FieldType::Union(branches) => {
                let index = some(reader.index())?;
                One { reader, ty: some(branches.get(index))? }.serialize(serializer)
            }
            FieldType::Enum(symbols) => serializer.serialize_str(some(symbols.symbols.get(some(reader.index())?))?),
            FieldType::Array(items) => {
                let mut sequence = serializer.serialize_seq(None)?;
                while let Some(count) = some(reader.block())? {
                    for _ in 0..count {
                        sequence.serialize_element(&One { reader, ty: items.as_ref() })?;
                    }
                }
                sequence.end()
            }
            FieldType::Map(values) => reader.map(values, serializer),
            FieldType::Record(record) => One { reader, ty: record.as_ref() }.serialize(serializer),
            other => serializer.serialize_str(&some(reader.shown(other))?),
        }
    }
}

impl Serialize for One<'_, '_, RecordType> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.ty.fields.len()))?;
        for field in &self.ty.fields {
            map.serialize_entry(&field.name, &One { reader: self.reader, ty: &field.ty })?;
        }
        map.end()
    }
}

fn some<T, E: serde::ser::Error>(value: Option<T>) -> Result<T, E> {
    value.ok_or_else(|| E::custom("not a value of its type"))
}

impl<'a> Reader<'a> {
    /// Avro does not forbid a key twice; of JSON's readers each makes something else of it. The last one counts.
    fn map<S: Serializer>(&self, ty: &FieldType, serializer: S) -> Result<S::Ok, S::Error> {
        let mut values: BTreeMap<&str, &[u8]> = BTreeMap::new();
        while let Some(count) = some(self.block())? {
            for _ in 0..count {
                let key = some(self.text())?;
                let (begin, mut end) = (self.position.get(), self.position.get());
                some::<_, S::Error>(skip(ty, self.bytes, &mut end))?;
                self.position.set(end);
                values.insert(key, some(self.bytes.get(begin..end))?);
            }
        }
        let shown =
            values.into_iter().map(|(key, bytes)| (key, Natural { what: What::Value(ty), bytes, nul: self.nul }));
        match self.nul {
            Nul::Kept => serializer.collect_map(shown),
            Nul::Replaced => {
                let replaced = shown.map(|(key, value)| (key.replace('\0', "\u{fffd}"), value));
                serializer.collect_map(replaced.collect::<BTreeMap<_, _>>())
            }
        }
    }

    /// The text of a logical type that has one.
    fn shown(&self, ty: &FieldType) -> Option<String> {
        match ty {
            FieldType::UuidFixed(fixed) => uuid_text(self.take(fixed.size)?),
            FieldType::Date => calendar::date_to_text(i32::try_from(self.long()?).ok()?),
            FieldType::TimeMillis => Some(calendar::time_to_text(self.nanos(1_000)?)),
            FieldType::TimeMicros => Some(calendar::time_to_text(self.nanos(1_000_000)?)),
            FieldType::TimestampMillis => calendar::timestamp_to_text(self.nanos(1_000)?),
            FieldType::TimestampMicros => calendar::timestamp_to_text(self.nanos(1_000_000)?),
            FieldType::TimestampNanos => calendar::timestamp_to_text(self.nanos(1_000_000_000)?),
            FieldType::LocalTimestampMillis => calendar::local_to_text(self.nanos(1_000)?),
            FieldType::LocalTimestampMicros => calendar::local_to_text(self.nanos(1_000_000)?),
            FieldType::LocalTimestampNanos => calendar::local_to_text(self.nanos(1_000_000_000)?),
            FieldType::Decimal(DecimalType { scale, fixed, .. }) => {
                let digits = match fixed {
                    None => self.sized()?,
                    Some(fixed) => self.take(fixed.size)?,
                };
                Some(decimal::format(decimal::from_bytes(digits)?, *scale))
            }
            FieldType::Null
            | FieldType::Boolean
            | FieldType::Int
            | FieldType::Long
            | FieldType::Float
            | FieldType::Double
            | FieldType::Bytes
            | FieldType::String
            | FieldType::Uuid
            | FieldType::Fixed(_)
            | FieldType::Duration(_)
            | FieldType::Enum(_)
            | FieldType::Array(_)
            | FieldType::Map(_)
            | FieldType::Union(_)
            | FieldType::Record(_) => None,
        }
    }

    /// The count of the next block's items. `Some(None)`: there is no further block.
    fn block(&self) -> Option<Option<u64>> {
        self.moved(|position| skip::block(self.bytes, position))
    }

    fn nanos(&self, units_a_second: i128) -> Option<i128> {
        Some(i128::from(self.long()?) * (NANOS_A_SECOND / units_a_second))
    }

    fn long(&self) -> Option<i64> {
        self.moved(|position| varint::read(self.bytes, position).ok())
    }

    fn index(&self) -> Option<usize> {
        usize::try_from(self.long()?).ok()
    }

    fn sized(&self) -> Option<&'a [u8]> {
        let length = self.index()?;
        self.take(length)
    }

    fn text(&self) -> Option<&'a str> {
        simdutf8::basic::from_utf8(self.sized()?).ok()
    }

    fn take(&self, length: usize) -> Option<&'a [u8]> {
        let begin = self.position.get();
        let taken = self.bytes.get(begin..begin.checked_add(length)?)?;
        self.position.set(begin + length);
        Some(taken)
    }

    fn moved<T>(&self, read: impl FnOnce(&mut usize) -> T) -> T {
        let mut position = self.position.get();
        let value = read(&mut position);
        self.position.set(position);
        value
    }
}

/// The shortest text of an f32 reads back as the same f32; its f64 has digits that nobody wrote.
pub fn widened(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn float<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        serializer.serialize_f64(value)
    } else if value.is_nan() {
        serializer.serialize_str("NaN")
    } else if value > 0.0 {
        serializer.serialize_str("Infinity")
    } else {
        serializer.serialize_str("-Infinity")
    }
}

fn uuid_text(bytes: &[u8]) -> Option<String> {
    let hex = format!("{:032x}", u128::from_be_bytes(*bytes.first_chunk()?));
    let text = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    limits::is_uuid(text.as_bytes()).then_some(text)
}
