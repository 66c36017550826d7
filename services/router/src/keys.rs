//! Which rows are in a filtered view: a row that leaves the filter is removed from the view, one that was never in is not
//! mentioned. Keys are kept as hashes, 14 to 15 bytes each with the table. The view's own topic says the same, and is read
//! back whenever the state is rebuilt.

use freshet_core::hashed::{Hashed, Seed, Table};
use freshet_core::{Fault, Replay, ReplayRange, topics};

#[derive(Debug, Default)]
pub(crate) struct Keys {
    hashes: Table<()>,
}

impl Keys {
    /// Reads the view back: a row is in if its last record has a value.
    pub(crate) fn load(view: &str, partition: i32, seed: Seed, replay: &mut dyn Replay) -> Result<Self, Fault> {
        let mut keys = Self::default();
        replay.replay(&topics::view(view), partition, ReplayRange::default(), &mut |record| {
            let hash = seed.key(record.key.unwrap_or_default());
            match record.value {
                Some(_) => keys.insert(hash),
                None => drop(keys.remove(hash)),
            }
            Ok(())
        })?;
        Ok(keys)
    }

    pub(crate) fn insert(&mut self, hash: Hashed) {
        self.hashes.insert(hash, ());
    }

    /// True where it was in.
    pub(crate) fn remove(&mut self, hash: Hashed) -> bool {
        self.hashes.remove(hash).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }
}
