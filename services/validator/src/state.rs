//! What the validator remembers of one partition: of each entity the version, status and division that it accepted last,
//! and the ids that it accepted inside the duplicate window. All of it follows from `dataset.<dataset>` and is rebuilt
//! from there, so nothing has to be stored and nothing can disagree.
//!
//! Memory: an entity takes 24 bytes and the table's slack (27 to 28 in all), an id 16 and the slack (18 to 19) as long as it
//! is in the window, and up to an hour longer.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use freshet_core::hashed::{Seed, Table};

/// Ids that have left the window are dropped so often, and whenever their table would have to grow.
const DROP_EVERY_MS: i64 = 3_600_000;

/// What was accepted last of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entity {
    pub(crate) version: u64,
    pub(crate) division: Division,
    pub(crate) standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    Deleted,
    /// In a dataset without transitions.
    Present,
    /// By its number in the dataset's transitions.
    InStatus(u16),
}

impl Standing {
    /// Where `is_delete`, or of this status if the dataset has any.
    pub(crate) fn new(is_delete: bool, status: Option<u16>) -> Self {
        match status {
            _ if is_delete => Self::Deleted,
            None => Self::Present,
            Some(status) => Self::InStatus(status),
        }
    }

    pub(crate) fn status(self) -> Option<u16> {
        match self {
            Self::InStatus(status) => Some(status),
            Self::Deleted | Self::Present => None,
        }
    }
}

/// A division, by its number in [`Divisions`]: there are few, and many entities in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Division(u32);

#[derive(Debug, Default)]
pub(crate) struct Divisions(Numbered<String>);

impl Divisions {
    pub(crate) fn number(&mut self, text: &str) -> Division {
        Division(self.0.number(text))
    }

    pub(crate) fn text(&self, division: Division) -> &str {
        self.0.get(division.0).map_or("", String::as_str)
    }
}

/// Few things that many entities share, by the order in which they were first seen.
#[derive(Debug)]
struct Numbered<T> {
    things: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { things: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    fn number<Q>(&mut self, thing: &Q) -> u32
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + Eq + Hash + ?Sized,
    {
        if let Some(number) = self.numbers.get(thing) {
            return *number;
        }
        let number = u32::try_from(self.things.len()).unwrap_or(u32::MAX);
        self.things.push(thing.to_owned());
        self.numbers.insert(thing.to_owned(), number);
        number
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.things.get(number as usize)
    }
}

/// What the table keeps of an [`Entity`]: in each division many are in the same standing, so the two are one number.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    version: [u32; 2],
    kind: u32,
}

#[derive(Debug)]
pub(crate) struct PartitionState {
    seed: Seed,
    entities: Table<Kept>,
    kinds: Numbered<(Division, Standing)>,
    /// The second at whose end each id was accepted, since the epoch.
    accepted: Table<u32>,
    /// Milliseconds since the epoch.
    window_begins_ms: i64,
    dropped_until_ms: i64,
    pub(crate) divisions: Divisions,
}

impl PartitionState {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            seed,
            entities: Table::default(),
            kinds: Numbered::default(),
            accepted: Table::default(),
            window_begins_ms: i64::MIN,
            dropped_until_ms: i64::MIN,
            divisions: Divisions::default(),
        }
    }

    pub(crate) fn entity(&self, key: &[u8]) -> Option<Entity> {
        let Kept { version: [high, low], kind } = self.entities.get(self.seed.key(key))?;
        let &(division, standing) = self.kinds.get(kind)?;
        Some(Entity { version: (u64::from(high) << 32) | u64::from(low), division, standing })
    }

    pub(crate) fn accept(&mut self, key: &[u8], entity: Entity) {
        let Entity { version, division, standing } = entity;
        let kind = self.kinds.number(&(division, standing));
        self.entities.insert(self.seed.key(key), Kept { version: [(version >> 32) as u32, version as u32], kind });
    }

    /// True where the event was accepted inside the window.
    pub(crate) fn has_accepted(&self, source: &str, id: &str) -> bool {
        let at = self.accepted.get(self.seed.event(source, id));
        at.is_some_and(|at| is_in_window(at, self.window_begins_ms))
    }

    pub(crate) fn remember(&mut self, source: &str, id: &str, at_ms: i64) {
        if self.accepted.is_full() {
            self.drop_old();
        }
        let second = u32::try_from(at_ms.max(0).saturating_add(999) / 1_000).unwrap_or(u32::MAX);
        self.accepted.insert(self.seed.event(source, id), second);
    }

    /// Forgets the ids that were accepted in a second that was over before `until_ms`.
    pub(crate) fn expire(&mut self, until_ms: i64) {
        self.window_begins_ms = until_ms;
        if until_ms.saturating_sub(self.dropped_until_ms) >= DROP_EVERY_MS {
            self.drop_old();
        }
    }

    fn drop_old(&mut self) {
        let begins = self.window_begins_ms;
        self.dropped_until_ms = begins;
        self.accepted.retain(|at| is_in_window(at, begins));
    }

    /// Entities, and ids that are held.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.entities.len(), self.accepted.len())
    }
}

fn is_in_window(at: u32, begins_ms: i64) -> bool {
    i64::from(at) * 1_000 >= begins_ms
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
        state.remember("urn:a", "1", 2_000);
        assert!(state.has_accepted("urn:a", "1"), "what comes again behind the window is remembered anew");
    }

    #[test]
    fn ids_behind_the_window_take_no_memory_for_long() {
        let mut state = PartitionState::new(Seed::random());
        for number in 0..10_000_i64 {
            state.remember("urn:a", &number.to_string(), number * 10_000);
            state.expire(number * 10_000 - 1_000_000);
            assert!(state.sizes().1 <= 500, "a hundred are in the window: {:?}", state.sizes());
        }
    }

    #[test]
    fn an_entity_is_what_was_accepted_last() {
        let mut state = PartitionState::new(Seed::random());
        let (here, there) = (state.divisions.number("here"), state.divisions.number("there"));
        let first = Entity { version: u64::MAX - 1, division: here, standing: Standing::InStatus(3) };
        let second = Entity { version: 1 << 63, division: there, standing: Standing::Deleted };
        state.accept(b"a", first);
        state.accept(b"b", first);
        state.accept(b"a", second);
        assert_eq!((state.entity(b"a"), state.entity(b"b"), state.entity(b"c")), (Some(second), Some(first), None));
    }

    #[test]
    fn an_entity_takes_what_is_said_above() {
        let (hash, entity, id) = (12, size_of::<Kept>(), size_of::<u32>());
        assert_eq!((hash + entity, hash + id), (24, 16));
    }

    #[test]
    fn a_division_keeps_its_number() {
        let mut divisions = Divisions::default();
        let (a, b) = (divisions.number("a"), divisions.number("b"));
        assert_eq!((divisions.number("a"), divisions.text(a), divisions.text(b)), (a, "a", "b"));
    }
}
