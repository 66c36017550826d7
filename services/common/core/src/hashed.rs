//! Keys and ids, kept by their 128-bit hashes: what a stage remembers of millions of entities.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// The seed of a process's hashes: its own, so that nobody outside can prepare two texts with one hash.
#[derive(Debug, Clone, Copy)]
pub struct Seed(u64);

impl Seed {
    pub fn random() -> Self {
        Self(RandomState::new().hash_one("freshet"))
    }

    /// Of an entity's key.
    pub fn key(self, key: &[u8]) -> Hashed {
        Hashed::new(xxh3_128_with_seed(key, self.0))
    }

    /// Of an event, which `source` and `id` name together.
    pub fn event(self, source: &str, id: &str) -> Hashed {
        Hashed::new(xxh3_128_with_seed(id.as_bytes(), xxh3_64_with_seed(source.as_bytes(), self.0)))
    }
}

/// 128 bits of hash in two halves, which tables keep without the gaps that a `u128` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed([u64; 2]);

impl Hashed {
    fn new(hash: u128) -> Self {
        Self([hash as u64, (hash >> 64) as u64])
    }
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

pub type HashedMap<V> = HashMap<Hashed, V, Prehashed>;
pub type HashedSet = HashSet<Hashed, Prehashed>;

/// Tables of hashes need no other hash.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prehashed;

#[derive(Debug, Default)]
pub struct TakeHash(u64);

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

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_and_id_are_not_run_together() {
        let seed = Seed::random();
        assert_ne!(seed.event("urn:a", "b1"), seed.event("urn:ab", "1"));
    }

    #[test]
    fn keys_that_share_half_of_their_hash_are_two() {
        let mut set = HashedSet::default();
        set.insert(Hashed([7, 1]));
        assert!(!set.contains(&Hashed([7, 2])) && set.contains(&Hashed([7, 1])));
        assert_ne!(Seed(1).key(b"a"), Seed(2).key(b"a"), "the seed counts");
    }
}
