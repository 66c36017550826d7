//! The schema as the bus sees it: references resolved, logical types told apart, defaults encoded. Shared parts are
//! reference-counted, so a [`FieldType`] is cheap to clone.

mod defaults;
mod resolve;
mod write;

use std::sync::Arc;

use serde_json::Value as Json;

pub(crate) use write::SchemaWriter;

/// How deep records, arrays, maps and unions may nest.
pub const MAX_DEPTH: usize = 32;
/// How many types a schema may have when every reference is written out: bounds the compiled plan.
pub const MAX_TYPES: usize = 20_000;

/// How many bytes the paths of all values may have together, when every reference is written out: a long name stands in the
/// path of everything below it.
pub const MAX_PATH_BYTES: usize = 4 << 20;

/// Why a schema is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("not an Avro schema: {0}")]
    Syntax(String),
    #[error("the schema is not a record: an event is a record, wrap the type in one")]
    NotARecord,
    #[error(
        "field {path}: the type {name} contains itself; recursive types are not taken, because a record of them has no bound"
    )]
    Recursive { path: String, name: String },
    #[error("field {path}: nested deeper than {MAX_DEPTH} levels")]
    TooDeep { path: String },
    #[error("the schema has more than {MAX_TYPES} types when every reference is written out")]
    TooLarge,
    #[error("the paths of the schema's fields have more than {MAX_PATH_BYTES} bytes together: shorten its names")]
    PathsTooLong,
    #[error("field {path}: {message}")]
    Unsupported { path: String, message: String },
    #[error("field {path}: the default {default} is not a value of the type")]
    Default { path: String, default: String },
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldType {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// `string` with logical type `uuid`.
    Uuid,
    /// Days since 1970-01-01.
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    LocalTimestampMillis,
    LocalTimestampMicros,
    LocalTimestampNanos,
    Decimal(DecimalType),
    Fixed(Arc<FixedType>),
    /// `fixed` of 16 bytes with logical type `uuid`.
    UuidFixed(Arc<FixedType>),
    /// `fixed` of 12 bytes: months, days, milliseconds, each a little-endian `u32`.
    Duration(Arc<FixedType>),
    Enum(Arc<EnumType>),
    Array(Arc<FieldType>),
    /// Keys are strings.
    Map(Arc<FieldType>),
    Union(Arc<[FieldType]>),
    Record(Arc<RecordType>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct DecimalType {
    /// Digits in all, at most 38.
    pub precision: u32,
    /// Digits behind the point.
    pub scale: u32,
    /// None: `bytes`.
    pub fixed: Option<Arc<FixedType>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FixedType {
    /// With the namespace.
    pub name: String,
    pub size: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EnumType {
    /// With the namespace.
    pub name: String,
    pub symbols: Vec<String>,
    /// The symbol that a reader takes for one that it does not know.
    pub default: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RecordType {
    /// With the namespace.
    pub name: String,
    pub doc: Option<String>,
    pub fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub doc: Option<String>,
    pub ty: FieldType,
    pub default: Option<FieldDefault>,
}

/// A field's default, as the schema has it and as the record's bytes have it.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldDefault {
    pub json: Json,
    pub bytes: Vec<u8>,
}

/// Parses with `apache-avro`, the judge of the syntax, then resolves.
pub(crate) fn parse(avsc: &str) -> Result<Arc<RecordType>, SchemaError> {
    let schema = apache_avro::Schema::parse_str(avsc).map_err(|error| SchemaError::Syntax(error.to_string()))?;
    let record = resolve::resolve(&schema)?;
    if path_bytes(&record, 0) > MAX_PATH_BYTES { Err(SchemaError::PathsTooLong) } else { Ok(record) }
}

/// Of all that is in the record, which itself stands behind a path of so many bytes.
fn path_bytes(record: &RecordType, prefix: usize) -> usize {
    let of_field = |field: &Field| {
        let path = prefix + field.name.len() + 1;
        path + below(&field.ty, path)
    };
    record.fields.iter().map(of_field).sum()
}

fn below(ty: &FieldType, path: usize) -> usize {
    match ty {
        FieldType::Array(inner) | FieldType::Map(inner) => path + below(inner, path + 2),
        FieldType::Union(branches) => branches.iter().map(|branch| below(branch, path)).sum(),
        FieldType::Record(record) => path_bytes(record, path),
        _ => 0,
    }
}

impl RecordType {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl FieldType {
    /// For `["null", T]` and `[T, "null"]`: the branch of null (0 or 1) and T.
    pub fn nullable(&self) -> Option<(usize, &FieldType)> {
        match self {
            Self::Union(branches) => match &branches[..] {
                [Self::Null, inner] => Some((0, inner)),
                [inner, Self::Null] => Some((1, inner)),
                _ => None,
            },
            _ => None,
        }
    }

    /// T of a nullable T, else the type itself.
    pub fn without_null(&self) -> &FieldType {
        self.nullable().map_or(self, |(_, inner)| inner)
    }

    /// Whether null is one of its values.
    pub fn takes_null(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Union(branches) => branches.contains(&Self::Null),
            _ => false,
        }
    }

    /// The fewest bytes that a value takes.
    pub(crate) fn min_width(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Float => 4,
            Self::Double => 8,
            Self::Uuid => 37,
            Self::Fixed(fixed) | Self::UuidFixed(fixed) | Self::Duration(fixed) => fixed.size,
            Self::Decimal(DecimalType { fixed: Some(fixed), .. }) => fixed.size,
            Self::Record(record) => {
                record.fields.iter().fold(0usize, |sum, field| sum.saturating_add(field.ty.min_width()))
            }
            _ => 1,
        }
    }
}

/// As a clerk or a schema's author calls it.
impl std::fmt::Display for FieldType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean => f.write_str("boolean"),
            Self::Int => f.write_str("int"),
            Self::Long => f.write_str("long"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Bytes => f.write_str("bytes"),
            Self::String => f.write_str("string"),
            Self::Uuid | Self::UuidFixed(_) => f.write_str("uuid"),
            Self::Date => f.write_str("date"),
            Self::TimeMillis => f.write_str("time-millis"),
            Self::TimeMicros => f.write_str("time-micros"),
            Self::TimestampMillis => f.write_str("timestamp-millis"),
            Self::TimestampMicros => f.write_str("timestamp-micros"),
            Self::TimestampNanos => f.write_str("timestamp-nanos"),
            Self::LocalTimestampMillis => f.write_str("local-timestamp-millis"),
            Self::LocalTimestampMicros => f.write_str("local-timestamp-micros"),
            Self::LocalTimestampNanos => f.write_str("local-timestamp-nanos"),
            Self::Decimal(decimal) => write!(f, "decimal({}, {})", decimal.precision, decimal.scale),
            Self::Fixed(fixed) => write!(f, "fixed({})", fixed.size),
            Self::Duration(_) => f.write_str("duration"),
            Self::Enum(_) => f.write_str("enum"),
            Self::Array(items) => write!(f, "array of {items}"),
            Self::Map(values) => write!(f, "map of {values}"),
            Self::Union(branches) => match self.nullable() {
                Some((_, inner)) => write!(f, "nullable {inner}"),
                None => {
                    f.write_str("union of ")?;
                    for (index, branch) in branches.iter().enumerate() {
                        write!(f, "{}{branch}", if index == 0 { "" } else { ", " })?;
                    }
                    Ok(())
                }
            },
            Self::Record(record) => write!(f, "record {}", record.name),
        }
    }
}
