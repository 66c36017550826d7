//! The same as [`crate::group`]'s stalls, for a client that tells no statistics: a partition whose end has moved, and of
//! which neither a record nor the end is heard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// Whoever has not listened for so long has heard nothing for that reason.
const ABSENT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Silence {
    looked: Instant,
    listened: Instant,
    /// As of the last look, and those of them that moved between the last two.
    ends: BTreeMap<i32, i64>,
    moved: BTreeSet<i32>,
    /// Who was heard since the last look, and between the last two.
    heard: BTreeSet<i32>,
    heard_before: BTreeSet<i32>,
}

impl Default for Silence {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            looked: now,
            listened: now,
            ends: BTreeMap::new(),
            moved: BTreeSet::new(),
            heard: BTreeSet::new(),
            heard_before: BTreeSet::new(),
        }
    }
}

impl Silence {
    pub(super) fn hear(&mut self, partition: i32) {
        self.heard.insert(partition);
    }

    /// To be called whenever somebody listens. True where it is time to look.
    pub(super) fn is_due(&mut self) -> bool {
        if self.listened.elapsed() > ABSENT {
            *self = Self::default();
        }
        self.listened = Instant::now();
        self.looked.elapsed() >= EVERY
    }

    /// The first partition that moved a look ago, and that was not heard since the look before that.
    pub(super) fn look(&mut self, ends: BTreeMap<i32, i64>) -> Option<i32> {
        self.looked = Instant::now();
        let is_silent = |partition: &&i32| !self.heard.contains(partition) && !self.heard_before.contains(partition);
        let silent = self.moved.iter().find(is_silent).copied();
        let has_moved = |(partition, end): &(&i32, &i64)| self.ends.get(*partition).is_some_and(|before| before < *end);
        self.moved = ends.iter().filter(has_moved).map(|(partition, _)| *partition).collect();
        self.heard_before = std::mem::take(&mut self.heard);
        self.ends = ends;
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_and_is_not_heard_is_found_a_look_later() {
        let mut silence = Silence::default();
        let ends = |ends: [i64; 2]| (0..).zip(ends).collect::<BTreeMap<i32, i64>>();
        assert_eq!(silence.look(ends([5, 5])), None);
        // Both move, one is heard before the look that sees it.
        silence.hear(0);
        assert_eq!(silence.look(ends([6, 6])), None);
        assert_eq!(silence.look(ends([6, 6])), Some(1));
        // Nothing moves: silence is what is expected.
        assert_eq!(silence.look(ends([6, 6])), None);
        assert_eq!(silence.look(ends([6, 7])), None);
        silence.hear(1);
        assert_eq!(silence.look(ends([6, 7])), None);
    }
}
