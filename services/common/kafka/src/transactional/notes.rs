//! What the loop itself says of records that no stage can say anything of. The note goes to `reject.unassigned` in the
//! transaction that moves the offset: no record is passed over without an outcome that stays.

use freshet_core::{Code, Fault, Header, InRecord, OutRecord, Output, Rejection, Violation, headers, topics};

use crate::group::Gone;

/// A record whose output no topic takes must not stop the bus, nor vanish: the note says where it lies, without its bytes.
pub(super) fn set_aside(record: &InRecord<'_>, output: &mut dyn Output) -> Result<(), Fault> {
    let bytes = record.value.map_or(0, <[u8]>::len);
    let message = format!("what the bus writes for this event of {bytes} bytes is larger than a topic takes");
    note(
        Place { topic: record.topic, partition: record.partition, offset: record.offset, key: record.key },
        output,
        Violation::whole(Code::EnvelopeSize, message),
    )
}

/// Records that were gone before they were read: nobody can read them any more, but their publisher can send them again.
pub(super) fn gone(gone: &Gone, output: &mut dyn Output) -> Result<(), Fault> {
    let place = Place { topic: &gone.topic, partition: gone.partition, offset: gone.position, key: None };
    note(place, output, Violation::whole(Code::RecordsExpired, format!("{gone}; publish again what is missing")))
}

struct Place<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    key: Option<&'a [u8]>,
}

fn note(place: Place<'_>, output: &mut dyn Output, violation: Violation) -> Result<(), Fault> {
    let rejection = Rejection { violations: vec![violation] };
    let violations = serde_json::to_vec(&rejection).map_err(|error| Fault::fatal("write a violation", error))?;
    let from = format!("{}/{}/{}", place.topic, place.partition, place.offset);
    let dataset = place.topic.split_once('.').map_or("", |(_, dataset)| dataset);
    output.send(OutRecord {
        topic: topics::REJECT_UNASSIGNED,
        partition: -1,
        key: place.key,
        value: None,
        headers: &[],
        extra: &[
            Header::new(headers::VIOLATIONS, &violations),
            Header::new(headers::REJECTED_FROM, from.as_bytes()),
            Header::new(headers::REJECTED_DATASET, dataset.as_bytes()),
        ],
        timestamp_ms: None,
    })
}
