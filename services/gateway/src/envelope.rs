//! CloudEvents 1.0 over HTTP (binding 1.0.2): binary, structured and batched mode to one form, with everything that is
//! wrong with the attributes. Knows nothing of datasets.

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use freshet_core::{Code, Violation};
use freshet_mapping::json::{self, Members};
use http::{HeaderMap, header};
use serde_json::Value;
use serde_json::value::RawValue;

pub const STRUCTURED: &str = "application/cloudevents+json";
pub const BATCH: &str = "application/cloudevents-batch+json";
pub const JSON: &str = "application/json";
const AVRO: &str = freshet_core::headers::AVRO;

/// Attribute names are lower-case letters and digits, at most this many (requirements §6.1).
const MAX_NAME: usize = 20;
const MAX_VALUE_BYTES: usize = 2048;

/// One event as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Context attributes and extensions, without `datacontenttype`. Those with a wrong name are left out.
    pub attributes: BTreeMap<String, String>,
    pub data: Data,
    /// The data as sent, for the reject topic.
    pub raw: Bytes,
    pub content_type: String,
    /// What is wrong with the attributes or the form of the data.
    pub violations: Vec<Violation>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// A delete.
    Absent,
    Json(Value),
    /// Confluent wire format.
    Avro(Bytes),
    /// Said in the violations.
    Unreadable,
}

/// How a request carries its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Binary,
    Structured,
    Batch,
}

impl Mode {
    /// By the content type; `Err` with what was sent where the gateway does not take it.
    pub fn of(headers: &HeaderMap) -> Result<Self, String> {
        let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Binary) };
        let text = content_type.to_str().map_err(|_| "not text".to_owned())?;
        if text.to_ascii_lowercase().split(';').skip(1).any(|parameter| {
            parameter.trim().strip_prefix("charset=").is_some_and(|charset| charset.trim_matches('"') != "utf-8")
        }) {
            return Err(text.to_owned());
        }
        match essence(text).as_str() {
            STRUCTURED => Ok(Self::Structured),
            BATCH => Ok(Self::Batch),
            JSON | AVRO => Ok(Self::Binary),
            other if other.ends_with("+json") && !other.starts_with("application/cloudevents") => Ok(Self::Binary),
            _ => Err(text.to_owned()),
        }
    }
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(essence: &str) -> bool {
    essence == JSON || essence.ends_with("+json")
}

impl Event {
    /// Binary mode: attributes in `ce-` headers, the body is the data.
    /// Data of more than `most` bytes is not read: the event is refused for its size.
    pub fn from_binary(headers: &HeaderMap, body: Bytes, most: usize) -> Self {
        let mut violations = Vec::new();
        let mut attributes = BTreeMap::new();
        for (name, value) in headers {
            let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
            match decode(value.as_bytes()) {
                Some(_) if attributes.contains_key(attribute) => {
                    violations.push(wrong(attribute, "is given more than once"));
                }
                Some(text) => drop(attributes.insert(attribute.to_owned(), text)),
                None => violations.push(wrong(attribute, "is not UTF-8")),
            }
        }
        if attributes.remove("datacontenttype").is_some() {
            violations.push(wrong("datacontenttype", "is the Content-Type header in binary mode, not a ce- header"));
        }
        let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = sent.map_or_else(|| JSON.to_owned(), essence);
        let data = if body.is_empty() {
            Data::Absent
        } else if content_type == AVRO {
            Data::Avro(body.clone())
        } else {
            json_data(&body, most, &mut violations)
        };
        Self { attributes, data, raw: body, content_type, violations }.checked()
    }

    /// Structured mode, or one member of a batch: the JSON form of an event, a part of `body`. `Err` where it is not even
    /// an object.
    pub fn from_structured(body: &Bytes, event: &str, most: usize) -> Result<Self, Violation> {
        let attribute_of = |reason| Violation::whole(Code::EnvelopeAttribute, reason);
        if !event.trim_start().starts_with('{') {
            return Err(attribute_of("not a JSON object, which an event is".to_owned()));
        }
        let members = Members::parse(event).map_err(|error| attribute_of(format!("not an event: {error}")))?;
        let mut violations: Vec<Violation> =
            members.repeated().into_iter().map(|name| wrong(name, "is given more than once")).collect();
        let mut attributes = BTreeMap::new();
        let (mut data, mut base64) = (None, None);
        for (name, value) in members.0 {
            match (name.as_ref(), scalar(value)) {
                ("data", Some(Scalar::Null)) => {}
                ("data", _) => data = Some(body.slice_ref(value.get().as_bytes())),
                // CloudEvents JSON format §2.2: null is the same as absent.
                (_, Some(Scalar::Null)) => {}
                ("data_base64", Some(Scalar::Text(text))) => base64 = Some(text),
                (_, Some(Scalar::Text(text) | Scalar::Other(text))) => drop(attributes.insert(name.into_owned(), text)),
                (name, None) => violations.push(wrong(name, "is neither a text nor a number nor a boolean")),
            }
        }
        let content_type = attributes.remove("datacontenttype").map_or_else(|| JSON.to_owned(), |text| essence(&text));
        if !is_json(&content_type) && content_type != AVRO {
            violations.push(wrong("datacontenttype", &format!("is \"{content_type}\"; {JSON} and {AVRO} are taken")));
        }
        let (data, raw) = match (data, base64) {
            (None, None) => (Data::Absent, Bytes::new()),
            (Some(raw), None) if is_json(&content_type) => (json_data(&raw, most, &mut violations), raw),
            (Some(raw), None) => {
                violations.push(attribute_of(format!(
                    "data is JSON but datacontenttype is \"{content_type}\"; put the bytes into data_base64"
                )));
                (Data::Unreadable, raw)
            }
            (Some(_), Some(text)) => {
                violations.push(attribute_of("data and data_base64 are both given; give one of them".to_owned()));
                (Data::Unreadable, Bytes::from(text))
            }
            (None, Some(text)) => from_base64(text, &content_type, most, &mut violations),
        };
        Ok(Self { attributes, data, raw, content_type, violations }.checked())
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Attributes and data as sent.
    pub fn size_bytes(&self) -> usize {
        self.raw.len() + crate::admission::attributes_size(&self.attributes)
    }

    /// A delete has no data, or its type says so: `….deleted`.
    pub fn is_delete(&self) -> bool {
        self.data == Data::Absent || self.attribute("type").is_some_and(|kind| kind.ends_with(".deleted"))
    }

    fn checked(mut self) -> Self {
        let names: Vec<String> = self.attributes.keys().filter(|name| !is_name(name)).cloned().collect();
        for name in names {
            self.attributes.remove(&name);
            self.violations.push(wrong(&name, "is not a name of 1 to 20 letters a-z and digits"));
        }
        for (name, value) in &self.attributes {
            if value.len() > MAX_VALUE_BYTES {
                let length = value.len();
                self.violations.push(wrong(name, &format!("has {length} bytes; at most {MAX_VALUE_BYTES} are taken")));
            } else if value.chars().any(char::is_control) {
                self.violations.push(wrong(name, "holds control characters"));
            } else if let Some(problem) = problem_of(name, value) {
                self.violations.push(wrong(name, &problem));
            }
        }
        for name in ["specversion", "id", "source", "type"] {
            if !self.attributes.contains_key(name) {
                self.violations.push(wrong(name, "is missing"));
            }
        }
        self
    }
}

fn from_base64(text: String, content_type: &str, most: usize, violations: &mut Vec<Violation>) -> (Data, Bytes) {
    let malformed = |reason: String| Violation::whole(Code::SchemaMalformed, reason);
    match base64::engine::general_purpose::STANDARD.decode(&text) {
        Err(error) => {
            violations.push(malformed(format!("data_base64 is not base64: {error}")));
            (Data::Unreadable, Bytes::from(text))
        }
        Ok(bytes) if content_type == AVRO => (Data::Avro(Bytes::from(bytes.clone())), Bytes::from(bytes)),
        Ok(bytes) => {
            let bytes = Bytes::from(bytes);
            (json_data(&bytes, most, violations), bytes)
        }
    }
}

/// Null is no data.
fn json_data(json: &[u8], most: usize, violations: &mut Vec<Violation>) -> Data {
    if json.len() > most {
        return Data::Unreadable;
    }
    match json::value(json) {
        Ok(Value::Null) => Data::Absent,
        Ok(value) => Data::Json(value),
        Err(error) => {
            violations.push(Violation::whole(Code::SchemaMalformed, format!("the data cannot be read: {error}")));
            Data::Unreadable
        }
    }
}

/// An attribute's value, as its text.
enum Scalar {
    Null,
    Text(String),
    /// A number or boolean, as it was written.
    Other(String),
}

/// None: an array or object.
fn scalar(value: &RawValue) -> Option<Scalar> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'n') => Some(Scalar::Null),
        Some(b'"') => serde_json::from_str(text).ok().map(Scalar::Text),
        Some(b'[' | b'{') => None,
        _ => Some(Scalar::Other(text.to_owned())),
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn problem_of(name: &str, value: &str) -> Option<String> {
    let problem = match name {
        "specversion" if value != "1.0" => format!("is \"{value}\"; 1.0 is taken"),
        "id" | "source" | "type" if value.is_empty() => "is empty".to_owned(),
        "time" | "recordedtime" if value.parse::<jiff::Timestamp>().is_err() => {
            format!("is \"{value}\", not a time as RFC 3339 writes it, e.g. 2026-11-22T08:00:00Z")
        }
        "sequence" if !is_sequence(value) => {
            format!("is \"{value}\", not a whole number of 1 to 20 digits below 2^64")
        }
        _ => return None,
    };
    Some(problem)
}

fn is_sequence(value: &str) -> bool {
    value.len() <= 20 && value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u64>().is_ok()
}

fn wrong(attribute: &str, what: &str) -> Violation {
    Violation::new(Code::EnvelopeAttribute, attribute, format!("attribute {attribute} {what}"))
}

/// HTTP binding §3.1.3.2: quotes off, then percent-decoding. `None` where the result is not UTF-8.
fn decode(value: &[u8]) -> Option<String> {
    let mut quoted = Vec::new();
    let value = match value {
        [b'"', inner @ .., b'"'] => {
            let mut bytes = inner.iter();
            while let Some(byte) = bytes.next() {
                quoted.push(if *byte == b'\\' { *bytes.next()? } else { *byte });
            }
            quoted.as_slice()
        }
        plain => plain,
    };
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digits = [*high, *low];
                decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = after;
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests;
