//! JSON to Avro.

use freshet_core::{Code, Violation, Withheld};
use serde_json::Value as Json;

use super::scalar::{self, Scalar, Wrong};
use crate::schema::{DecimalType, FieldType, RecordType};
use crate::{Plan, varint};

/// One record from JSON to Avro. `Err` holds every violation up to [`freshet_core::MAX_VIOLATIONS`], each with the path of
/// its field.
pub fn encode(plan: &Plan, json: &Json) -> Result<Vec<u8>, Vec<Violation>> {
    let withheld = plan.withheld();
    let mut encoder = Encoder { out: Vec::new(), path: String::new(), violations: Vec::new(), withheld };
    encoder.record(plan.record(), json);
    if encoder.violations.is_empty() { Ok(encoder.out) } else { Err(Violation::first(encoder.violations)) }
}

struct Encoder<'a> {
    out: Vec<u8>,
    path: String,
    violations: Vec<Violation>,
    withheld: &'a Withheld,
}

impl Encoder<'_> {
    fn value(&mut self, ty: &FieldType, json: &Json) {
        match ty {
            FieldType::Array(items) => match json {
                Json::Array(values) => {
                    if !values.is_empty() {
                        varint::write(values.len() as i64, &mut self.out);
                        for (index, value) in values.iter().enumerate() {
                            self.within(&format!("[{index}]"), |encoder| encoder.value(items, value));
                        }
                    }
                    self.out.push(0);
                }
                _ => self.wrong(ty, json),
            },
            FieldType::Map(inner) => match json {
                Json::Object(values) => {
                    if !values.is_empty() {
                        // A map's keys are as much content as its values.
                        let is_withheld = self.withheld.covers(&self.path);
                        varint::write(values.len() as i64, &mut self.out);
                        for (key, value) in values {
                            varint::write_bytes(key.as_bytes(), &mut self.out);
                            let name = if is_withheld { ".*".to_owned() } else { format!(".{key}") };
                            self.within(&name, |encoder| encoder.value(inner, value));
                        }
                    }
                    self.out.push(0);
                }
                _ => self.wrong(ty, json),
            },
            FieldType::Union(branches) => self.union(ty, branches, json),
            FieldType::Record(record) => self.record(record, json),
            _ => self.scalar(ty, json),
        }
    }

    fn scalar(&mut self, ty: &FieldType, json: &Json) {
        let put = Scalar::of(json).map_or(Err(Wrong::Type), |scalar| scalar::put(ty, scalar, &mut self.out));
        let Err(wrong) = put else { return };
        let shown = self.shown(json);
        let message = match (wrong, ty) {
            (Wrong::Type, FieldType::Enum(symbols)) => format!("{shown} is not one of {}", symbols.symbols.join(", ")),
            (Wrong::TooFine, _) => format!("{shown} is finer than the {ty} that the schema has"),
            (Wrong::Inexact, _) => format!("{shown} is not exact as a JSON number: write the decimal as a text"),
            (Wrong::TooManyFractionDigits, FieldType::Decimal(DecimalType { scale, .. })) => {
                format!("{shown} has more than {scale} digits behind the point")
            }
            (Wrong::TooManyDigits, FieldType::Decimal(DecimalType { precision, scale, .. })) => {
                format!("{shown} has more than {} digits before the point", precision - scale)
            }
            (Wrong::Type | Wrong::TooManyFractionDigits | Wrong::TooManyDigits, _) => {
                format!("{shown} is not {}", wanted(ty))
            }
        };
        self.note(Code::SchemaType, message);
    }

    fn record(&mut self, record: &RecordType, json: &Json) {
        let Json::Object(values) = json else {
            let message = format!("{} is not an object with the fields of {}", self.shown(json), record.name);
            return self.note(Code::SchemaType, message);
        };
        for field in &record.fields {
            let name = format!(".{}", field.name);
            match (values.get(&field.name), &field.default) {
                (Some(value), _) => self.within(&name, |encoder| encoder.value(&field.ty, value)),
                (None, Some(default)) => self.out.extend_from_slice(&default.bytes),
                (None, None) if field.ty.takes_null() => {
                    self.within(&name, |encoder| encoder.value(&field.ty, &Json::Null));
                }
                (None, None) => self.within(&name, |encoder| {
                    encoder.note(Code::SchemaMissing, format!("missing: the schema requires a {}", field.ty));
                }),
            }
        }
        for name in values.keys().filter(|name| record.field(name).is_none()) {
            self.within(&format!(".{name}"), |encoder| {
                encoder.note(Code::SchemaUnknownField, "the schema has no such field".to_owned());
            });
        }
    }

    fn union(&mut self, ty: &FieldType, branches: &[FieldType], json: &Json) {
        if json.is_null() {
            match branches.iter().position(|branch| *branch == FieldType::Null) {
                Some(null) => varint::write(null as i64, &mut self.out),
                None => self.wrong(ty, json),
            }
            return;
        }
        // With one branch to choose, its own violations say more than "none of them".
        let mut others = branches.iter().enumerate().filter(|(_, branch)| **branch != FieldType::Null);
        if let (Some((index, branch)), None) = (others.next(), others.next()) {
            varint::write(index as i64, &mut self.out);
            return self.value(branch, json);
        }
        let before = (self.out.len(), self.violations.len());
        for (index, branch) in branches.iter().enumerate() {
            varint::write(index as i64, &mut self.out);
            self.value(branch, json);
            if self.violations.len() == before.1 {
                return;
            }
            self.out.truncate(before.0);
            self.violations.truncate(before.1);
        }
        self.wrong(ty, json);
    }

    fn within(&mut self, name: &str, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(if length == 0 { name.trim_start_matches('.') } else { name });
        work(self);
        self.path.truncate(length);
    }

    /// The value as it was given, shortened; not at all where it is withheld.
    fn shown(&self, json: &Json) -> String {
        if self.withheld.covers(&self.path) { Withheld::INSTEAD.to_owned() } else { shown(json) }
    }

    fn wrong(&mut self, ty: &FieldType, json: &Json) {
        self.note(Code::SchemaType, format!("{} is not {}", self.shown(json), wanted(ty)));
    }

    fn note(&mut self, code: Code, message: String) {
        self.violations.push(if self.path.is_empty() {
            Violation::whole(code, message)
        } else {
            Violation::new(code, self.path.clone(), message)
        });
    }
}

/// The value as it was given, shortened.
fn shown(json: &Json) -> String {
    const LIMIT: usize = 60;
    let text = json.to_string();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What a clerk is told that the schema wants.
fn wanted(ty: &FieldType) -> String {
    match ty {
        FieldType::Null => "null".to_owned(),
        FieldType::Boolean => "true or false".to_owned(),
        FieldType::Int => "an integer of 32 bits".to_owned(),
        FieldType::Long => "an integer of 64 bits".to_owned(),
        FieldType::Float | FieldType::Double => "a number".to_owned(),
        FieldType::Bytes => "base64 of bytes".to_owned(),
        FieldType::Fixed(fixed) | FieldType::Duration(fixed) => format!("base64 of {} bytes", fixed.size),
        FieldType::String => "a text".to_owned(),
        FieldType::Uuid | FieldType::UuidFixed(_) => "a UUID of the form 8-4-4-4-12 hexadecimal digits".to_owned(),
        FieldType::Date => "a date of the form YYYY-MM-DD".to_owned(),
        FieldType::TimeMillis | FieldType::TimeMicros => "a time of day of the form HH:MM:SS".to_owned(),
        FieldType::TimestampMillis | FieldType::TimestampMicros | FieldType::TimestampNanos => {
            "a time stamp of the form YYYY-MM-DDTHH:MM:SSZ (RFC 3339)".to_owned()
        }
        FieldType::LocalTimestampMillis | FieldType::LocalTimestampMicros | FieldType::LocalTimestampNanos => {
            "a local time stamp of the form YYYY-MM-DDTHH:MM:SS".to_owned()
        }
        FieldType::Decimal(decimal) => {
            let DecimalType { precision, scale, .. } = decimal;
            format!("a decimal with {} digits before and {scale} behind the point", precision - scale)
        }
        FieldType::Array(_) => "an array".to_owned(),
        FieldType::Enum(_) | FieldType::Map(_) | FieldType::Union(_) | FieldType::Record(_) => format!("a {ty}"),
    }
}
