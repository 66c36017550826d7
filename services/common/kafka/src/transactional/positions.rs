//! How far a loop is: what a batch moves the offsets to.

use std::collections::BTreeMap;

use rdkafka::message::{BorrowedMessage, Message as _};

/// The offset of the next record by topic and partition.
pub(super) type Positions = BTreeMap<(String, i32), i64>;

pub(super) fn advance(positions: &mut Positions, batch: &[BorrowedMessage<'_>]) {
    let next = next_offsets(batch).into_iter();
    positions.extend(next.map(|((topic, partition), offset)| ((topic.to_owned(), partition), offset)));
}

/// Topic, partition and offset of the record behind the batch's last, for each partition that the batch has records of.
/// Records of a partition come in long runs, so only the last of each run is looked at.
pub(super) fn next_offsets<'b>(batch: &'b [BorrowedMessage<'_>]) -> BTreeMap<(&'b str, i32), i64> {
    let mut next: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    let is_same = |a: &BorrowedMessage<'_>, b: &BorrowedMessage<'_>| {
        a.partition() == b.partition() && a.topic_ptr() == b.topic_ptr()
    };
    for run in batch.chunk_by(is_same) {
        if let Some(last) = run.last() {
            next.insert((last.topic(), last.partition()), last.offset() + 1);
        }
    }
    next
}
