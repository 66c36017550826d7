//! What the validator remembers of one partition: of each entity the version, status and division that it accepted last,
//! and the ids that it accepted inside the duplicate window. All of it follows from `dataset.<dataset>` and is rebuilt
//! from there, so nothing has to be stored and nothing can disagree.
//!
//! Memory: an entity takes 32 bytes and the table's slack (about 50 in all), an id about 60 as long as it is in the
//! window. Ten million entities on one instance are half a gigabyte.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// Keys and ids are kept as 128-bit hashes. The seed is this process's own, so that nobody outside can prepare two texts
/// with one hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn random() -> Self {
        Self(RandomState::new().hash_one("freshet"))
    }

    fn key(self, key: &[u8]) -> u128 {
        xxh3_128_with_seed(key, self.0)
    }

    fn event(self, source: &str, id: &str) -> u128 {
        xxh3_128_with_seed(id.as_bytes(), xxh3_64_with_seed(source.as_bytes(), self.0))
    }
}

/// What was accepted last of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entity {
    pub(crate) version: u64,
    pub(crate) division: Division,
    /// By its number in the dataset's transitions; `None` where it has none, and after a delete.
    pub(crate) status: Option<u16>,
    pub(crate) deleted: bool,
}

/// A division, by its number in [`Divisions`]: there are few, and many entities in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Division(u32);

#[derive(Debug, Default)]
pub(crate) struct Divisions {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Divisions {
    pub(crate) fn number(&mut self, text: &str) -> Division {
        if let Some(number) = self.numbers.get(text) {
            return Division(*number);
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        Division(number)
    }

    pub(crate) fn text(&self, division: Division) -> &str {
        self.texts.get(division.0 as usize).map_or("", String::as_str)
    }
}

#[derive(Debug)]
pub(crate) struct PartitionState {
    seed: Seed,
    entities: HashMap<u128, Entity, Prehashed>,
    accepted: HashSet<u128, Prehashed>,
    /// When each id was accepted, milliseconds since the epoch, oldest first.
    accepted_at: VecDeque<(i64, u128)>,
    pub(crate) divisions: Divisions,
}

impl PartitionState {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            seed,
            entities: HashMap::default(),
            accepted: HashSet::default(),
            accepted_at: VecDeque::new(),
            divisions: Divisions::default(),
        }
    }

    pub(crate) fn entity(&self, key: &[u8]) -> Option<Entity> {
        self.entities.get(&self.seed.key(key)).copied()
    }

    pub(crate) fn accept(&mut self, key: &[u8], entity: Entity) {
        self.entities.insert(self.seed.key(key), entity);
    }

    /// True where the event was accepted inside the window.
    pub(crate) fn has_accepted(&self, source: &str, id: &str) -> bool {
        self.accepted.contains(&self.seed.event(source, id))
    }

    pub(crate) fn remember(&mut self, source: &str, id: &str, at_ms: i64) {
        let event = self.seed.event(source, id);
        if self.accepted.insert(event) {
            self.accepted_at.push_back((at_ms, event));
        }
    }

    /// Forgets the ids that were accepted before `until_ms`.
    pub(crate) fn expire(&mut self, until_ms: i64) {
        while let Some((_, event)) = self.accepted_at.pop_front_if(|(at_ms, _)| *at_ms < until_ms) {
            self.accepted.remove(&event);
        }
    }

    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.entities.len(), self.accepted.len())
    }
}

/// The keys are hashes already.
#[derive(Debug, Clone, Copy, Default)]
struct Prehashed;

#[derive(Debug, Default)]
struct TakeHash(u64);

impl BuildHasher for Prehashed {
    type Hasher = TakeHash;

    fn build_hasher(&self) -> TakeHash {
        TakeHash::default()
    }
}

impl Hasher for TakeHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_remembered_for_the_window() {
        let mut state = PartitionState::new(Seed::random());
        state.remember("urn:a", "1", 1_000);
        state.remember("urn:a", "2", 2_000);
        state.expire(1_000);
        assert!(state.has_accepted("urn:a", "1") && state.has_accepted("urn:a", "2"));
        state.expire(1_001);
        assert!(!state.has_accepted("urn:a", "1") && state.has_accepted("urn:a", "2"));
        assert_eq!(state.sizes(), (0, 1));
    }

    #[test]
    fn source_and_id_are_not_run_together() {
        let seed = Seed::random();
        assert_ne!(seed.event("urn:a", "b1"), seed.event("urn:ab", "1"));
    }

    #[test]
    fn a_division_keeps_its_number() {
        let mut divisions = Divisions::default();
        let (a, b) = (divisions.number("a"), divisions.number("b"));
        assert_eq!((divisions.number("a"), divisions.text(a), divisions.text(b)), (a, "a", "b"));
    }
}
