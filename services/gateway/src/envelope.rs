//! CloudEvents 1.0 over HTTP (binding 1.0.2): binary, structured and batched mode to one form, with everything that is
//! wrong with the attributes. Knows nothing of datasets.

mod attributes;

use std::borrow::Cow;

use base64::Engine as _;
use freshet_core::{Code, Violation};
use freshet_mapping::json::{Member, Members, repeated_members};
use http::{HeaderMap, header};
use serde_json::value::RawValue;

pub use attributes::Attributes;

pub const STRUCTURED: &str = "application/cloudevents+json";
pub const BATCH: &str = "application/cloudevents-batch+json";
pub const JSON: &str = "application/json";
const AVRO: &str = freshet_core::headers::AVRO;

/// Attribute names are lower-case letters and digits, at most this many (requirements §6.1).
const MAX_NAME: usize = 20;
const MAX_VALUE_BYTES: usize = 2048;

/// One event as it was sent, borrowed from its request.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// Context attributes and extensions, without `datacontenttype`. Those with a wrong name are left out.
    pub attributes: Attributes<'a>,
    pub data: Data,
    /// The data as sent, for the reject topic.
    pub raw: Cow<'a, [u8]>,
    pub content_type: Cow<'static, str>,
    /// What is wrong with the form of the event. It stands before what is wrong inside of the data.
    pub form_violations: Vec<Violation>,
    /// What is wrong with the attributes. It stands behind that.
    pub attribute_violations: Vec<Violation>,
}

/// What the data is. The bytes are [`Event::raw`], and nobody has looked into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// A delete.
    Absent,
    Json,
    /// Confluent wire format.
    Avro,
    /// Said in the violations, or too large.
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

impl<'a> Event<'a> {
    /// Binary mode: attributes in `ce-` headers, the body is the data.
    /// Data of more than `most` bytes is not read: the event is refused for its size.
    pub fn from_binary(headers: &'a HeaderMap, body: &'a [u8], most: usize) -> Self {
        let mut violations = Vec::new();
        let mut all: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for (name, value) in headers {
            let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
            match decode(value.as_bytes()) {
                Some(_) if all.iter().any(|(known, _)| known == attribute) => {
                    violations.push(wrong(attribute, "is given more than once"));
                }
                Some(text) => all.push((attribute.into(), text.into())),
                None => violations.push(wrong(attribute, "is not UTF-8")),
            }
        }
        let mut attributes = Attributes::new(all);
        if attributes.remove("datacontenttype").is_some() {
            violations.push(wrong("datacontenttype", "is the Content-Type header in binary mode, not a ce- header"));
        }
        let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = sent.map_or(Cow::Borrowed(JSON), |text| essence(text).into());
        let data = if body.is_empty() {
            Data::Absent
        } else if content_type == AVRO {
            Data::Avro
        } else {
            json_data(body, most)
        };
        Self::checked(attributes, (data, body.into()), content_type, violations)
    }

    /// Structured mode, or one member of a batch: the JSON form of an event. `Err` where it is not even an object.
    pub fn from_structured(event: &'a str, most: usize) -> Result<Self, Violation> {
        if !event.trim_start().starts_with('{') {
            return Err(of_form("not a JSON object, which an event is".to_owned()));
        }
        let members = Members::parse(event).map_err(|error| of_form(format!("not an event: {error}")))?;
        Ok(Self::from_members(&members.0, most))
    }

    /// The members of the JSON form of an event.
    pub fn from_members(members: &[Member<'a>], most: usize) -> Self {
        let mut violations: Vec<Violation> =
            repeated_members(members).into_iter().map(|name| wrong(name, "is given more than once")).collect();
        let mut all = Vec::with_capacity(members.len());
        let (mut data, mut base64) = (None, None);
        for (name, value) in members {
            match (name.as_ref(), scalar(value)) {
                ("data", Some(Scalar::Null)) => {}
                ("data", _) => data = Some(value.get().as_bytes()),
                // CloudEvents JSON format §2.2: null is the same as absent.
                (_, Some(Scalar::Null)) => {}
                ("data_base64", Some(Scalar::Text(text))) => base64 = Some(text),
                (_, Some(Scalar::Text(text))) => all.push((name.clone(), text)),
                (_, Some(Scalar::Other(text))) => all.push((name.clone(), text.into())),
                (name, None) => violations.push(wrong(name, "is neither a text nor a number nor a boolean")),
            }
        }
        let mut attributes = Attributes::new(all);
        let content_type = match attributes.remove("datacontenttype") {
            Some(text) => essence(&text).into(),
            None => Cow::Borrowed(JSON),
        };
        if !is_json(&content_type) && content_type != AVRO {
            violations.push(wrong("datacontenttype", &format!("is \"{content_type}\"; {JSON} and {AVRO} are taken")));
        }
        let data = match (data, base64) {
            (None, None) => (Data::Absent, Cow::default()),
            (Some(raw), None) if is_json(&content_type) => (json_data(raw, most), raw.into()),
            (Some(raw), None) => {
                violations.push(of_form(format!(
                    "data is JSON but datacontenttype is \"{content_type}\"; put the bytes into data_base64"
                )));
                (Data::Unreadable, raw.into())
            }
            (Some(_), Some(text)) => {
                violations.push(of_form("data and data_base64 are both given; give one of them".to_owned()));
                (Data::Unreadable, bytes_of(text))
            }
            (None, Some(text)) => from_base64(text, &content_type, most, &mut violations),
        };
        Self::checked(attributes, data, content_type, violations)
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)
    }

    /// Attributes and data as sent.
    pub fn size_bytes(&self) -> usize {
        self.raw.len() + self.attributes.size_bytes()
    }

    /// A delete has no data, or its type says so: `….deleted`.
    pub fn is_delete(&self) -> bool {
        self.data == Data::Absent || self.attribute("type").is_some_and(|kind| kind.ends_with(".deleted"))
    }

    fn checked(
        mut attributes: Attributes<'a>,
        (data, raw): (Data, Cow<'a, [u8]>),
        content_type: Cow<'static, str>,
        form_violations: Vec<Violation>,
    ) -> Self {
        let mut violations = Vec::new();
        attributes.retain(|name| {
            let is_kept = is_name(name);
            if !is_kept {
                violations.push(wrong(name, "is not a name of 1 to 20 letters a-z and digits"));
            }
            is_kept
        });
        for (name, value) in attributes.iter() {
            if value.len() > MAX_VALUE_BYTES {
                let length = value.len();
                violations.push(wrong(name, &format!("has {length} bytes; at most {MAX_VALUE_BYTES} are taken")));
            } else if has_control(value) {
                violations.push(wrong(name, "holds control characters"));
            } else if let Some(problem) = problem_of(name, value) {
                violations.push(wrong(name, &problem));
            }
        }
        for name in ["specversion", "id", "source", "type"] {
            if attributes.get(name).is_none() {
                violations.push(wrong(name, "is missing"));
            }
        }
        Self { attributes, data, raw, content_type, form_violations, attribute_violations: violations }
    }
}

fn of_form(reason: String) -> Violation {
    Violation::whole(Code::EnvelopeAttribute, reason)
}

fn from_base64<'a>(
    text: Cow<'a, str>,
    content_type: &str,
    most: usize,
    violations: &mut Vec<Violation>,
) -> (Data, Cow<'a, [u8]>) {
    match base64::engine::general_purpose::STANDARD.decode(text.as_bytes()) {
        Err(error) => {
            let reason = format!("data_base64 is not base64: {error}");
            violations.push(Violation::whole(Code::SchemaMalformed, reason));
            (Data::Unreadable, bytes_of(text))
        }
        Ok(bytes) if content_type == AVRO => (Data::Avro, bytes.into()),
        Ok(bytes) => (json_data(&bytes, most), bytes.into()),
    }
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

fn json_data(json: &[u8], most: usize) -> Data {
    if json.len() > most {
        Data::Unreadable
    } else if is_null(json) {
        Data::Absent
    } else {
        Data::Json
    }
}

/// Null is no data.
fn is_null(json: &[u8]) -> bool {
    // RFC 8259 §2.
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let begin = json.iter().position(|byte| !is_blank(byte)).unwrap_or(json.len());
    json[begin..].strip_prefix(b"null").is_some_and(|rest| rest.iter().all(is_blank))
}

/// An attribute's value, as its text.
enum Scalar<'a> {
    Null,
    Text(Cow<'a, str>),
    /// A number or boolean, as it was written.
    Other(&'a str),
}

/// None: an array or object.
fn scalar(value: &RawValue) -> Option<Scalar<'_>> {
    let text = value.get();
    match text.as_bytes() {
        [b'n', ..] => Some(Scalar::Null),
        // It is a JSON text already, so that without escapes it is what stands between the quotes.
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
            Some(Scalar::Text(Cow::Borrowed(&text[1..=inner.len()])))
        }
        [b'"', ..] => serde_json::from_str(text).ok().map(|text| Scalar::Text(Cow::Owned(text))),
        [b'[' | b'{', ..] => None,
        _ => Some(Scalar::Other(text)),
    }
}

fn has_control(value: &str) -> bool {
    // Nearly all are ASCII, of which the bytes say it.
    if value.is_ascii() { value.bytes().any(|byte| byte.is_ascii_control()) } else { value.contains(char::is_control) }
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
