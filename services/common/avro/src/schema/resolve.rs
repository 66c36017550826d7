//! From `apache_avro::Schema` to [`FieldType`]: references replaced by what they name, recursion refused.

use std::collections::HashMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::schema::{FixedSchema, InnerDecimalSchema, UuidSchema};

use super::{
    DecimalType, EnumType, Field, FieldDefault, FieldType, FixedType, MAX_DEPTH, MAX_TYPES, RecordType, SchemaError,
    defaults,
};

/// `i128` holds every number of 38 digits.
const MAX_PRECISION: usize = 38;

pub(super) fn resolve(schema: &Schema) -> Result<Arc<RecordType>, SchemaError> {
    let mut resolver = Resolver { known: HashMap::new(), open: Vec::new(), types: 0 };
    match resolver.type_of(schema, "", 0)? {
        FieldType::Record(record) => Ok(record),
        _ => Err(SchemaError::NotARecord),
    }
}

struct Resolver {
    /// By full name, with the number of types that it contains.
    known: HashMap<String, (FieldType, usize, usize)>,
    /// Records whose fields are being read.
    open: Vec<String>,
    types: usize,
}

impl Resolver {
    fn type_of(&mut self, schema: &Schema, path: &str, depth: usize) -> Result<FieldType, SchemaError> {
        if depth > MAX_DEPTH {
            return Err(SchemaError::TooDeep { path: path.to_owned() });
        }
        self.count(1)?;
        let unsupported =
            |message: &str| SchemaError::Unsupported { path: path.to_owned(), message: message.to_owned() };
        Ok(match schema {
            Schema::Null => FieldType::Null,
            Schema::Boolean => FieldType::Boolean,
            Schema::Int => FieldType::Int,
            Schema::Long => FieldType::Long,
            Schema::Float => FieldType::Float,
            Schema::Double => FieldType::Double,
            Schema::Bytes => FieldType::Bytes,
            Schema::String => FieldType::String,
            Schema::Date => FieldType::Date,
            Schema::TimeMillis => FieldType::TimeMillis,
            Schema::TimeMicros => FieldType::TimeMicros,
            Schema::TimestampMillis => FieldType::TimestampMillis,
            Schema::TimestampMicros => FieldType::TimestampMicros,
            Schema::TimestampNanos => FieldType::TimestampNanos,
            Schema::LocalTimestampMillis => FieldType::LocalTimestampMillis,
            Schema::LocalTimestampMicros => FieldType::LocalTimestampMicros,
            Schema::LocalTimestampNanos => FieldType::LocalTimestampNanos,
            Schema::BigDecimal => {
                return Err(unsupported(
                    "the logical type big-decimal is not taken; use decimal with precision and scale",
                ));
            }
            Schema::Uuid(UuidSchema::String) => FieldType::Uuid,
            Schema::Uuid(UuidSchema::Bytes) => {
                return Err(unsupported(
                    "the logical type uuid stands on string or on fixed of 16 bytes, not on bytes",
                ));
            }
            Schema::Uuid(UuidSchema::Fixed(inner)) => {
                let ty = FieldType::UuidFixed(fixed(inner));
                self.name(inner.name.fullname(None), ty, self.types, path)?
            }
            Schema::Duration(inner) => {
                if inner.size != 12 {
                    return Err(unsupported("the logical type duration stands on fixed of 12 bytes"));
                }
                let ty = FieldType::Duration(fixed(inner));
                self.name(inner.name.fullname(None), ty, self.types, path)?
            }
            Schema::Fixed(inner) => {
                let ty = FieldType::Fixed(fixed(inner));
                self.name(inner.name.fullname(None), ty, self.types, path)?
            }
            Schema::Decimal(decimal) => {
                if decimal.precision > MAX_PRECISION {
                    return Err(unsupported("a decimal has at most 38 digits"));
                }
                let inner = match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(inner) => Some(fixed(inner)),
                };
                let name = inner.as_ref().map(|inner| inner.name.clone());
                let ty = FieldType::Decimal(DecimalType {
                    precision: decimal.precision as u32,
                    scale: decimal.scale as u32,
                    fixed: inner,
                });
                match name {
                    Some(name) => self.name(name, ty, self.types, path)?,
                    None => ty,
                }
            }
            Schema::Enum(inner) => {
                let name = inner.name.fullname(None);
                let ty = FieldType::Enum(Arc::new(EnumType {
                    name: name.clone(),
                    symbols: inner.symbols.clone(),
                    default: inner.default.clone(),
                }));
                self.name(name, ty, self.types, path)?
            }
            Schema::Array(inner) => FieldType::Array(Arc::new(self.type_of(&inner.items, path, depth + 1)?)),
            Schema::Map(inner) => FieldType::Map(Arc::new(self.type_of(&inner.types, path, depth + 1)?)),
            Schema::Union(inner) => {
                if inner.variants().is_empty() {
                    return Err(unsupported("a union of no types has no values"));
                }
                let mut branches = Vec::with_capacity(inner.variants().len());
                for variant in inner.variants() {
                    branches.push(self.type_of(variant, path, depth + 1)?);
                }
                FieldType::Union(branches.into())
            }
            Schema::Record(inner) => {
                let name = inner.name.fullname(None);
                let before = self.types;
                self.open.push(name.clone());
                let mut fields = Vec::with_capacity(inner.fields.len());
                for field in &inner.fields {
                    let path = join(path, &field.name);
                    let ty = self.type_of(&field.schema, &path, depth + 1)?;
                    let default = match &field.default {
                        None => None,
                        Some(json) => match defaults::encode(&ty, json) {
                            Some(bytes) => Some(FieldDefault { json: json.clone(), bytes }),
                            None => return Err(SchemaError::Default { path, default: json.to_string() }),
                        },
                    };
                    fields.push(Field { name: field.name.clone(), doc: field.doc.clone(), ty, default });
                }
                self.open.pop();
                let ty = FieldType::Record(Arc::new(RecordType { name: name.clone(), doc: inner.doc.clone(), fields }));
                self.name(name, ty, before, path)?
            }
            Schema::Ref { name } => {
                let name = name.fullname(None);
                if self.open.contains(&name) {
                    return Err(SchemaError::Recursive { path: path.to_owned(), name });
                }
                let Some((ty, types, height)) = self.known.get(&name).cloned() else {
                    return Err(unsupported(&format!("the type {name} is not defined before its use")));
                };
                if depth + height > MAX_DEPTH {
                    return Err(SchemaError::TooDeep { path: path.to_owned() });
                }
                self.count(types)?;
                ty
            }
        })
    }

    /// Remembers a named type; `before` is the count of types when its definition began. A name is defined once (Avro
    /// specification, "Names"); `apache-avro` parses a second definition, and then neither it nor others read with it.
    fn name(&mut self, name: String, ty: FieldType, before: usize, path: &str) -> Result<FieldType, SchemaError> {
        if self.known.contains_key(&name) || self.open.contains(&name) {
            let message = format!("the type {name} is defined a second time; write its name alone, or give it another");
            return Err(SchemaError::Unsupported { path: path.to_owned(), message });
        }
        self.known.insert(name, (ty.clone(), self.types - before, height(&ty)));
        Ok(ty)
    }

    fn count(&mut self, types: usize) -> Result<(), SchemaError> {
        self.types = self.types.saturating_add(types);
        if self.types > MAX_TYPES { Err(SchemaError::TooLarge) } else { Ok(()) }
    }
}

fn fixed(schema: &FixedSchema) -> Arc<FixedType> {
    Arc::new(FixedType { name: schema.name.fullname(None), size: schema.size })
}

/// Levels below the type itself.
fn height(ty: &FieldType) -> usize {
    match ty {
        FieldType::Array(inner) | FieldType::Map(inner) => 1 + height(inner),
        FieldType::Union(branches) => 1 + branches.iter().map(height).max().unwrap_or(0),
        FieldType::Record(record) => 1 + record.fields.iter().map(|field| height(&field.ty)).max().unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
