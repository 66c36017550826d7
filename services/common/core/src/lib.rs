//! The domain of the bus: records, events, outcomes, violations, identifiers. Independent of Kafka, of async, of any
//! I/O: whatever is here can be called from a property test with nothing started.

pub mod authority;
pub mod clients;
pub mod fault;
pub mod hashed;
pub mod headers;
pub mod identifiers;
pub mod nearest;
pub mod receipt;
pub mod record;
pub mod replay;
pub mod stage;
pub mod text;
pub mod topics;
pub mod violation;
pub mod withheld;

pub use fault::Fault;
pub use receipt::{Receipt, ReceiptOutcome, Way};
pub use record::{Header, InRecord, OutRecord};
pub use stage::{Assigned, DropReason, Outcome, Output, Progress, Replay, ReplayRange, Stage, TopicPartition};
pub use violation::{Code, MAX_VIOLATIONS, Rejection, Violation};
pub use withheld::Withheld;

/// The partition of a key as Kafka's Java client chooses it (murmur2), so that every way in agrees on it.
pub fn partition(key: &[u8], count: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) % count.max(1)
}

fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

#[cfg(test)]
mod tests {
    /// Vectors of Apache Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(super::murmur2(text.as_bytes()), expected, "{text}");
        }
    }
}
