//! Batches that are refused whatever else is in their answer. The client fetches such a batch again twice a second as long
//! as it is there, and would decompress it up to its bound each time, on the thread that reads for everybody.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

use crate::budget;

/// Of a thread; the oldest is forgotten. A partition has one batch at which it stands, and a dataset a thousand partitions.
const MOST: usize = 1_024;

#[derive(Default)]
struct Refused {
    /// With a key that no publisher knows, so that nobody makes a batch that passes for another.
    hasher: RandomState,
    /// Bytes and hash, as they came.
    batches: VecDeque<(usize, u64)>,
}

thread_local! {
    static REFUSED: RefCell<Refused> = RefCell::default();
}

/// Whether it was refused for good. Only what is as long as one of those is looked at.
pub(crate) fn knows(compressed: &[u8]) -> bool {
    REFUSED.with_borrow(|refused| {
        refused.batches.iter().any(|(bytes, _)| *bytes == compressed.len())
            && refused.batches.contains(&(compressed.len(), refused.hasher.hash_one(compressed)))
    })
}

/// It was refused. Where others took of its room it may fit into another answer, and is not kept.
pub(crate) fn note(compressed: &[u8]) {
    if !budget::is_all(compressed.len()) {
        return;
    }
    REFUSED.with_borrow_mut(|refused| {
        if refused.batches.len() == MOST {
            refused.batches.pop_front();
        }
        let hash = refused.hasher.hash_one(compressed);
        refused.batches.push_back((compressed.len(), hash));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_may_stand_are_known_and_the_oldest_is_forgotten_for_one_more() {
        budget::begin();
        for number in 0..MOST {
            note(&number.to_be_bytes());
        }
        assert!((0..MOST).all(|number| knows(&number.to_be_bytes())));
        note(&MOST.to_be_bytes());
        assert!(knows(&MOST.to_be_bytes()) && knows(&1_usize.to_be_bytes()));
        assert!(!knows(&0_usize.to_be_bytes()));
        assert!(!knows(&[0; 9]) && !knows(b""));
    }
}
