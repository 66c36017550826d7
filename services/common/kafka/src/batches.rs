//! Batches with offsets that the reader keeps itself: the database sink (offset and data in one database transaction)
//! and the pull API (the offset is the cursor).

mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::calls::{Asked, TIMEOUT};
use crate::client::Loner;
use crate::error::{Exit, classify};
use crate::offsets::{Offsets, Watermarks};
use crate::{Connection, Error, OwnedRecord, TopicId, client, offsets, settings};
use silence::Silence;

/// A batch that has as much is closed: records may be large, and there are many readers.
pub const BATCH_BYTES: usize = 1 << 20;

/// Reads committed records of assigned partitions. Blocking: async callers use `spawn_blocking`.
pub struct BatchReader {
    /// The one client that reads and that is asked: there are many readers, and each client has threads and memory of its
    /// own.
    offsets: Offsets,
    asked: Asked,
    silence: Silence,
    topic: String,
    /// Per partition the offset of the next record that was not handed out yet.
    positions: BTreeMap<i32, i64>,
    /// Partitions of which everything was handed out when the broker was last heard of them.
    ended: BTreeSet<i32>,
}

impl std::fmt::Debug for BatchReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchReader")
            .field("topic", &self.topic)
            .field("positions", &self.positions)
            .finish_non_exhaustive()
    }
}

impl BatchReader {
    /// `role` names the client in the broker's logs. Nothing is read before [`BatchReader::assign`].
    pub fn new(connection: &Connection, role: &str) -> Result<Self, Error> {
        let config = settings::consumer(connection, role, settings::Consumer::Batches)?;
        let consumer = Loner::create(&config).map_err(Error::kafka("create a reader"))?;
        Ok(Self {
            offsets: Offsets::of(consumer),
            asked: Asked::default(),
            silence: Silence::default(),
            topic: String::new(),
            positions: BTreeMap::new(),
            ended: BTreeSet::new(),
        })
    }

    /// Reads these partitions of `topic` from these offsets. An offset that is not kept any more is moved to the
    /// earliest that is; what [`BatchReader::positions`] says then is where reading begins.
    pub fn assign(&mut self, topic: &str, from: &BTreeMap<i32, i64>) -> Result<(), Error> {
        topic.clone_into(&mut self.topic);
        self.positions.clear();
        for (&partition, &offset) in from {
            let Watermarks { earliest, end } = self.offsets.watermarks(topic, partition)?;
            if offset > end {
                let reason = format!("partition {partition} ends at {end}, before the position {offset} that was kept");
                return Err(Error::Topic { topic: topic.to_owned(), reason });
            }
            self.positions.insert(partition, offset.max(earliest));
        }
        self.reassign()
    }

    fn reassign(&mut self) -> Result<(), Error> {
        self.ended.clear();
        self.silence = Silence::default();
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in &self.positions {
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))
                .map_err(Error::kafka("assign a reader"))?;
        }
        client::assign(self.offsets.client(), &list).map_err(Error::kafka("assign a reader"))
    }

    /// At most `max` records, and none after [`BATCH_BYTES`], in order per partition. Returns as soon as there are some and
    /// no more are at hand, or empty after `wait`.
    pub fn next_batch(&mut self, max: usize, wait: Duration) -> Result<Vec<OwnedRecord>, Error> {
        self.next_batch_within((max, BATCH_BYTES), wait)
    }

    /// The same with another bound of the bytes, behind that of the records.
    pub fn next_batch_within(
        &mut self,
        (max, max_bytes): (usize, usize),
        wait: Duration,
    ) -> Result<Vec<OwnedRecord>, Error> {
        self.asked.again(self.offsets.client());
        if self.silence.is_due() {
            self.listen()?;
        }
        let deadline = Instant::now() + wait;
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < max && bytes < max_bytes {
            let left =
                if batch.is_empty() { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.offsets.client().poll(left) {
                Some(Ok(message)) => {
                    let record = OwnedRecord::from_message(&message);
                    self.positions.insert(record.partition, record.offset + 1);
                    self.ended.remove(&record.partition);
                    self.silence.hear(record.partition);
                    bytes += record.size_bytes();
                    batch.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ended.insert(partition);
                    self.silence.hear(partition);
                }
                Some(Err(error)) if classify(&error) == Exit::Retry => {
                    tracing::debug!(%error, topic = self.topic, "reading batches goes on");
                    if Instant::now() >= deadline {
                        break;
                    }
                }
                Some(Err(source)) => return Err(Error::Kafka { doing: "read a batch", source }),
                None if !batch.is_empty() || Instant::now() >= deadline => break,
                None => {}
            }
        }
        Ok(batch)
    }

    /// Fetches anew where nothing comes of a partition that has more.
    fn listen(&mut self) -> Result<(), Error> {
        let places: Vec<(String, i32)> =
            self.positions.keys().map(|partition| (self.topic.clone(), *partition)).collect();
        // Brokers that are away say nothing either.
        let ends = offsets::stable_ends(self.offsets.client(), places.iter()).unwrap_or_default();
        let ends = ends.into_iter().map(|((_, partition), end)| (partition, end)).collect();
        if let Some(partition) = self.silence.look(ends) {
            tracing::warn!(
                topic = self.topic,
                partition,
                "nothing comes of a partition that has more: it is fetched anew"
            );
            self.reassign()?;
        }
        Ok(())
    }

    /// Goes back: the next batch begins at these offsets again, for a sink whose transaction failed.
    pub fn rewind(&mut self, to: &BTreeMap<i32, i64>) -> Result<(), Error> {
        for (&partition, &offset) in to {
            self.positions.insert(partition, offset);
        }
        self.reassign()
    }

    /// True where the broker has said of every partition that nothing follows what was handed out. An empty batch alone does
    /// not mean that: the broker may be slow.
    pub fn is_at_end(&self) -> bool {
        self.positions.keys().all(|partition| self.ended.contains(partition))
    }

    /// Per partition, where the next batch begins.
    pub fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// Per partition of the assignment, behind its last committed record.
    pub fn end_offsets(&self) -> Result<BTreeMap<i32, i64>, Error> {
        let ends = self.positions.keys().map(|&partition| {
            let Watermarks { end, .. } = self.offsets.watermarks(&self.topic, partition)?;
            Ok((partition, end))
        });
        ends.collect()
    }

    /// Per partition the first offset whose time stamp is `timestamp_ms` or later; the end where there is none.
    pub fn offsets_at_time(
        &self,
        topic: &str,
        partitions: &[i32],
        timestamp_ms: i64,
    ) -> Result<BTreeMap<i32, i64>, Error> {
        self.offsets.at_time(topic, partitions, timestamp_ms)
    }

    pub fn partition_count(&self, topic: &str) -> Result<Option<i32>, Error> {
        self.offsets.partition_count(topic)
    }

    /// What tells the topic from one of the same name that was there before; `None` where it does not exist.
    pub fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, Error> {
        self.offsets.topic_id(topic, TIMEOUT)
    }
}
