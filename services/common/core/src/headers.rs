//! Header names. An event travels as CloudEvents 1.0 in Kafka binary mode (CloudEvents Kafka binding 1.0.2, §3.2):
//! attributes are `ce_` headers in UTF-8, `datacontenttype` is the `content-type` header.

pub const CONTENT_TYPE: &str = "content-type";
pub const SPECVERSION: &str = "ce_specversion";
pub const ID: &str = "ce_id";
pub const SOURCE: &str = "ce_source";
pub const TYPE: &str = "ce_type";
pub const SUBJECT: &str = "ce_subject";
/// When the change occurred at the source, RFC 3339.
pub const TIME: &str = "ce_time";
/// When the source recorded the change, RFC 3339 (CloudEvents extension `recordedtime`).
pub const RECORDED_TIME: &str = "ce_recordedtime";
/// The version of the entity as the source counts it: a decimal integer, zero-padded to at most 20 digits (CloudEvents
/// extension `sequence`).
pub const SEQUENCE: &str = "ce_sequence";
/// The administrative division that the event concerns (GB/T 2260 in the `cn` profile).
pub const DIVISION: &str = "ce_divcode";
pub const TRACEPARENT: &str = "ce_traceparent";

/// Written by the validator on a record of `reject.<department>`: the complete list of violations as JSON.
pub const VIOLATIONS: &str = "freshet_violations";
/// Written by the gateway or validator on a rejection: `<topic>/<partition>/<offset>`, or the way in that refused it.
pub const REJECTED_FROM: &str = "freshet_rejected_from";
/// Written on a rejection: the dataset that the event was meant for.
pub const REJECTED_DATASET: &str = "freshet_dataset";
/// Written on a rejection of a line of a file: `<file> line <n>`.
pub const REJECTED_LINE: &str = "freshet_line";
/// Written by the router on a view record: the offset of the canonical event in the dataset's partition.
pub const DATASET_OFFSET: &str = "freshet_dataset_offset";
/// Written by the router on a tombstone: why the row is removed, `deleted` or `left_filter`.
pub const REMOVAL: &str = "freshet_removal";
/// When the way in (gateway, publisher's client) handed the event to the bus, microseconds since the epoch.
pub const PUBLISHED_AT: &str = "freshet_published_at";

/// Media type of a payload in the Confluent wire format.
pub const AVRO: &str = "application/avro";
