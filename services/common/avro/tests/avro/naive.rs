//! The slow and simple way to a field: through `apache-avro`'s tree.

use apache_avro::types::Value;
use freshet_avro::Value as Ours;
use freshet_avro::projection::MaskKind;

/// The value at a dotted path, unions opened. None: a record around it is null.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = value;
    for name in path.split('.') {
        let Value::Record(fields) = open(value) else { return None };
        value = fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)?;
    }
    Some(open(value))
}

pub fn open(value: &Value) -> &Value {
    match value {
        Value::Union(_, inner) => open(inner),
        _ => value,
    }
}

/// The parts of `original` that `view` (a value of the view's schema) has by name.
pub fn subset(original: &Value, view: &Value) -> Value {
    match (original, view) {
        (Value::Record(fields), Value::Record(view)) => Value::Record(
            view.iter()
                .map(|(name, view)| {
                    let (_, value) = fields.iter().find(|(field, _)| field == name).expect("a field of the original");
                    (name.clone(), subset(value, view))
                })
                .collect(),
        ),
        (Value::Union(index, inner), Value::Union(_, view)) => Value::Union(*index, Box::new(subset(inner, view))),
        _ => original.clone(),
    }
}

/// Whether a slot's value is the tree's. None: absent.
pub fn is_same(ours: Ours<'_>, theirs: Option<&Value>) -> bool {
    let Some(theirs) = theirs else { return ours == Ours::Absent };
    match (ours, theirs) {
        (Ours::Null, Value::Null) => true,
        (Ours::Boolean(ours), Value::Boolean(theirs)) => ours == *theirs,
        (Ours::Int(ours), Value::Int(theirs))
        | (Ours::Date(ours), Value::Date(theirs))
        | (Ours::TimeMillis(ours), Value::TimeMillis(theirs)) => ours == *theirs,
        (Ours::Long(ours), Value::Long(theirs))
        | (Ours::TimeMicros(ours), Value::TimeMicros(theirs))
        | (Ours::TimestampMillis(ours), Value::TimestampMillis(theirs))
        | (Ours::TimestampMicros(ours), Value::TimestampMicros(theirs))
        | (Ours::TimestampNanos(ours), Value::TimestampNanos(theirs))
        | (Ours::LocalTimestampMillis(ours), Value::LocalTimestampMillis(theirs))
        | (Ours::LocalTimestampMicros(ours), Value::LocalTimestampMicros(theirs))
        | (Ours::LocalTimestampNanos(ours), Value::LocalTimestampNanos(theirs)) => ours == *theirs,
        (Ours::Float(ours), Value::Float(theirs)) => ours.to_bits() == theirs.to_bits(),
        (Ours::Double(ours), Value::Double(theirs)) => ours.to_bits() == theirs.to_bits(),
        (Ours::String(ours), Value::String(theirs)) => ours == theirs,
        (Ours::Bytes(ours), Value::Bytes(theirs) | Value::Fixed(_, theirs)) => ours == theirs,
        (Ours::Bytes(ours), Value::Uuid(theirs)) => ours == theirs.as_bytes(),
        (Ours::Bytes(ours), Value::Duration(theirs)) => {
            let parts = [u32::from(theirs.months()), u32::from(theirs.days()), u32::from(theirs.millis())];
            ours == parts.map(u32::to_le_bytes).concat()
        }
        // apache-avro writes it in lower case, whatever it was.
        (Ours::Uuid(ours), Value::Uuid(theirs)) => ours.eq_ignore_ascii_case(&theirs.to_string()),
        (Ours::Enum { index, symbol }, Value::Enum(their_index, their_symbol)) => {
            index == *their_index as usize && symbol == their_symbol
        }
        (Ours::Decimal { unscaled, .. }, Value::Decimal(theirs)) => {
            theirs == &apache_avro::Decimal::from(unscaled.to_be_bytes())
        }
        (Ours::Other(_), Value::Array(_) | Value::Map(_) | Value::Record(_)) => true,
        _ => false,
    }
}

/// Whether a view of these fields may show the path: it is one, or inside or around one.
pub fn is_granted(path: &str, fields: &[String]) -> bool {
    fields
        .iter()
        .any(|field| path == field || path.starts_with(&format!("{field}.")) || field.starts_with(&format!("{path}.")))
}

/// What a mask leaves of a text.
pub fn masked(mask: MaskKind, text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    match mask {
        MaskKind::FirstCharacter => characters.first().map_or(String::new(), |first| format!("{first}*")),
        MaskKind::LastFour if characters.len() > 4 => {
            format!("*{}", characters[characters.len() - 4..].iter().collect::<String>())
        }
        _ => "***".to_owned(),
    }
}
