//! JSON to Avro.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use freshet_core::{Code, Violation, Withheld};
use serde_json::{Number, Value as Json};

use crate::calendar::{self, NANOS_A_SECOND};
use crate::decimal::{self, DecimalError};
use crate::schema::{DecimalType, FieldType, RecordType};
use crate::{Plan, limits, varint};

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
            FieldType::Null => {
                if !json.is_null() {
                    self.wrong(ty, json);
                }
            }
            FieldType::Boolean => match json {
                Json::Bool(value) => self.out.push(u8::from(*value)),
                _ => self.wrong(ty, json),
            },
            FieldType::Int => match json.as_i64().filter(|value| i32::try_from(*value).is_ok()) {
                Some(value) => varint::write(value, &mut self.out),
                None => self.wrong(ty, json),
            },
            FieldType::Long => match json.as_i64() {
                Some(value) => varint::write(value, &mut self.out),
                None => self.wrong(ty, json),
            },
            FieldType::Float => match float(json).map(|value| (value, value as f32)) {
                // A finite number beyond the range of 32 bits would become infinite.
                Some((wide, value)) if value.is_finite() || !wide.is_finite() => {
                    self.out.extend_from_slice(&value.to_le_bytes());
                }
                _ => self.wrong(ty, json),
            },
            FieldType::Double => match float(json) {
                Some(value) => self.out.extend_from_slice(&value.to_le_bytes()),
                None => self.wrong(ty, json),
            },
            FieldType::String => match json {
                Json::String(text) => varint::write_bytes(text.as_bytes(), &mut self.out),
                _ => self.wrong(ty, json),
            },
            FieldType::Uuid => match json.as_str().filter(|text| limits::is_uuid(text.as_bytes())) {
                Some(text) => varint::write_bytes(text.as_bytes(), &mut self.out),
                None => self.wrong(ty, json),
            },
            FieldType::UuidFixed(_) => match json.as_str().and_then(uuid_bytes) {
                Some(bytes) => self.out.extend_from_slice(&bytes),
                None => self.wrong(ty, json),
            },
            FieldType::Bytes => match json.as_str().and_then(|text| STANDARD.decode(text).ok()) {
                Some(bytes) => varint::write_bytes(&bytes, &mut self.out),
                None => self.wrong(ty, json),
            },
            FieldType::Fixed(fixed) | FieldType::Duration(fixed) => {
                let bytes = json.as_str().and_then(|text| STANDARD.decode(text).ok());
                match bytes.filter(|bytes| bytes.len() == fixed.size) {
                    Some(bytes) => self.out.extend_from_slice(&bytes),
                    None => self.wrong(ty, json),
                }
            }
            FieldType::Date => match json.as_str().and_then(calendar::date_from_text) {
                Some(days) => varint::write(i64::from(days), &mut self.out),
                None => self.wrong(ty, json),
            },
            FieldType::TimeMillis => self.time(ty, json, calendar::time_from_text, 1_000),
            FieldType::TimeMicros => self.time(ty, json, calendar::time_from_text, 1_000_000),
            FieldType::TimestampMillis => self.time(ty, json, calendar::timestamp_from_text, 1_000),
            FieldType::TimestampMicros => self.time(ty, json, calendar::timestamp_from_text, 1_000_000),
            FieldType::TimestampNanos => self.time(ty, json, calendar::timestamp_from_text, 1_000_000_000),
            FieldType::LocalTimestampMillis => self.time(ty, json, calendar::local_from_text, 1_000),
            FieldType::LocalTimestampMicros => self.time(ty, json, calendar::local_from_text, 1_000_000),
            FieldType::LocalTimestampNanos => self.time(ty, json, calendar::local_from_text, 1_000_000_000),
            FieldType::Decimal(decimal) => self.decimal(ty, decimal, json),
            FieldType::Enum(symbols) => {
                match json.as_str().and_then(|text| symbols.symbols.iter().position(|symbol| symbol == text)) {
                    Some(index) => varint::write(index as i64, &mut self.out),
                    None => {
                        let message = format!("{} is not one of {}", self.shown(json), symbols.symbols.join(", "));
                        self.note(Code::SchemaType, message);
                    }
                }
            }
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
        }
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

    fn time(&mut self, ty: &FieldType, json: &Json, read: fn(&str) -> Option<i128>, units_a_second: i128) {
        let Some(nanos) = json.as_str().and_then(read) else { return self.wrong(ty, json) };
        let unit = NANOS_A_SECOND / units_a_second;
        if nanos.rem_euclid(unit) != 0 {
            let message = format!("{} is finer than the {ty} that the schema has", self.shown(json));
            return self.note(Code::SchemaType, message);
        }
        match i64::try_from(nanos.div_euclid(unit)) {
            Ok(value) if in_range(ty, value, units_a_second) => varint::write(value, &mut self.out),
            _ => self.wrong(ty, json),
        }
    }

    fn decimal(&mut self, ty: &FieldType, decimal: &DecimalType, json: &Json) {
        let text = match json {
            Json::String(text) => text.clone(),
            Json::Number(number) => match exact_text(number) {
                Some(text) => text,
                None => {
                    let message =
                        format!("{} is not exact as a JSON number: write the decimal as a text", self.shown(json));
                    return self.note(Code::SchemaType, message);
                }
            },
            _ => return self.wrong(ty, json),
        };
        let DecimalType { precision, scale, fixed } = decimal;
        let unscaled = match decimal::parse(&text, *precision, *scale) {
            Ok(unscaled) => unscaled,
            Err(DecimalError::NotADecimal) => return self.wrong(ty, json),
            Err(DecimalError::TooManyFractionDigits) => {
                let message = format!("{} has more than {scale} digits behind the point", self.shown(json));
                return self.note(Code::SchemaType, message);
            }
            Err(DecimalError::TooManyDigits) => {
                let message =
                    format!("{} has more than {} digits before the point", self.shown(json), precision - scale);
                return self.note(Code::SchemaType, message);
            }
        };
        match fixed {
            None => {
                let mut bytes = Vec::with_capacity(16);
                decimal::to_bytes(unscaled, &mut bytes);
                varint::write_bytes(&bytes, &mut self.out);
            }
            Some(fixed) => {
                if !decimal::to_fixed(unscaled, fixed.size, &mut self.out) {
                    self.wrong(ty, json);
                }
            }
        }
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

fn in_range(ty: &FieldType, value: i64, units_a_second: i128) -> bool {
    match ty {
        FieldType::TimeMillis | FieldType::TimeMicros => true,
        _ => limits::is_timestamp(value, units_a_second as i64),
    }
}

/// The number's own text where `f64` cannot have changed it: any decimal of up to 15 digits comes back from an `f64` as
/// it was.
fn exact_text(number: &Number) -> Option<String> {
    let text = number.to_string();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (!number.is_f64() || (digits <= 15 && !text.contains(['e', 'E']))).then_some(text)
}

fn float(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    if !limits::is_uuid(text.as_bytes()) {
        return None;
    }
    u128::from_str_radix(&text.replace('-', ""), 16).ok().map(u128::to_be_bytes)
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
