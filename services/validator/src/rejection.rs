//! What fails goes back to its publisher, unchanged, with everything that is wrong with it. What is larger than the bus can
//! write goes back as a note that says where it lies.

use freshet_core::{Fault, Header, InRecord, OutRecord, Output, Rejection, Violation, headers, topics};
use freshet_kafka::MAX_RECORD_BYTES;

use crate::envelope;

/// Headers that only the bus writes. A publisher that resends a rejection as it came must not carry the old reasons
/// along, and must not be able to invent them.
const OURS: &[&str] = &[
    headers::VIOLATIONS,
    headers::REJECTED_FROM,
    headers::REJECTED_DATASET,
    headers::REJECTED_LINE,
    headers::DATASET_OFFSET,
    headers::REMOVAL,
];

/// The record's headers without those that only the bus writes. `None`: it has none of them, as nearly always.
pub(crate) fn without_ours<'a>(record: &InRecord<'a>) -> Option<Vec<Header<'a>>> {
    let is_ours = |header: &Header<'_>| header.name.starts_with("freshet_") && OURS.contains(&header.name);
    if !record.headers.iter().any(is_ours) {
        return None;
    }
    Some(record.headers.iter().filter(|header| !is_ours(header)).copied().collect())
}

/// What the client adds to a record's own bytes, at most.
const OVERHEAD_BYTES: usize = 4096;
/// Of the key of a record that is too large to be sent back.
const MAX_NOTED_KEY_BYTES: usize = 4096;

/// `partition` is the record's own, so that rejections of one entity keep their order: reject topics have as many
/// partitions as the widest dataset (`freshet_catalog_model::topic`). -1: wherever the key belongs.
pub(crate) fn send(
    record: &InRecord<'_>,
    partition: i32,
    (department, violations): (Option<&str>, &[Violation]),
    out: &mut dyn Output,
) -> Result<(), Fault> {
    let list = Rejection { violations: violations.to_vec() };
    let list = serde_json::to_vec(&list).map_err(|error| Fault::fatal("write the violations", error))?;
    let from = format!("{}/{}/{}", record.topic, record.partition, record.offset);
    let dataset = record.topic.strip_prefix("publish.").unwrap_or(record.topic);
    let cleaned = without_ours(record);
    let topic = department.map_or_else(|| topics::REJECT_UNASSIGNED.to_owned(), topics::reject);
    let own = OutRecord {
        topic: &topic,
        partition,
        key: record.key,
        value: record.value,
        headers: cleaned.as_deref().unwrap_or(record.headers),
        extra: &[],
        timestamp_ms: None,
    };
    let fits = envelope::size(record) + list.len() + from.len() + OVERHEAD_BYTES <= MAX_RECORD_BYTES;
    // Without attributes it cannot be taken for an event: the null value of one would be a delete.
    let note =
        OutRecord { key: record.key.filter(|key| key.len() <= MAX_NOTED_KEY_BYTES), value: None, headers: &[], ..own };
    out.send(OutRecord {
        extra: &[
            Header::new(headers::VIOLATIONS, &list),
            Header::new(headers::REJECTED_FROM, from.as_bytes()),
            Header::new(headers::REJECTED_DATASET, dataset.as_bytes()),
        ],
        ..if fits { own } else { note }
    })
}
