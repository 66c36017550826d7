//! Topics as lists of committed records.

use std::collections::{BTreeMap, HashMap};

use freshet_core::{Fault, Header, InRecord, OutRecord, Replay, ReplayRange, TopicPartition};

/// A committed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRecord {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl MemoryRecord {
    /// The first header of that name as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name)?;
        std::str::from_utf8(value).ok()
    }

    /// Calls with the record as a stage sees it.
    pub fn with_borrowed<R>(&self, topic: &str, partition: i32, call: impl FnOnce(&InRecord<'_>) -> R) -> R {
        let headers: Vec<Header<'_>> = self.headers.iter().map(|(name, value)| Header::new(name, value)).collect();
        call(&InRecord {
            topic,
            partition,
            offset: self.offset,
            timestamp_ms: Some(self.timestamp_ms),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
        })
    }
}

#[derive(Debug, Clone, Default)]
struct Partition {
    records: Vec<MemoryRecord>,
    /// The next offset. Runs ahead of the records where a transaction left its marker or compaction removed the tail.
    end: i64,
}

/// All topics and the group's committed offsets.
#[derive(Debug, Clone, Default)]
pub struct Bus {
    partitions: BTreeMap<TopicPartition, Partition>,
    committed: HashMap<TopicPartition, i64>,
    /// What the broker would write as time of a record without one.
    pub now_ms: i64,
}

fn place(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

impl Bus {
    /// An empty bus at that time.
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms, ..Self::default() }
    }

    /// Appends outside of any transaction, as a publisher does. Returns the offset.
    pub fn publish(
        &mut self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) -> i64 {
        let headers: Vec<Header<'_>> =
            headers.iter().map(|(name, value)| Header::new(name, value.as_bytes())).collect();
        self.append(&owned(&OutRecord {
            topic,
            partition,
            key,
            value,
            headers: &headers,
            extra: &[],
            timestamp_ms: None,
        }))
    }

    fn append(&mut self, (at, record): &(TopicPartition, MemoryRecord)) -> i64 {
        let now_ms = self.now_ms;
        let partition = self.partitions.entry(at.clone()).or_default();
        let offset = partition.end;
        let timestamp_ms = if record.timestamp_ms < 0 { now_ms } else { record.timestamp_ms };
        partition.records.push(MemoryRecord { offset, timestamp_ms, ..record.clone() });
        partition.end += 1;
        offset
    }

    /// Makes a transaction visible: its records, a marker on each partition that it wrote to, and the offsets.
    pub(super) fn commit(&mut self, staged: &Staged, offsets: &[(TopicPartition, i64)]) {
        for record in &staged.records {
            self.append(record);
        }
        for (place, _) in &staged.records {
            if let Some(partition) = self.partitions.get_mut(place)
                && partition.records.last().is_some_and(|last| last.offset + 1 == partition.end)
            {
                partition.end += 1;
            }
        }
        for (place, offset) in offsets {
            self.committed.insert(place.clone(), *offset);
        }
    }

    /// An aborted transaction leaves nothing but gaps in the offsets.
    pub(super) fn abort(&mut self, staged: &Staged) {
        for (place, _) in &staged.records {
            self.partitions.entry(place.clone()).or_default().end += 1;
        }
    }

    /// Keeps of each key the last record only, except from offset `from` on. With `drop_tombstones` a key whose last
    /// record there is a tombstone vanishes, as after `delete.retention.ms`.
    pub fn compact(&mut self, topic: &str, partition: i32, from: i64, drop_tombstones: DropTombstones) {
        let Some(log) = self.partitions.get_mut(&place(topic, partition)) else { return };
        let mut last: HashMap<Option<Vec<u8>>, i64> = HashMap::new();
        for record in &log.records {
            last.insert(record.key.clone(), record.offset);
        }
        log.records.retain(|record| {
            let is_last = last.get(&record.key) == Some(&record.offset);
            let is_gone = drop_tombstones == DropTombstones::Yes && record.value.is_none();
            record.offset >= from || (is_last && !is_gone)
        });
    }

    pub fn records(&self, topic: &str, partition: i32) -> &[MemoryRecord] {
        self.partitions.get(&place(topic, partition)).map_or(&[], |log| log.records.as_slice())
    }

    /// The offset of the next record.
    pub fn end(&self, topic: &str, partition: i32) -> i64 {
        self.partitions.get(&place(topic, partition)).map_or(0, |log| log.end)
    }

    pub fn committed(&self, topic: &str, partition: i32) -> i64 {
        self.committed.get(&place(topic, partition)).copied().unwrap_or(0)
    }

    /// Loses the group's offsets, as the broker does some time after the last member left.
    pub fn forget_offsets(&mut self) {
        self.committed.clear();
    }

    /// Deletes a topic, as the broker does: with the offsets that the group committed for it.
    pub fn delete_topic(&mut self, topic: &str) {
        self.partitions.retain(|place, _| place.topic != topic);
        self.committed.retain(|place, _| place.topic != topic);
    }

    pub fn topics(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// What compaction would leave at the end of time: of each key the value of its last record, without removed keys.
    pub fn compacted(&self, topic: &str, partition: i32) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut content = BTreeMap::new();
        for record in self.records(topic, partition) {
            let key = record.key.clone().unwrap_or_default();
            match &record.value {
                Some(value) => content.insert(key, value.clone()),
                None => content.remove(&key),
            };
        }
        content
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropTombstones {
    Yes,
    No,
}

fn owned(record: &OutRecord<'_>) -> (TopicPartition, MemoryRecord) {
    let headers = record.headers.iter().chain(record.extra);
    let record_owned = MemoryRecord {
        offset: -1,
        timestamp_ms: record.timestamp_ms.unwrap_or(-1),
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.name.to_owned(), header.value.to_vec())).collect(),
    };
    (place(record.topic, record.partition), record_owned)
}

/// The outputs of an open transaction.
#[derive(Debug, Default)]
pub(super) struct Staged {
    records: Vec<(TopicPartition, MemoryRecord)>,
}

impl freshet_core::Output for Staged {
    fn send(&mut self, record: OutRecord<'_>) -> Result<(), Fault> {
        self.records.push(owned(&record));
        Ok(())
    }
}

impl Replay for &Bus {
    fn replay(
        &mut self,
        topic: &str,
        partition: i32,
        range: ReplayRange,
        each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
    ) -> Result<i64, Fault> {
        let until = range.until.unwrap_or_else(|| self.end(topic, partition));
        let mut read = 0;
        for record in self.records(topic, partition) {
            if record.offset < range.from || record.offset >= until {
                continue;
            }
            if range.limit.is_some_and(|limit| read >= limit) {
                return Ok(record.offset);
            }
            record.with_borrowed(topic, partition, |borrowed| each(borrowed))?;
            read += 1;
        }
        Ok(until.max(range.from))
    }
}
