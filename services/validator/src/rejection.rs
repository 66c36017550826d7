//! What fails goes back to its publisher, unchanged, with everything that is wrong with it.

use freshet_core::{Fault, Header, InRecord, OutRecord, Output, Rejection, Violation, headers, topics};

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
    out.send(OutRecord {
        topic: &topic,
        partition,
        key: record.key,
        value: record.value,
        headers: cleaned.as_deref().unwrap_or(record.headers),
        extra: &[
            Header::new(headers::VIOLATIONS, &list),
            Header::new(headers::REJECTED_FROM, from.as_bytes()),
            Header::new(headers::REJECTED_DATASET, dataset.as_bytes()),
        ],
        timestamp_ms: None,
    })
}
