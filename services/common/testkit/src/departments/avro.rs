//! Avro by `apache-avro`, in the Confluent wire format, and between it and natural JSON (dates as `YYYY-MM-DD`, decimals
//! as text, unions untagged): what a department's serialiser does. Slow and plain; shares nothing with the bus's own.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{DecimalSchema, Schema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::Value as Json;

/// `0`, schema id, datum. `Err` says what does not fit.
pub fn encode(id: u32, schema: &Schema, value: Value) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&id.to_be_bytes());
    let writer = GenericDatumWriter::builder(schema).build().map_err(|error| error.to_string())?;
    writer.write_value(&mut bytes, value).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The datum of a framed record by its writer's schema.
pub fn decode(schema: &Schema, framed: &[u8]) -> Result<Value, String> {
    let mut datum = framed.get(5..).ok_or("shorter than the wire format's 5 bytes")?;
    let reader = GenericDatumReader::builder(schema).build().map_err(|error| error.to_string())?;
    let value = reader.read_value(&mut datum).map_err(|error| error.to_string())?;
    if datum.is_empty() { Ok(value) } else { Err(format!("{} bytes left over", datum.len())) }
}

/// Natural JSON to a value of the schema. A field that is missing takes its default, or null where it may be null.
pub fn from_json(schema: &Schema, json: &Json) -> Result<Value, String> {
    let wrong = || format!("{json} is not a {schema:?}");
    Ok(match (schema, json) {
        (Schema::Null, Json::Null) => Value::Null,
        (Schema::Boolean, Json::Bool(value)) => Value::Boolean(*value),
        (Schema::Int, Json::Number(number)) => {
            Value::Int(number.as_i64().and_then(|value| i32::try_from(value).ok()).ok_or_else(wrong)?)
        }
        (Schema::Long, Json::Number(number)) => Value::Long(number.as_i64().ok_or_else(wrong)?),
        (Schema::Float, Json::Number(number)) => Value::Float(number.as_f64().ok_or_else(wrong)? as f32),
        (Schema::Double, Json::Number(number)) => Value::Double(number.as_f64().ok_or_else(wrong)?),
        (Schema::String, Json::String(text)) => Value::String(text.clone()),
        (Schema::Uuid(_), Json::String(text)) => Value::Uuid(text.parse().map_err(|_| wrong())?),
        (Schema::Date, Json::String(text)) => Value::Date(days(text).ok_or_else(wrong)?),
        (Schema::TimestampMillis, Json::String(text)) => {
            let at: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
            Value::TimestampMillis(at.as_millisecond())
        }
        (Schema::TimestampMicros, Json::String(text)) => {
            let at: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
            Value::TimestampMicros(at.as_microsecond())
        }
        (Schema::Decimal(decimal), Json::String(text)) => {
            Value::Decimal(unscaled(text, decimal.scale).ok_or_else(wrong)?.to_be_bytes().as_slice().into())
        }
        (Schema::Decimal(decimal), Json::Number(number)) => Value::Decimal(
            unscaled(&number.to_string(), decimal.scale).ok_or_else(wrong)?.to_be_bytes().as_slice().into(),
        ),
        (Schema::Enum(of), Json::String(text)) => {
            let index = of.symbols.iter().position(|symbol| symbol == text).ok_or_else(wrong)?;
            Value::Enum(u32::try_from(index).map_err(|_| wrong())?, text.clone())
        }
        (Schema::Array(of), Json::Array(items)) => {
            Value::Array(items.iter().map(|item| from_json(&of.items, item)).collect::<Result<_, _>>()?)
        }
        (Schema::Map(of), Json::Object(items)) => Value::Map(
            items
                .iter()
                .map(|(name, item)| Ok((name.clone(), from_json(&of.types, item)?)))
                .collect::<Result<_, String>>()?,
        ),
        (Schema::Record(of), Json::Object(items)) => {
            let mut fields = Vec::with_capacity(of.fields.len());
            for field in &of.fields {
                let item = items.get(&field.name).or(field.default.as_ref()).unwrap_or(&Json::Null);
                let value = from_json(&field.schema, item).map_err(|error| format!("{}: {error}", field.name))?;
                fields.push((field.name.clone(), value));
            }
            Value::Record(fields)
        }
        (Schema::Union(of), json) => {
            let branches = of.variants().iter().enumerate();
            let (index, value) = branches
                .filter_map(|(index, branch)| from_json(branch, json).ok().map(|value| (index, value)))
                .next()
                .ok_or_else(wrong)?;
            Value::Union(u32::try_from(index).map_err(|_| wrong())?, Box::new(value))
        }
        _ => return Err(wrong()),
    })
}

/// The inverse. `schema` is needed for the scale of a decimal.
pub fn to_json(schema: &Schema, value: &Value) -> Json {
    match (schema, value) {
        (_, Value::Null) => Json::Null,
        (_, Value::Boolean(value)) => Json::Bool(*value),
        (_, Value::Int(value)) => Json::from(*value),
        (_, Value::Long(value)) => Json::from(*value),
        (_, Value::Float(value)) => Json::from(*value),
        (_, Value::Double(value)) => Json::from(*value),
        (_, Value::String(text) | Value::Enum(_, text)) => Json::from(text.clone()),
        (_, Value::Uuid(id)) => Json::from(id.to_string()),
        (_, Value::Date(days)) => {
            let date = jiff::Span::new().try_days(*days).and_then(|span| EPOCH.checked_add(span));
            date.map_or(Json::Null, |date| Json::from(date.to_string()))
        }
        (_, Value::TimestampMillis(at)) => {
            jiff::Timestamp::from_millisecond(*at).map_or(Json::Null, |at| Json::from(at.to_string()))
        }
        (_, Value::TimestampMicros(at)) => {
            jiff::Timestamp::from_microsecond(*at).map_or(Json::Null, |at| Json::from(at.to_string()))
        }
        (Schema::Decimal(DecimalSchema { scale, .. }), Value::Decimal(decimal)) => {
            Vec::<u8>::try_from(decimal).map_or(Json::Null, |bytes| Json::from(decimal_text(&bytes, *scale)))
        }
        (Schema::Array(of), Value::Array(items)) => items.iter().map(|item| to_json(&of.items, item)).collect(),
        (Schema::Map(of), Value::Map(items)) => {
            Json::Object(items.iter().map(|(name, item)| (name.clone(), to_json(&of.types, item))).collect())
        }
        (Schema::Record(of), Value::Record(items)) => Json::Object(
            of.fields
                .iter()
                .zip(items)
                .map(|(field, (name, item))| (name.clone(), to_json(&field.schema, item)))
                .collect(),
        ),
        (Schema::Union(of), Value::Union(index, item)) => {
            of.variants().get(*index as usize).map_or(Json::Null, |branch| to_json(branch, item))
        }
        (_, other) => Json::from(format!("{other:?}")),
    }
}

const EPOCH: jiff::civil::Date = jiff::civil::date(1970, 1, 1);

fn days(text: &str) -> Option<i32> {
    let date: jiff::civil::Date = text.parse().ok()?;
    Some(date.since((jiff::Unit::Day, EPOCH)).ok()?.get_days())
}

/// `12.5` with scale 2 → 1250. None where digits would be lost.
fn unscaled(text: &str, scale: usize) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > scale || whole.is_empty() {
        return None;
    }
    let all = format!("{whole}{fraction:0<scale$}");
    if !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    all.parse::<i128>().ok().map(|value| sign * value)
}

fn decimal_text(bytes: &[u8], scale: usize) -> String {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1i128 } else { 0 };
    let value = bytes.iter().fold(start, |value, byte| (value << 8) | i128::from(*byte));
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if negative { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVSC: &str = r#"{"type":"record","name":"award","fields":[
        {"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}]},
        {"name":"on","type":{"type":"int","logicalType":"date"}},
        {"name":"divisions","type":{"type":"array","items":"string"}},
        {"name":"note","type":["null","string"],"default":null}]}"#;

    fn check(json: &str, back: &str) {
        let schema = Schema::parse_str(AVSC).unwrap();
        let value = from_json(&schema, &serde_json::from_str(json).unwrap()).unwrap();
        let bytes = encode(7, &schema, value).unwrap();
        assert_eq!(&bytes[..5], [0, 0, 0, 0, 7]);
        let found = to_json(&schema, &decode(&schema, &bytes).unwrap());
        assert_eq!(found, serde_json::from_str::<Json>(back).unwrap());
    }

    #[test]
    fn json_through_avro_and_back() {
        check(
            r#"{"amount":"3501872.6","on":"2024-02-29","divisions":["a","b"]}"#,
            r#"{"amount":"3501872.60","on":"2024-02-29","divisions":["a","b"],"note":null}"#,
        );
        check(
            r#"{"amount":"-0.05","on":"1969-12-31","divisions":[],"note":"x"}"#,
            r#"{"amount":"-0.05","on":"1969-12-31","divisions":[],"note":"x"}"#,
        );
    }

    #[test]
    fn no_digit_is_lost_in_silence() {
        assert_eq!(unscaled("1.005", 2), None);
        assert_eq!(unscaled("3501.872.63", 2), None);
        assert_eq!(unscaled("7", 2), Some(700));
    }
}
