//! From an event as it was sent to the record that is published, or to the record of its refusal. Pure: no clock, no
//! network, no catalogue but the one that is given.

mod payload;

use freshet_avro::Walk;
use freshet_avro::json::Transcoder;
use freshet_catalog_model::compiled::PseudonymKey;
use freshet_catalog_model::{Catalog, KeyForm};
use freshet_core::{Code, Rejection, Violation, headers, topics};
use freshet_kafka::{Headers, Record};

use crate::datasets::Dataset;
use crate::envelope::{Attributes, Event};

/// All refusals of the gateway go to this partition of the reject topic, so that the lines of a file stay in order.
const REJECT_PARTITION: i32 = 0;
/// A header of this size leaves room for the value in the broker's default limit of 1 MiB.
const MAX_VIOLATION_BYTES: usize = 64 * 1024;

/// What an event is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    /// The department whose token it came with.
    pub department: &'a str,
    pub catalog: &'a Catalog,
    pub dataset: &'a Dataset,
    pub pseudonym: Option<&'a PseudonymKey>,
    pub max_event_bytes: usize,
    /// Microseconds since the epoch.
    pub now_us: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    Publish(Record),
    Refuse { violations: Vec<Violation>, record: Record },
}

impl Decision {
    pub fn record(&self) -> &Record {
        match self {
            Self::Publish(record) | Self::Refuse { record, .. } => record,
        }
    }
}

/// Of a refusal: what was sent, and where it stood.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub attributes: &'a Attributes<'a>,
    pub raw: &'a [u8],
    pub content_type: &'a str,
    /// `<file> line <n>`.
    pub line: Option<&'a str>,
}

pub(crate) use payload::{missing_sequence, needs_sequence, of_datum as payload_of_datum};

/// What is left of an event once its data is understood.
#[derive(Debug)]
pub(crate) struct Payload {
    pub key: Vec<u8>,
    /// Confluent wire format; `None` for a delete.
    pub value: Option<Vec<u8>>,
    /// The record's own division, where the dataset names a field.
    pub division: Option<String>,
}

/// Buffers that are used again from event to event.
#[derive(Debug, Default)]
pub struct Buffers {
    transcoder: Transcoder,
    walk: Walk,
}

impl Admission<'_> {
    /// Everything that can be said about the event without the others of its key: the validator does the rest.
    pub fn admit(&self, event: &Event<'_>, buffers: &mut Buffers) -> Decision {
        let mut violations = event.form_violations.clone();
        let data = payload::read(self, event, &mut buffers.transcoder).unwrap_or_else(|violation| {
            violations.push(violation);
            payload::Read::Unreadable
        });
        violations.extend_from_slice(&event.attribute_violations);
        let size = event.size_bytes();
        if size > self.max_event_bytes {
            violations.push(too_large(size, self.max_event_bytes));
        }
        self.check_source(&event.attributes, &mut violations);
        let payload = match payload::of_event(self, event, data, &mut buffers.walk) {
            Ok(payload) => Some(payload),
            Err(further) => {
                violations.extend(further);
                None
            }
        };
        if let Some(payload) = &payload {
            self.check_division(event.attribute("divcode"), payload, &mut violations);
        }
        match payload {
            Some(payload) if violations.is_empty() => Decision::Publish(self.record(&event.attributes, payload)),
            _ => {
                let sent = Sent {
                    attributes: &event.attributes,
                    raw: &event.raw,
                    content_type: &event.content_type,
                    line: None,
                };
                self.refuse(violations, sent)
            }
        }
    }

    pub(crate) fn check_source(&self, attributes: &Attributes<'_>, violations: &mut Vec<Violation>) {
        let Some(source) = attributes.get("source").filter(|source| !source.is_empty()) else { return };
        let department = self.department;
        match self.catalog.department_of_source(source) {
            Some(owner) if owner.id == department => {}
            // Whose it is instead is nobody's business here.
            Some(_) => violations.push(Violation::new(
                Code::SourceAuthority,
                "source",
                format!("source \"{source}\" does not belong to {department}, whose token this is"),
            )),
            None => violations.push(Violation::new(
                Code::SourceUnknown,
                "source",
                format!("source \"{source}\" belongs to no department of the catalogue"),
            )),
        }
    }

    pub(crate) fn check_division(&self, attribute: Option<&str>, payload: &Payload, violations: &mut Vec<Violation>) {
        if let (Some(attribute), Some(field)) = (attribute, &payload.division)
            && attribute != field
        {
            let compiled = &self.dataset.compiled;
            let path = compiled.dataset.division.field.as_deref();
            let message = match path.is_some_and(|path| compiled.latest().plan.withheld().covers(path)) {
                true => "attribute divcode is not the record's division".to_owned(),
                false => format!("attribute divcode is \"{attribute}\", but the record's division is \"{field}\""),
            };
            violations.push(Violation::new(Code::DivisionMismatch, "divcode", message));
            return;
        }
        let division = payload.division.as_deref().or(attribute).unwrap_or("");
        if !self.dataset.compiled.authorities.may_publish(self.department, division) {
            let of_division = match division {
                "" => "events without a division; say it with the attribute divcode".to_owned(),
                division => format!("division {division}"),
            };
            violations.push(Violation::new(
                Code::SourceAuthority,
                "divcode",
                format!("{} is not the authority of {} for {of_division}", self.department, self.dataset.id()),
            ));
        }
    }

    /// The record as it will be published: what a line of a file becomes may be larger than the line.
    pub(crate) fn check_size(&self, attributes: &Attributes<'_>, payload: &Payload, violations: &mut Vec<Violation>) {
        let size = attributes.size_bytes() + payload.value.as_ref().map_or(0, Vec::len);
        if size > self.max_event_bytes {
            violations.push(too_large(size, self.max_event_bytes));
        }
    }

    pub(crate) fn record(&self, attributes: &Attributes<'_>, payload: Payload) -> Record {
        // The Kafka key says it; and a plain key must not ride in a header where the key is a pseudonym.
        let mut record_headers = self.headers(attributes, PartitionKey::LeftOut);
        record_headers.push(headers::CONTENT_TYPE, headers::AVRO.as_bytes());
        Record {
            topic: self.dataset.publish_topic.clone(),
            partition: None,
            key: Some(payload.key),
            value: payload.value,
            headers: record_headers,
            timestamp_ms: None,
        }
    }

    /// The refusal, as it stands in `reject.<department>`: what was sent, unchanged, with everything that is wrong.
    pub fn refuse(&self, violations: Vec<Violation>, sent: Sent<'_>) -> Decision {
        let violations = Violation::first(violations);
        let mut record_headers = match self.dataset.compiled.dataset.key.form {
            // Such a plain key identifies a person; the record's key says the same and does not.
            KeyForm::Pseudonym => self.headers(sent.attributes, PartitionKey::LeftOut),
            KeyForm::Plain => self.headers(sent.attributes, PartitionKey::Kept),
        };
        let key = self.key_of_partition_key(sent.attributes);
        // A delete that says its key is all there is of it, and can be sent again from the reject topic.
        let content_type = if key.is_some() && sent.raw.is_empty() { headers::AVRO } else { sent.content_type };
        record_headers.push(headers::CONTENT_TYPE, content_type.as_bytes());
        record_headers.push(headers::VIOLATIONS, &violations_header(&violations));
        record_headers.push(headers::REJECTED_FROM, b"gateway");
        record_headers.push(headers::REJECTED_DATASET, self.dataset.id().as_bytes());
        if let Some(line) = sent.line {
            record_headers.push(headers::REJECTED_LINE, line.as_bytes());
        }
        // What is too large is cut: the topic would not take it, and the publisher has it.
        let raw = &sent.raw[..sent.raw.len().min(self.max_event_bytes)];
        let record = Record {
            topic: topics::reject(self.department),
            partition: Some(REJECT_PARTITION),
            key,
            value: (!raw.is_empty()).then(|| raw.to_vec()),
            headers: record_headers,
            timestamp_ms: None,
        };
        Decision::Refuse { violations, record }
    }

    fn key_of_partition_key(&self, attributes: &Attributes<'_>) -> Option<Vec<u8>> {
        let plain = attributes.get("partitionkey").filter(|plain| !plain.is_empty())?;
        self.dataset.compiled.key_of_plain(plain, self.pseudonym).ok()
    }

    fn headers(&self, attributes: &Attributes<'_>, partition_key: PartitionKey) -> Headers {
        let count = attributes.iter().len() + MORE_HEADERS;
        let mut all = Headers::with_capacity(count, attributes.size_bytes());
        for (name, value) in attributes.iter() {
            if name != "partitionkey" || partition_key == PartitionKey::Kept {
                all.push_prefixed("ce_", name, value.as_bytes());
            }
        }
        all.push(headers::PUBLISHED_AT, self.now_us.to_string().as_bytes());
        all
    }
}

/// Behind the attributes: when it was published, the content type, and of a refusal up to four more.
const MORE_HEADERS: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartitionKey {
    Kept,
    LeftOut,
}

fn too_large(size: usize, limit: usize) -> Violation {
    let message = format!("the event has {size} bytes, attributes and data; at most {limit} are taken");
    Violation::whole(Code::EnvelopeSize, message)
}

/// JSON, complete unless it would not fit into the record: then the first of them, and how many more.
fn violations_header(violations: &[Violation]) -> Vec<u8> {
    let json = |violations: Vec<Violation>| serde_json::to_vec(&Rejection { violations }).unwrap_or_default();
    let all = json(violations.to_vec());
    if all.len() <= MAX_VIOLATION_BYTES {
        return all;
    }
    let mut kept = Vec::new();
    let mut bytes = 0;
    for violation in violations {
        bytes += json(vec![violation.clone()]).len();
        if bytes > MAX_VIOLATION_BYTES {
            break;
        }
        kept.push(violation.clone());
    }
    let more = violations.len() - kept.len();
    kept.push(Violation::whole(Code::EnvelopeSize, format!("and {more} more violations")));
    json(kept)
}
