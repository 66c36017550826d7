//! A partition that the client fetches no more, though it fetches the others: it may wait for ever for the answer of a broker
//! that is gone (librdkafka issue 4492). What the client itself says of such a partition is as old as its last answer, so that
//! it looks as if nothing were left; the brokers know better.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Topic and partition.
pub(super) type Place = (String, i32);

/// Between two looks. Where a partition had more at the one, the client must have gone on by the other.
const EVERY: Duration = Duration::from_secs(60);

/// How far the client is with a partition, by its statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fetched {
    /// The offset that it fetches next, behind markers of transactions too; negative where it does not know.
    pub(super) next: i64,
    /// What it has fetched and nobody has polled.
    pub(super) waiting: i64,
}

/// What had more at the last look, held against what is fetched at this one.
#[derive(Debug)]
pub(super) struct Stalls {
    /// The offset that was to be fetched next.
    unfinished: BTreeMap<Place, i64>,
    looked: Instant,
}

impl Default for Stalls {
    fn default() -> Self {
        Self { unfinished: BTreeMap::new(), looked: Instant::now() }
    }
}

impl Stalls {
    pub(super) fn is_due(&self) -> bool {
        self.looked.elapsed() >= EVERY
    }

    #[cfg(test)]
    pub(super) fn is_due_at_once(&mut self) {
        self.looked -= EVERY;
    }

    /// The first partition that had more a look ago, and is where it was. `ends` gives the last stable offsets, or nothing
    /// where the brokers do not say.
    pub(super) fn look(
        &mut self,
        fetched: &BTreeMap<Place, Fetched>,
        ends: impl FnOnce() -> Option<BTreeMap<Place, i64>>,
    ) -> Option<Place> {
        self.looked = Instant::now();
        let has_stayed = |(place, next): &(&Place, &i64)| fetched.get(*place).is_some_and(|at| at.next == **next);
        let stalled = self.unfinished.iter().find(has_stayed).map(|(place, _)| place.clone());
        let ends = if fetched.is_empty() { None } else { ends() }.unwrap_or_default();
        let unfinished = ends.into_iter().filter_map(|(place, end)| {
            let at = fetched.get(&place)?;
            (at.waiting == 0 && (0..end).contains(&at.next)).then_some((place, at.next))
        });
        self.unfinished = unfinished.collect();
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32) -> Place {
        ("topic".to_owned(), partition)
    }

    fn fetched(all: &[(i64, i64)]) -> BTreeMap<Place, Fetched> {
        (0..).zip(all).map(|(partition, &(next, waiting))| (place(partition), Fetched { next, waiting })).collect()
    }

    fn ends(all: &[i64]) -> Option<BTreeMap<Place, i64>> {
        Some((0..).zip(all).map(|(partition, &end)| (place(partition), end)).collect())
    }

    #[test]
    fn who_has_more_and_stays_is_stalled() {
        let mut stalls = Stalls::default();
        assert_eq!(stalls.look(&fetched(&[(7, 0), (3, 0)]), || ends(&[7, 9])), None);
        // What came meanwhile may be on its way.
        assert_eq!(stalls.look(&fetched(&[(7, 0), (3, 0)]), || ends(&[8, 9])), Some(place(1)));
        assert_eq!(stalls.look(&fetched(&[(8, 0), (9, 0)]), || ends(&[8, 9])), None);
        assert_eq!(stalls.look(&fetched(&[(8, 0), (9, 0)]), || ends(&[8, 9])), None);
    }

    #[test]
    fn who_works_off_a_backlog_is_not() {
        let mut stalls = Stalls::default();
        for next in (0..1_000_000).step_by(100_000) {
            assert_eq!(stalls.look(&fetched(&[(next, 0)]), || ends(&[1_000_000])), None);
        }
    }

    #[test]
    fn who_waits_to_be_polled_or_is_not_known_is_not() {
        let mut stalls = Stalls::default();
        let slow = fetched(&[(3, 2), (-1001, 0)]);
        assert_eq!(stalls.look(&slow, || ends(&[9, 9])), None);
        assert_eq!(stalls.look(&slow, || ends(&[9, 9])), None);
        // Partitions that were given back, and ends that nobody knows.
        assert_eq!(stalls.look(&BTreeMap::new(), || ends(&[9, 9])), None);
        assert_eq!(stalls.look(&fetched(&[(3, 0)]), || None), None);
        assert_eq!(stalls.look(&fetched(&[(3, 0)]), || None), None);
    }
}
