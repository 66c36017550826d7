//! Fields and literals, and what may stand against what.

use crate::calendar;
use crate::limits;
use crate::plan::{Plan, Slot};
use crate::schema::FieldType;
use crate::value::{Value, sized};
use crate::{Walk, decimal, varint};

/// A value that is compared. Both sides of a comparison have the same variant, or are both numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Text(&'a [u8]),
    /// Unscaled number and scale.
    Exact(i128, u32),
    Float(f64),
    /// Days, or nanoseconds; which, is the same on both sides.
    Moment(i128),
}

/// A literal, read as the type of the field that it stands against.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Boolean(bool),
    Text(Box<str>),
    Exact(i128, u32),
    Float(f64),
    Moment(i128),
}

impl Literal {
    pub(super) fn scalar(&self) -> Scalar<'_> {
        match self {
            Self::Boolean(value) => Scalar::Boolean(*value),
            Self::Text(text) => Scalar::Text(text.as_bytes()),
            Self::Exact(unscaled, scale) => Scalar::Exact(*unscaled, *scale),
            Self::Float(value) => Scalar::Float(*value),
            Self::Moment(value) => Scalar::Moment(*value),
        }
    }
}

/// Where a field's bytes are.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    /// With its null, if it has one.
    pub(super) ty: FieldType,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Slot(Slot),
    /// The writer lacks the field: the reader's default. None: null.
    Default(Option<Box<[u8]>>),
}

impl Operand {
    /// The field at `path`, in `writer` or else with the default that `reader` has for it.
    pub(super) fn find(path: &str, writer: &Plan, reader: &Plan) -> Option<Self> {
        // The newest type also reads what an older writer wrote: enums only grow at their end (crate::compatibility).
        let ty = reader.type_of(reader.slot(path)?).clone();
        if let Some(slot) = writer.slot(path) {
            return Some(Self { ty, place: Place::Slot(slot) });
        }
        // The default of the outermost field that the writer lacks holds the whole of it.
        let mut record = reader.record();
        let mut names = path.split('.');
        let mut outer = String::new();
        loop {
            let name = names.next()?;
            let field = record.field(name)?;
            outer = if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") };
            if writer.slot(&outer).is_none() {
                let bytes = within(&field.ty, &field.default.as_ref()?.bytes, names);
                return Some(Self { ty, place: Place::Default(bytes.map(Into::into)) });
            }
            match field.ty.without_null() {
                FieldType::Record(inner) => record = inner,
                _ => return None,
            }
        }
    }

    /// The encoded bytes without the union's index; None: null.
    pub(super) fn raw<'a>(&'a self, walk: &Walk, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let raw = match &self.place {
            Place::Slot(slot) if walk.is_present(*slot) => bytes.get(walk.raw(*slot))?,
            Place::Slot(_) | Place::Default(None) => return None,
            Place::Default(Some(bytes)) => bytes,
        };
        match self.ty.nullable() {
            None => Some(raw),
            Some((null, _)) => {
                let mut position = 0;
                let index = varint::read(raw, &mut position).ok()?;
                (usize::try_from(index) != Ok(null)).then(|| &raw[position..])
            }
        }
    }

    /// Whether a union that is more than nullable holds null, or the field itself is null.
    pub(super) fn is_null(&self, walk: &Walk, bytes: &[u8]) -> bool {
        match self.raw(walk, bytes) {
            None => true,
            Some(raw) => Value::read(&self.ty, raw).is_null() && self.ty.nullable().is_none(),
        }
    }

    pub(super) fn scalar<'a>(&'a self, walk: &Walk, bytes: &'a [u8]) -> Scalar<'a> {
        self.raw(walk, bytes).and_then(|raw| scalar(self.ty.without_null(), raw)).unwrap_or(Scalar::Null)
    }
}

/// The bytes of the field at the rest of a path, within the encoded value of a record.
fn within<'a>(ty: &FieldType, mut bytes: &'a [u8], mut names: std::str::Split<'_, char>) -> Option<&'a [u8]> {
    let Some(name) = names.next() else { return Some(bytes) };
    if let Some((null, _)) = ty.nullable() {
        let mut position = 0;
        let index = varint::read(bytes, &mut position).ok()?;
        if usize::try_from(index) == Ok(null) {
            return None;
        }
        bytes = &bytes[position..];
    }
    let FieldType::Record(record) = ty.without_null() else { return None };
    let mut position = 0;
    for field in &record.fields {
        let begin = position;
        crate::skip::skip(&field.ty, bytes, &mut position)?;
        if field.name == name {
            return within(&field.ty, &bytes[begin..position], names);
        }
    }
    None
}

fn scalar<'a>(ty: &'a FieldType, raw: &'a [u8]) -> Option<Scalar<'a>> {
    // Texts are compared as bytes: the check has found them to be UTF-8, whose order is that of the code points.
    if let FieldType::String | FieldType::Uuid = ty {
        return sized(raw).map(Scalar::Text);
    }
    Some(match Value::read(ty, raw) {
        Value::Boolean(value) => Scalar::Boolean(value),
        Value::Int(value) => Scalar::Exact(i128::from(value), 0),
        Value::Long(value) => Scalar::Exact(i128::from(value), 0),
        Value::Float(value) => Scalar::Float(f64::from(value)),
        Value::Double(value) => Scalar::Float(value),
        Value::Decimal { unscaled, scale } => Scalar::Exact(unscaled, scale),
        Value::Enum { symbol, .. } => Scalar::Text(symbol.as_bytes()),
        Value::Date(days) => Scalar::Moment(i128::from(days)),
        Value::TimeMillis(value) => Scalar::Moment(i128::from(value) * 1_000_000),
        Value::TimestampMillis(value) | Value::LocalTimestampMillis(value) => {
            Scalar::Moment(i128::from(value) * 1_000_000)
        }
        Value::TimeMicros(value) | Value::TimestampMicros(value) | Value::LocalTimestampMicros(value) => {
            Scalar::Moment(i128::from(value) * 1_000)
        }
        Value::TimestampNanos(value) | Value::LocalTimestampNanos(value) => Scalar::Moment(i128::from(value)),
        _ => return None,
    })
}

/// Types whose values can be compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Boolean,
    Number,
    Text,
    Date,
    Time,
    Timestamp,
    LocalTimestamp,
}

/// None: values of the type are not compared.
pub(super) fn family(ty: &FieldType) -> Option<Family> {
    Some(match ty.without_null() {
        FieldType::Boolean => Family::Boolean,
        FieldType::Int | FieldType::Long | FieldType::Float | FieldType::Double | FieldType::Decimal(_) => {
            Family::Number
        }
        FieldType::String | FieldType::Uuid | FieldType::Enum(_) => Family::Text,
        FieldType::Date => Family::Date,
        FieldType::TimeMillis | FieldType::TimeMicros => Family::Time,
        FieldType::TimestampMillis | FieldType::TimestampMicros | FieldType::TimestampNanos => Family::Timestamp,
        FieldType::LocalTimestampMillis | FieldType::LocalTimestampMicros | FieldType::LocalTimestampNanos => {
            Family::LocalTimestamp
        }
        _ => return None,
    })
}

/// A text literal as a value of the type, or what is wrong with it.
pub(super) fn text_literal(ty: &FieldType, text: &str) -> Result<Literal, String> {
    let ty = ty.without_null();
    let moment = |value: Option<i128>, form: &str| {
        value.map(Literal::Moment).ok_or_else(|| format!("'{text}' is not a {ty}; expected the form {form}"))
    };
    match ty {
        FieldType::String => Ok(Literal::Text(text.into())),
        FieldType::Uuid if limits::is_uuid(text.as_bytes()) => Ok(Literal::Text(text.into())),
        FieldType::Uuid => Err(format!("'{text}' is not a UUID")),
        FieldType::Enum(symbols) if symbols.symbols.iter().any(|symbol| symbol == text) => {
            Ok(Literal::Text(text.into()))
        }
        FieldType::Enum(symbols) => Err(format!("'{text}' is not one of {}", symbols.symbols.join(", "))),
        FieldType::Date => moment(calendar::date_from_text(text).map(i128::from), "'YYYY-MM-DD'"),
        FieldType::TimeMillis | FieldType::TimeMicros => moment(calendar::time_from_text(text), "'HH:MM:SS'"),
        FieldType::TimestampMillis | FieldType::TimestampMicros | FieldType::TimestampNanos => moment(
            calendar::timestamp_from_text(text).or_else(|| calendar::timestamp_from_text(&format!("{text}T00:00:00Z"))),
            "'YYYY-MM-DD' or 'YYYY-MM-DDTHH:MM:SSZ'",
        ),
        FieldType::LocalTimestampMillis | FieldType::LocalTimestampMicros | FieldType::LocalTimestampNanos => moment(
            calendar::local_from_text(text).or_else(|| calendar::local_from_text(&format!("{text}T00:00:00"))),
            "'YYYY-MM-DD' or 'YYYY-MM-DDTHH:MM:SS'",
        ),
        _ if family(ty) == Some(Family::Number) => Err(format!("'{text}' is a text, expected a number without quotes")),
        _ if family(ty) == Some(Family::Boolean) => Err(format!("'{text}' is a text, expected true or false")),
        _ => Err(format!("a {ty} is not compared with a text")),
    }
}

/// A number literal as a value of the type, or what is wrong with it.
pub(super) fn number_literal(ty: &FieldType, text: &str) -> Result<Literal, String> {
    let not_a_number = || format!("{text} is not a number of at most 38 digits");
    match ty.without_null() {
        // As narrow as the field, or 0.1 would not equal 0.1.
        FieldType::Float => text.parse::<f32>().map(|value| Literal::Float(value.into())).map_err(|_| not_a_number()),
        FieldType::Double => text.parse().map(Literal::Float).map_err(|_| not_a_number()),
        FieldType::Int | FieldType::Long | FieldType::Decimal(_) => {
            let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as u32);
            match decimal::parse(text, 38, scale) {
                Ok(unscaled) if scale <= 38 => Ok(Literal::Exact(unscaled, scale)),
                _ => Err(not_a_number()),
            }
        }
        ty @ (FieldType::String | FieldType::Uuid | FieldType::Enum(_)) => {
            Err(format!("the field is a {ty}: write the value in single quotes, '{text}'"))
        }
        ty => match family(ty) {
            Some(Family::Date | Family::Time | Family::Timestamp | Family::LocalTimestamp) => {
                Err(format!("the field is a {ty}: write the value in single quotes"))
            }
            _ => Err(format!("a {ty} is not compared with a number")),
        },
    }
}
