//! JSON to Avro while it is read: no tree, no text copied but into the record.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::scalar::{self, Scalar};
use crate::schema::{FieldType, RecordType};
use crate::{Plan, varint};

/// Takes good records, and leaves everything else to [`super::encode`], the only one that says what is wrong. Reuse it: it
/// keeps its buffers.
#[derive(Debug, Default)]
pub struct Transcoder {
    /// Of the records that are being read, the outer ones first: where each field's bytes stand.
    places: Vec<Option<Range<usize>>>,
    /// A record's fields in the order of the text, while they are put into the order of the schema.
    unordered: Vec<u8>,
    /// Of each name in the text before this one, the index of its field: a sender keeps to its order.
    last_order: Vec<usize>,
    /// Names of this text that were read.
    names: usize,
}

impl Transcoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the record that the text `json` is. Where this is true, `out` has got what [`super::encode`] makes of the
    /// text's tree, no name stands twice in an object, and nothing is left behind the record. False, and `out` is as it was:
    /// the text is not such a record, or it may be one but the schema has a place at which more than this must be looked at
    /// (a map, or a union of several types).
    pub fn append(&mut self, plan: &Plan, json: &[u8], out: &mut Vec<u8>) -> bool {
        let Ok(text) = simdutf8::basic::from_utf8(json) else { return false };
        let begin = out.len();
        self.places.clear();
        self.names = 0;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let root = Record { record: plan.record(), to: To { out, scratch: self } };
        let is_taken = (&mut deserializer).deserialize_map(root).and_then(|()| deserializer.end()).is_ok();
        if !is_taken {
            out.truncate(begin);
        }
        is_taken
    }
}

/// Where the bytes go.
struct To<'t> {
    out: &'t mut Vec<u8>,
    scratch: &'t mut Transcoder,
}

impl To<'_> {
    fn again(&mut self) -> To<'_> {
        To { out: &mut *self.out, scratch: &mut *self.scratch }
    }
}

/// A value of the type `ty`.
struct Value<'t> {
    ty: &'t FieldType,
    to: To<'t>,
}

/// Nobody is told: the record is read again by the encoder that explains.
fn not_taken<E: Error>() -> E {
    E::custom("not taken")
}

impl<'t> Value<'t> {
    fn put<E: Error>(self, scalar: Scalar<'_>) -> Result<(), E> {
        let Self { ty, to } = self.in_branch(matches!(scalar, Scalar::Null))?;
        scalar::put(ty, scalar, to.out).map_err(|_| not_taken())
    }

    /// Of a union the branch that alone can take the value, its index written.
    fn in_branch<E: Error>(self, is_null: bool) -> Result<Self, E> {
        let FieldType::Union(branches) = self.ty else { return Ok(self) };
        let mut candidates = branches.iter().enumerate().filter(|(_, ty)| (**ty == FieldType::Null) == is_null);
        let (Some((index, ty)), None) = (candidates.next(), candidates.next()) else { return Err(not_taken()) };
        varint::write(index as i64, self.to.out);
        Ok(Self { ty, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", self.ty)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.put(Scalar::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.put(Scalar::Boolean(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put(Scalar::Number(&Number::from(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put(Scalar::Number(&Number::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.put(Scalar::Number(&Number::from_f64(value).ok_or_else(not_taken)?))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.put(Scalar::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Value { ty: FieldType::Array(items), mut to } = self.in_branch(false)? else { return Err(not_taken()) };
        let begin = to.out.len();
        let mut count = 0;
        while seq.next_element_seed(Value { ty: items, to: to.again() })?.is_some() {
            count += 1;
        }
        if count > 0 {
            let end = to.out.len();
            varint::write(count, to.out);
            // The block's count stands before its items.
            let count_bytes = to.out.len() - end;
            to.out[begin..].rotate_right(count_bytes);
        }
        to.out.push(0);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Value { ty: FieldType::Record(record), to } = self.in_branch(false)? else { return Err(not_taken()) };
        Record { record, to }.visit_map(map)
    }
}

/// The fields of a record, in any order.
struct Record<'t> {
    record: &'t RecordType,
    to: To<'t>,
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a record {}", self.record.name)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let fields = &self.record.fields;
        let (begin, first) = (self.to.out.len(), self.to.scratch.places.len());
        self.to.scratch.places.resize(first + fields.len(), None);
        let (mut next, mut in_order) = (0, 0);
        while let Some(index) = map.next_key_seed(FieldName { record: self.record, next, scratch: self.to.scratch })? {
            if self.to.scratch.places[first + index].is_some() {
                return Err(not_taken());
            }
            let from = self.to.out.len();
            map.next_value_seed(Value { ty: &fields[index].ty, to: self.to.again() })?;
            self.to.scratch.places[first + index] = Some(from..self.to.out.len());
            in_order += usize::from(index == in_order);
            next = index + 1;
        }
        if in_order < fields.len() {
            self.put_in_order(begin, first)?;
        }
        self.to.scratch.places.truncate(first);
        Ok(())
    }
}

impl Record<'_> {
    /// The record's bytes begin at `begin`, its places at `first`.
    fn put_in_order<E: Error>(&mut self, begin: usize, first: usize) -> Result<(), E> {
        let To { out, scratch } = &mut self.to;
        scratch.unordered.clear();
        scratch.unordered.extend_from_slice(&out[begin..]);
        out.truncate(begin);
        for (field, place) in self.record.fields.iter().zip(&scratch.places[first..]) {
            match (place, &field.default) {
                (Some(place), _) => out.extend_from_slice(&scratch.unordered[place.start - begin..place.end - begin]),
                (None, Some(default)) => out.extend_from_slice(&default.bytes),
                (None, None) => put_null(&field.ty, out).ok_or_else(not_taken)?,
            }
        }
        Ok(())
    }
}

/// A missing field without a default is null where it may be.
fn put_null(ty: &FieldType, out: &mut Vec<u8>) -> Option<()> {
    match ty {
        FieldType::Null => Some(()),
        FieldType::Union(branches) => {
            let null = branches.iter().position(|branch| *branch == FieldType::Null)?;
            varint::write(null as i64, out);
            Some(())
        }
        _ => None,
    }
}

/// The name of a field, to its index. `next` is the one behind the last.
struct FieldName<'t> {
    record: &'t RecordType,
    next: usize,
    scratch: &'t mut Transcoder,
}

impl<'de> DeserializeSeed<'de> for FieldName<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a field of {}", self.record.name)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        let Self { record: RecordType { fields, .. }, next, scratch } = self;
        let is_it = |index: &usize| fields.get(*index).is_some_and(|field| field.name == name);
        let last = scratch.last_order.get(scratch.names).copied();
        let index = last.into_iter().chain(next..fields.len()).chain(0..next).find(is_it).ok_or_else(not_taken)?;
        match scratch.last_order.get_mut(scratch.names) {
            Some(place) => *place = index,
            None => scratch.last_order.push(index),
        }
        scratch.names += 1;
        Ok(index)
    }
}
