//! Step 1: the envelope. CloudEvents 1.0 in Kafka's binary mode (CloudEvents Kafka binding 1.0.2, §3.2), a key, a size
//! that every intermediary must take, and the partition that follows from the key.

use freshet_core::{Code, InRecord, Violation, headers};
use jiff::Timestamp;
use jiff::civil::Date;

/// The attributes that the other steps use. What is missing or malformed is `None` and already reported.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) source: Option<&'a str>,
    pub(crate) time: Option<Timestamp>,
    pub(crate) recorded_time: Option<Timestamp>,
    /// The day of `time` on the source's own calendar, i.e. in the offset that it wrote.
    pub(crate) date: Option<Date>,
    pub(crate) division: Option<&'a str>,
}

pub(crate) fn check<'a>(record: &InRecord<'a>, max_bytes: usize, violations: &mut Vec<Violation>) -> Envelope<'a> {
    let bytes = size(record);
    if bytes > max_bytes {
        let message = format!("{bytes} bytes with key and headers; the bus takes {max_bytes}");
        violations.push(Violation::whole(Code::EnvelopeSize, message));
    }
    if record.key.is_none_or(<[u8]>::is_empty) {
        violations.push(Violation::whole(Code::EnvelopeKey, "the record has no key"));
    }
    let found = Attributes::find(record);
    content_type(found.content_type, record.value.is_none(), violations);
    if let Some(version) = text(found.specversion, headers::SPECVERSION, violations)
        && version != "1.0"
    {
        violations.push(bad(headers::SPECVERSION, "must be 1.0"));
    }
    text(found.kind, headers::TYPE, violations);
    let (time, date) = timestamp(found.time, headers::TIME, violations).unzip();
    Envelope {
        id: text(found.id, headers::ID, violations),
        source: text(found.source, headers::SOURCE, violations),
        time,
        date,
        recorded_time: timestamp(found.recorded_time, headers::RECORDED_TIME, violations).map(|(time, _)| time),
        division: found.division.and_then(|value| utf8(headers::DIVISION, value, violations)),
    }
}

/// The first header of each name, found in one pass.
#[derive(Default)]
struct Attributes<'a> {
    content_type: Option<&'a [u8]>,
    specversion: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    time: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    recorded_time: Option<&'a [u8]>,
    division: Option<&'a [u8]>,
}

impl<'a> Attributes<'a> {
    fn find(record: &InRecord<'a>) -> Self {
        let mut found = Self::default();
        for header in record.headers {
            let place = match header.name {
                headers::CONTENT_TYPE => &mut found.content_type,
                headers::SPECVERSION => &mut found.specversion,
                headers::TYPE => &mut found.kind,
                headers::TIME => &mut found.time,
                headers::ID => &mut found.id,
                headers::SOURCE => &mut found.source,
                headers::RECORDED_TIME => &mut found.recorded_time,
                headers::DIVISION => &mut found.division,
                _ => continue,
            };
            place.get_or_insert(header.value);
        }
        found
    }
}

/// An entity's order and version rest on one partition having all its events, so a record that stands elsewhere is
/// refused, however it got there.
pub(crate) fn check_partition(record: &InRecord<'_>, partitions: i32, violations: &mut Vec<Violation>) {
    let Some(key) = record.key.filter(|key| !key.is_empty()) else { return };
    let expected = freshet_core::partition(key, partitions);
    if record.partition != expected {
        let message = format!(
            "the key belongs to partition {expected} of {partitions}, the record stands in {}: set the producer's \
             partitioner to murmur2 (librdkafka: partitioner=murmur2_random)",
            record.partition
        );
        violations.push(Violation::whole(Code::EnvelopeKey, message));
    }
}

/// Bytes of key, value and headers together.
pub(crate) fn size(record: &InRecord<'_>) -> usize {
    let headers: usize = record.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers
}

fn content_type(found: Option<&[u8]>, is_delete: bool, violations: &mut Vec<Violation>) {
    let Some(found) = found else { return };
    if found.starts_with(b"application/cloudevents") {
        let message = "structured mode is not taken from Kafka; send binary mode (ce_ headers, application/avro)";
        violations.push(bad(headers::CONTENT_TYPE, message));
    } else if !is_delete && found != headers::AVRO.as_bytes() {
        violations.push(bad(headers::CONTENT_TYPE, "must be application/avro"));
    }
}

/// A required attribute: there, UTF-8, not empty, without control characters.
fn text<'a>(value: Option<&'a [u8]>, name: &'static str, violations: &mut Vec<Violation>) -> Option<&'a str> {
    match value {
        None => violations.push(bad(name, "is missing")),
        Some([]) => violations.push(bad(name, "is empty")),
        Some(value) => return utf8(name, value, violations),
    }
    None
}

fn utf8<'a>(name: &'static str, value: &'a [u8], violations: &mut Vec<Violation>) -> Option<&'a str> {
    // The control characters are U+0000 to U+001F and U+007F to U+009F.
    let is_plain = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    match std::str::from_utf8(value) {
        Ok(text) if is_plain(text) || !text.chars().any(char::is_control) => return Some(text),
        Ok(_) => violations.push(bad(name, "has control characters")),
        Err(_) => violations.push(bad(name, "is not UTF-8")),
    }
    None
}

fn timestamp(value: Option<&[u8]>, name: &'static str, violations: &mut Vec<Violation>) -> Option<(Timestamp, Date)> {
    let value = value?;
    let parsed = std::str::from_utf8(value).ok().and_then(rfc3339);
    if parsed.is_none() {
        violations.push(bad(name, "is not an RFC 3339 time with an offset, e.g. 2026-01-31T08:00:00+08:00"));
    }
    parsed
}

/// The moment, and the day as written. RFC 3339 puts the day in the first ten characters.
fn rfc3339(text: &str) -> Option<(Timestamp, Date)> {
    if !matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let date = text.get(..10)?.parse().ok()?;
    Some((text.parse().ok()?, date))
}

fn bad(attribute: &'static str, message: &str) -> Violation {
    Violation::new(Code::EnvelopeAttribute, attribute, message)
}

#[cfg(test)]
mod tests {
    use freshet_core::Header;

    use super::*;

    const GOOD: &[(&str, &str)] = &[
        (headers::SPECVERSION, "1.0"),
        (headers::ID, "1"),
        (headers::SOURCE, "urn:a"),
        (headers::TYPE, "a.b"),
        (headers::TIME, "2026-01-01T01:00:00+08:00"),
        (headers::CONTENT_TYPE, headers::AVRO),
    ];

    /// The violations of a record with these headers changed (or removed, by `None`).
    fn violations(changes: &[(&str, Option<&[u8]>)]) -> Vec<Violation> {
        let mut all: Vec<Header<'_>> = GOOD.iter().map(|(name, value)| Header::new(name, value.as_bytes())).collect();
        for (name, value) in changes {
            all.retain(|header| header.name != *name);
            all.extend(value.map(|value| Header::new(name, value)));
        }
        let mut found = Vec::new();
        check(&record(&all), 300, &mut found);
        found
    }

    fn record<'a>(headers: &'a [Header<'a>]) -> InRecord<'a> {
        InRecord {
            topic: "publish.a",
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: Some(b"key"),
            value: Some(b"value"),
            headers,
        }
    }

    #[test]
    fn a_good_envelope() {
        assert_eq!(violations(&[]), []);
        let all: Vec<Header<'_>> = GOOD.iter().map(|(name, value)| Header::new(name, value.as_bytes())).collect();
        let envelope = check(&record(&all), 300, &mut Vec::new());
        assert_eq!(envelope.date, Some(Date::constant(2026, 1, 1)), "the source's day, not UTC's");
        assert_eq!(envelope.time, "2025-12-31T17:00:00Z".parse().ok());
    }

    #[test]
    fn every_mistake_at_once() {
        let found = violations(&[
            (headers::SPECVERSION, Some(b"0.3")),
            (headers::ID, None),
            (headers::SOURCE, Some(b"")),
            (headers::TYPE, Some(b"a\nb")),
            (headers::TIME, Some(b"yesterday")),
            (headers::CONTENT_TYPE, Some(b"text/plain")),
        ]);
        let fields: Vec<&str> = found.iter().filter_map(|violation| violation.field.as_deref()).collect();
        assert_eq!(fields, ["content-type", "ce_specversion", "ce_type", "ce_time", "ce_id", "ce_source"]);
        assert!(found.iter().all(|violation| violation.code == Code::EnvelopeAttribute));
    }

    #[test]
    fn a_record_at_its_bytes_and_one_more() {
        let all: Vec<Header<'_>> = GOOD.iter().map(|(name, value)| Header::new(name, value.as_bytes())).collect();
        let bytes = size(&record(&all));
        for (most, is_refused) in [(bytes, false), (bytes - 1, true)] {
            let mut found = Vec::new();
            check(&record(&all), most, &mut found);
            assert_eq!(found.iter().any(|violation| violation.code == Code::EnvelopeSize), is_refused, "{most}");
        }
    }

    #[test]
    fn size_counts_everything() {
        let large = [b'x'; 300];
        assert_eq!(violations(&[("other", Some(&large))])[0].code, Code::EnvelopeSize);
    }

    #[test]
    fn a_key_stands_in_its_partition() {
        let mut found = Vec::new();
        let mut record = record(&[]);
        record.partition = freshet_core::partition(b"key", 6);
        check_partition(&record, 6, &mut found);
        assert_eq!(found, []);
        record.partition += 1;
        check_partition(&record, 6, &mut found);
        assert_eq!(found[0].code, Code::EnvelopeKey);
    }
}
