//! What is left of an answer's memory. An answer is read by one thread from beginning to end.

use std::cell::Cell;

use crate::{records, refused};

/// Of one answer of a broker, decompressed, in bytes: the batches, and `RECORD_BYTES` for each of their records. A batch that
/// is more alone, and more than `ORDINARY` times as long as it came, is never read.
const ANSWER_BYTES: usize = 32 << 20;
/// What librdkafka holds for a record beside its bytes: 304 (an `rd_kafka_op_t` of a fetch), and what the allocator adds.
const RECORD_BYTES: usize = 320;
/// A batch that costs at most so many times its length as it came is read whatever is left, so that nobody waits for the
/// batches of somebody else. An answer is bounded as it comes, and what is ordinary in it is so too.
const ORDINARY: usize = 16;

thread_local! {
    static LEFT: Cell<usize> = const { Cell::new(ANSWER_BYTES) };
}

/// Another answer begins on this thread.
pub(crate) fn begin() {
    LEFT.set(ANSWER_BYTES);
}

/// What a batch may cost that came as so many bytes.
pub(crate) fn room(compressed_bytes: usize) -> usize {
    LEFT.get().max(compressed_bytes.saturating_mul(ORDINARY))
}

/// Whether a batch that came as so many bytes has all the room that it will ever have, whatever else was in its answer.
pub(crate) fn is_all(compressed_bytes: usize) -> bool {
    room(compressed_bytes) >= ANSWER_BYTES
}

/// A batch, decompressed into the room that there is, and taken from what is left. `None` where it is damaged or does not
/// fit; one that never will is not decompressed again.
pub(crate) fn within(compressed: &[u8], decompress: impl FnOnce(&[u8], usize) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    if refused::knows(compressed) {
        return None;
    }
    let batch = decompress(compressed, room(compressed.len())).filter(|batch| spend(batch, compressed.len()));
    if batch.is_none() {
        refused::note(compressed);
    }
    batch
}

/// Takes a decompressed batch from what is left. False where it does not fit.
#[must_use]
pub(crate) fn spend(batch: &[u8], compressed_bytes: usize) -> bool {
    let Some(for_records) = room(compressed_bytes).checked_sub(batch.len()) else { return false };
    let records = records::count(batch, for_records / RECORD_BYTES) * RECORD_BYTES;
    if records > for_records {
        return false;
    }
    LEFT.set(LEFT.get().saturating_sub(batch.len() + records));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of this length in all, as far as counting looks at it.
    fn record(bytes: usize) -> Vec<u8> {
        assert!((2..=64).contains(&bytes), "a length of one byte, as zigzag");
        let mut record = vec![0; bytes];
        record[0] = u8::try_from((bytes - 1) * 2).unwrap();
        record
    }

    /// One record, which ends behind the batch.
    fn one(bytes: usize) -> Vec<u8> {
        vec![0xff; bytes - RECORD_BYTES]
    }

    #[test]
    fn an_answer_has_room_for_so_much_and_a_byte_more_is_refused() {
        begin();
        assert!(!spend(&one(ANSWER_BYTES + 1), 100));
        assert!(spend(&one(ANSWER_BYTES), 100), "what was refused cost nothing");
        assert!(!spend(&one(ANSWER_BYTES / 2), 100));
        begin();
        assert!(spend(&one(ANSWER_BYTES / 2), 100), "the next answer has its own");
        assert!(spend(&one(ANSWER_BYTES / 2), 100));
        assert!(!spend(&one(RECORD_BYTES + 1), 10));
    }

    #[test]
    fn whatever_others_took_what_is_ordinary_is_read() {
        begin();
        assert!(spend(&one(ANSWER_BYTES), 100));
        for (bytes, fits) in [(ORDINARY * 1_000, true), (ORDINARY * 1_000 + 1, false)] {
            assert_eq!(spend(&one(bytes), 1_000), fits, "{bytes} bytes of 1,000");
        }
        assert!(spend(&one(ANSWER_BYTES * 2), ANSWER_BYTES / 8), "however long it is");
    }

    #[test]
    fn what_never_fits_is_decompressed_once() {
        let decompressed = Cell::new(0);
        let reads = |compressed: &[u8], bytes: usize| {
            let before = decompressed.get();
            let read = within(compressed, |_, room| {
                decompressed.set(before + 1);
                (bytes <= room).then(|| one(bytes))
            });
            (read.is_some(), decompressed.get() - before)
        };
        begin();
        assert_eq!(reads(b"bomb", ANSWER_BYTES * 2), (false, 1));
        assert_eq!(reads(b"bomb", ANSWER_BYTES * 2), (false, 0));
        assert_eq!(reads(b"comb", ANSWER_BYTES / 2), (true, 1), "of the same length");
        assert_eq!(reads(b"most", ANSWER_BYTES), (false, 1), "others were in this answer");
        begin();
        assert_eq!(reads(b"bomb", ANSWER_BYTES * 2), (false, 0), "in no other answer either");
        assert_eq!(reads(b"most", ANSWER_BYTES), (true, 1));
        let long = vec![1; ANSWER_BYTES / ORDINARY];
        assert_eq!(reads(&long, ANSWER_BYTES * 2), (false, 1), "more room than this it never has");
        assert_eq!(reads(&long, ANSWER_BYTES * 2), (false, 0));
    }

    #[test]
    fn small_records_count_as_what_is_held_for_each() {
        let most = ANSWER_BYTES / (RECORD_BYTES + 8);
        for (count, fits) in [(most, true), (most + 1, false)] {
            begin();
            assert_eq!(spend(&record(8).repeat(count), 100), fits, "{count} records");
        }
    }
}
