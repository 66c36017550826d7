//! A table that grows by a seventeenth instead of doubling, because a register of millions of entities is most of what a service
//! holds: rows stand in the order of their hashes, each at or behind the place that its hash names, with empty slots between
//! (linear probing, ordered). Growing spreads the rows over the larger array in place.

use super::Hashed;

/// Rows with a value each, 12 bytes and the value's own; of a hundred slots 85 to 90 are taken.
#[derive(Debug, Clone, Default)]
pub struct Table<V> {
    /// As many as `homes`, and those behind them that were pushed out of the last ones.
    slots: Vec<Row<V>>,
    homes: usize,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Row<V> {
    hash: Hashed,
    value: V,
}

impl<V: Copy + Default> Row<V> {
    fn none() -> Self {
        Self { hash: Hashed::NONE, value: V::default() }
    }

    fn is_none(&self) -> bool {
        self.hash == Hashed::NONE
    }
}

impl<V: Copy + Default> Table<V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn contains(&self, hash: Hashed) -> bool {
        self.find(hash).is_ok()
    }

    pub fn get(&self, hash: Hashed) -> Option<V> {
        self.find(hash).ok().map(|index| self.slots[index].value)
    }

    /// Returns the value that the hash had before.
    pub fn insert(&mut self, hash: Hashed, value: V) -> Option<V> {
        let mut index = match self.find(hash) {
            Ok(index) => return Some(std::mem::replace(&mut self.slots[index].value, value)),
            Err(index) => index,
        };
        if self.is_full() {
            self.grow();
            index = self.find(hash).unwrap_or_else(|place| place);
        }
        let gap = index + self.slots[index..].iter().take_while(|row| !row.is_none()).count();
        if gap == self.slots.len() {
            self.slots.reserve_exact(1);
            self.slots.push(Row::none());
        }
        self.slots.copy_within(index..gap, index + 1);
        self.slots[index] = Row { hash, value };
        self.len += 1;
        None
    }

    /// Returns the value that the hash had.
    pub fn remove(&mut self, hash: Hashed) -> Option<V> {
        let index = self.find(hash).ok()?;
        let value = self.slots[index].value;
        // Rows that stand behind their homes move up.
        let mut behind = index + 1;
        while self.slots.get(behind).is_some_and(|row| !row.is_none() && home(row.hash, self.homes) < behind) {
            behind += 1;
        }
        self.slots.copy_within(index + 1..behind, index);
        self.slots[behind - 1] = Row::none();
        self.len -= 1;
        Some(value)
    }

    /// True where the next new hash makes the table larger: a caller who can do without some rows drops them first.
    pub fn is_full(&self) -> bool {
        (self.len + 1) * 10 > self.homes * 9
    }

    /// By a seventeenth.
    fn grow(&mut self) {
        let homes = homes_for(self.len);
        // No row's home moves by more than that.
        let by = homes - self.homes;
        self.homes = homes;
        let free = self.spread(by);
        self.slots.truncate(homes.max(free));
    }

    /// Drops what is not to be kept, and makes the table as large as the rest asks for.
    pub fn retain(&mut self, keep: impl Fn(V) -> bool) {
        let mut len = 0;
        for index in 0..self.slots.len() {
            let row = self.slots[index];
            if !row.is_none() && keep(row.value) {
                self.slots[len] = row;
                len += 1;
            }
        }
        self.slots.truncate(len);
        self.len = len;
        let homes = homes_for(len);
        self.homes = homes;
        let end = self.slots.iter().fold(0, |free, row| home(row.hash, homes).max(free) + 1).max(homes);
        self.spread(end - len);
        self.slots.shrink_to_fit();
    }

    /// Moves all slots by so many, and from there each row to its place. No place may lie farther than that from where its row
    /// stood: then what is not moved yet is never in the way. Returns what is free behind the last row.
    fn spread(&mut self, by: usize) -> usize {
        let slots = self.slots.len();
        self.slots.reserve_exact(by);
        self.slots.resize(slots + by, Row::none());
        self.slots.copy_within(..slots, by);
        self.slots[..by].fill(Row::none());
        let mut free = 0;
        for from in by..slots + by {
            if self.slots[from].is_none() {
                continue;
            }
            let row = std::mem::replace(&mut self.slots[from], Row::none());
            let to = home(row.hash, self.homes).max(free);
            self.slots[to] = row;
            free = to + 1;
        }
        free
    }

    /// Where the hash is, or where it belongs.
    fn find(&self, hash: Hashed) -> Result<usize, usize> {
        let from = home(hash, self.homes);
        let before = self.slots[from..].iter().take_while(|row| !row.is_none() && row.hash < hash).count();
        let index = from + before;
        if self.slots.get(index).is_some_and(|row| row.hash == hash) { Ok(index) } else { Err(index) }
    }
}

/// For so many rows: 85 of a hundred taken.
fn homes_for(len: usize) -> usize {
    len + len * 3 / 17 + 8
}

/// Below `homes`, or 0 where there are none.
fn home(hash: Hashed, homes: usize) -> usize {
    ((u128::from(hash.leading()) * homes as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(Hashed, u32),
        Remove(Hashed),
        KeepAbove(u32),
    }

    /// Many that share their home, also the last one, and any.
    fn hash() -> impl Strategy<Value = Hashed> {
        let crowded = (prop_oneof![Just(7), Just(u32::MAX), 0..3_u32], 0..2_u32, 1..30_u32);
        prop_oneof![crowded.prop_map(|(a, b, c)| Hashed([a, b, c])), any::<u128>().prop_map(Hashed::new)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (hash(), any::<u32>()).prop_map(|(hash, value)| Step::Insert(hash, value)),
            3 => hash().prop_map(Step::Remove),
            1 => (0..u32::MAX / 8).prop_map(Step::KeepAbove),
        ]
    }

    proptest! {
        #[test]
        fn holds_what_a_map_of_the_standard_library_holds(steps in prop::collection::vec(step(), 0..150)) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Insert(hash, value) => prop_assert_eq!(table.insert(hash, value), map.insert(hash, value)),
                    Step::Remove(hash) => prop_assert_eq!(table.remove(hash), map.remove(&hash)),
                    Step::KeepAbove(least) => {
                        table.retain(|value| value >= least);
                        map.retain(|_, value| *value >= least);
                    }
                }
                let rows = table.slots.iter().filter(|row| !row.is_none());
                let rows: Vec<(Hashed, u32)> = rows.map(|row| (row.hash, row.value)).collect();
                prop_assert_eq!(rows, map.iter().map(|(hash, value)| (*hash, *value)).collect::<Vec<_>>());
                prop_assert_eq!(table.len(), map.len());
                for (hash, value) in &map {
                    prop_assert_eq!(table.get(*hash), Some(*value));
                }
            }
        }
    }

    #[test]
    fn of_a_hundred_slots_85_to_90_are_taken_and_the_rest_is_given_back() {
        let mut table = Table::default();
        let seed = crate::hashed::Seed::random();
        for number in 0..100_000_u32 {
            table.insert(seed.key(&number.to_be_bytes()), number);
            let (slots, len) = (table.slots.capacity(), table.len());
            assert!(len < 1_000 || (slots * 5 < len * 6 + 500 && len * 10 <= slots * 9 + 10), "{len} in {slots}");
        }
        assert!((0..100_000_u32).all(|number| table.get(seed.key(&number.to_be_bytes())) == Some(number)));
        table.retain(|number| number < 1_000);
        assert!(table.len() == 1_000 && table.slots.capacity() < 1_400, "{}", table.slots.capacity());
        assert_eq!(size_of::<Row<u32>>(), 16);
    }
}
