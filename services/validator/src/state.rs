//! What the validator remembers of one partition: of each entity the version, status and division that it accepted last,
//! and the ids that it accepted inside the duplicate window. All of it follows from `dataset.<dataset>` and is rebuilt
//! from there, so nothing has to be stored and nothing can disagree.
//!
//! Memory: an entity takes 32 bytes and the table's slack (38 to 75 in all), an id 40 and the slack (about 70) as long as it
//! is in the window.

use std::collections::{HashMap, VecDeque};

use freshet_core::hashed::{Hashed, HashedMap, HashedSet, Seed};

/// What was accepted last of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entity {
    pub(crate) version: u64,
    pub(crate) division: Division,
    pub(crate) standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    entities: HashedMap<Entity>,
    accepted: HashedSet,
    /// When each id was accepted, milliseconds since the epoch, oldest first.
    accepted_at: VecDeque<(i64, Hashed)>,
    pub(crate) divisions: Divisions,
}

impl PartitionState {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            seed,
            entities: HashedMap::default(),
            accepted: HashedSet::default(),
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
    fn an_entity_takes_what_is_said_above() {
        assert_eq!(size_of::<(Hashed, Entity)>(), 32);
        assert_eq!(size_of::<(i64, Hashed)>() + size_of::<Hashed>(), 40);
    }

    #[test]
    fn a_division_keeps_its_number() {
        let mut divisions = Divisions::default();
        let (a, b) = (divisions.number("a"), divisions.number("b"));
        assert_eq!((divisions.number("a"), divisions.text(a), divisions.text(b)), (a, "a", "b"));
    }
}
