//! From [`RecordType`] back to schema JSON, named types written out at their first use.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{DecimalType, FieldType, FixedType, RecordType};

/// Writes one schema document.
#[derive(Debug, Default)]
pub(crate) struct SchemaWriter {
    /// Every named type written so far, by the name under which it stands.
    written: BTreeMap<String, FieldType>,
}

impl SchemaWriter {
    pub(crate) fn write(record: &RecordType) -> String {
        Self::default().record(&record.name, record).to_string()
    }

    fn ty(&mut self, ty: &FieldType) -> Json {
        match ty {
            FieldType::Null
            | FieldType::Boolean
            | FieldType::Int
            | FieldType::Long
            | FieldType::Float
            | FieldType::Double
            | FieldType::Bytes
            | FieldType::String => Json::String(ty.to_string()),
            FieldType::Uuid => json!({"type": "string", "logicalType": "uuid"}),
            FieldType::Date | FieldType::TimeMillis => json!({"type": "int", "logicalType": ty.to_string()}),
            FieldType::TimeMicros
            | FieldType::TimestampMillis
            | FieldType::TimestampMicros
            | FieldType::TimestampNanos
            | FieldType::LocalTimestampMillis
            | FieldType::LocalTimestampMicros
            | FieldType::LocalTimestampNanos => json!({"type": "long", "logicalType": ty.to_string()}),
            FieldType::Decimal(DecimalType { precision, scale, fixed: None }) => {
                json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
            }
            FieldType::Decimal(DecimalType { precision, scale, fixed: Some(fixed) }) => self.fixed(
                ty,
                fixed,
                vec![("logicalType", json!("decimal")), ("precision", json!(precision)), ("scale", json!(scale))],
            ),
            FieldType::Fixed(fixed) => self.fixed(ty, fixed, vec![]),
            FieldType::UuidFixed(fixed) => self.fixed(ty, fixed, vec![("logicalType", json!("uuid"))]),
            FieldType::Duration(fixed) => self.fixed(ty, fixed, vec![("logicalType", json!("duration"))]),
            FieldType::Enum(symbols) => match self.name(&symbols.name, ty) {
                Err(known) => Json::String(known),
                Ok(name) => {
                    let mut object = named("enum", &name);
                    object.insert("symbols".to_owned(), json!(symbols.symbols));
                    if let Some(default) = &symbols.default {
                        object.insert("default".to_owned(), json!(default));
                    }
                    Json::Object(object)
                }
            },
            FieldType::Array(items) => json!({"type": "array", "items": self.ty(items)}),
            FieldType::Map(values) => json!({"type": "map", "values": self.ty(values)}),
            FieldType::Union(branches) => Json::Array(branches.iter().map(|branch| self.ty(branch)).collect()),
            FieldType::Record(record) => match self.name(&record.name, ty) {
                Err(known) => Json::String(known),
                Ok(name) => self.record(&name, record),
            },
        }
    }

    fn record(&mut self, name: &str, record: &RecordType) -> Json {
        let mut object = named("record", name);
        if let Some(doc) = &record.doc {
            object.insert("doc".to_owned(), json!(doc));
        }
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let mut entry = Map::new();
            entry.insert("name".to_owned(), json!(field.name));
            entry.insert("type".to_owned(), self.ty(&field.ty));
            if let Some(default) = &field.default {
                entry.insert("default".to_owned(), default.json.clone());
            }
            if let Some(doc) = &field.doc {
                entry.insert("doc".to_owned(), json!(doc));
            }
            fields.push(Json::Object(entry));
        }
        object.insert("fields".to_owned(), Json::Array(fields));
        Json::Object(object)
    }

    fn fixed(&mut self, ty: &FieldType, fixed: &FixedType, attributes: Vec<(&str, Json)>) -> Json {
        match self.name(&fixed.name, ty) {
            Err(known) => Json::String(known),
            Ok(name) => {
                let mut object = named("fixed", &name);
                object.insert("size".to_owned(), json!(fixed.size));
                for (key, value) in attributes {
                    object.insert(key.to_owned(), value);
                }
                Json::Object(object)
            }
        }
    }

    /// `Err` with the name of a type that is already written; `Ok` with the name under which to write it. A projection
    /// may keep different fields at two uses of one record: the second shape is another type and takes a number.
    fn name(&mut self, name: &str, ty: &FieldType) -> Result<String, String> {
        let mut candidate = name.to_owned();
        let mut number = 1;
        loop {
            match self.written.get(&candidate) {
                None => {
                    self.written.insert(candidate.clone(), ty.clone());
                    return Ok(candidate);
                }
                Some(known) if known == ty => return Err(candidate),
                Some(_) => {
                    number += 1;
                    candidate = format!("{name}_{number}");
                }
            }
        }
    }
}

/// The namespace is always said, also where it is empty: nothing is inherited from the enclosing type.
fn named(kind: &str, full_name: &str) -> Map<String, Json> {
    let (namespace, name) = full_name.rsplit_once('.').unwrap_or(("", full_name));
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(kind));
    object.insert("name".to_owned(), json!(name));
    object.insert("namespace".to_owned(), json!(namespace));
    object
}
