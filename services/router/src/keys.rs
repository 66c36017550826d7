//! Which rows are in a filtered view: a row that leaves the filter is removed from the view, one that was never in is not
//! mentioned. Keys are kept as 128-bit hashes, about 20 bytes each. The view's own topic says the same, and is read back
//! whenever the state is rebuilt.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};

use freshet_core::{Fault, Replay, ReplayRange, topics};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// This process's own, so that nobody outside can prepare two keys with one hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn random() -> Self {
        Self(RandomState::new().hash_one("freshet"))
    }

    pub(crate) fn hash(self, key: &[u8]) -> u128 {
        xxh3_128_with_seed(key, self.0)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Keys {
    hashes: HashSet<u128, Prehashed>,
}

impl Keys {
    /// Reads the view back: a row is in if its last record has a value.
    pub(crate) fn load(view: &str, partition: i32, seed: Seed, replay: &mut dyn Replay) -> Result<Self, Fault> {
        let mut keys = Self::default();
        replay.replay(&topics::view(view), partition, ReplayRange::default(), &mut |record| {
            let hash = seed.hash(record.key.unwrap_or_default());
            match record.value {
                Some(_) => keys.insert(hash),
                None => drop(keys.remove(hash)),
            }
            Ok(())
        })?;
        Ok(keys)
    }

    pub(crate) fn insert(&mut self, hash: u128) {
        self.hashes.insert(hash);
    }

    /// True where it was in.
    pub(crate) fn remove(&mut self, hash: u128) -> bool {
        self.hashes.remove(&hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
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
