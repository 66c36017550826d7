//! Membership in a consumer group, eager (`range`), for both loops. What the group decides is only noted while the
//! client is polled, and acted upon by the loop afterwards: nothing of a loop runs inside the client's callback.

mod identities;
mod positions;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use freshet_core::{Assigned, TopicPartition};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::admin::Offsets;
use crate::calls::{Asked, bounded};
use crate::{Connection, Error, client, settings};
use identities::Identities;
pub(crate) use positions::Gone;

/// How long leaving the group may take before the consumer is left to itself.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing comes of a queue that is empty.
const QUIET: Duration = Duration::from_millis(50);
/// How long records are thrown away in search of a decision of the group.
const DISCARD_RECORDS_LIMIT: Duration = Duration::from_secs(1);
/// The same where it is known that there is one.
const DISCARD_LIMIT: Duration = Duration::from_secs(10);
/// How often the client counts its lag. It lists all that it knows of each partition for it: with 2,000 of them, each time
/// takes some 60 ms.
const LAG_INTERVAL_MS: u32 = 20_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The group gave these partitions. They are fetched only after [`Member::begin`].
    Assigned(Vec<TopicPartition>),
    /// The group took all partitions. It goes on only after [`Member::end`].
    Revoked,
}

/// Where a partition ends.
#[derive(Debug, Clone, Copy)]
struct End {
    offset: i64,
    /// The client has fetched up to there, and none of it waits to be polled. What lies between the last record and the end
    /// are markers of transactions then.
    is_reached: bool,
}

#[derive(Default)]
pub(crate) struct Context {
    events: Mutex<VecDeque<Event>>,
    pending: AtomicBool,
    closing: AtomicBool,
    /// Of the partitions that are fetched, as of the last statistics; taken when looked at.
    ends: Mutex<Option<BTreeMap<(String, i32), End>>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::reported(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.into_iter().flat_map(|(topic, of_topic)| {
            of_topic.partitions.into_values().map(move |partition| (topic.clone(), partition))
        });
        let known = partitions.filter(|(_, partition)| partition.desired && partition.ls_offset >= 0);
        let ends = known.map(|(topic, partition)| {
            let is_reached = partition.next_offset >= partition.ls_offset && partition.fetchq_cnt == 0;
            ((topic, partition.partition), End { offset: partition.ls_offset, is_reached })
        });
        let ends = ends.collect();
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Relaxed) {
            // The loop has ended; the client closes only after this answer.
            let _ = consumer.unassign();
            return;
        }
        let event = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let given = partitions.elements();
                let given = given.iter().map(|element| TopicPartition {
                    topic: element.topic().to_owned(),
                    partition: element.partition(),
                });
                Event::Assigned(given.collect())
            }
            _ => Event::Revoked,
        };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        self.pending.store(true, Ordering::Relaxed);
    }
}

/// A member of a group.
pub(crate) struct Member {
    /// `None` only while it is dropped.
    consumer: Option<BaseConsumer<Context>>,
    asked: Asked,
    offsets: Offsets,
    identities: Identities,
    connection: Connection,
    group: String,
}

impl Member {
    pub(crate) fn join(connection: &Connection, role: &str, kind: settings::Consumer<'_>) -> Result<Self, Error> {
        let mut config = settings::consumer(connection, role, kind)?;
        if config.get("statistics.interval.ms").is_none() {
            config.set("statistics.interval.ms", LAG_INTERVAL_MS.to_string());
        }
        let consumer = config.create_with_context(Context::default()).map_err(Error::kafka("create a consumer"))?;
        let group = kind.group().to_owned();
        Ok(Self {
            consumer: Some(consumer),
            asked: Asked::default(),
            offsets: Offsets::new(connection)?,
            identities: Identities::default(),
            connection: connection.clone(),
            group,
        })
    }

    pub(crate) fn consumer(&self) -> &BaseConsumer<Context> {
        match &self.consumer {
            Some(consumer) => consumer,
            None => unreachable!("the consumer is taken only by drop"),
        }
    }

    fn context(&self) -> &Context {
        self.consumer().client().context()
    }

    pub(crate) fn subscribe(&self, topics: &[String]) -> Result<(), Error> {
        if topics.is_empty() {
            bounded("unsubscribe", || self.consumer().unsubscribe());
            return Ok(());
        }
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        bounded("subscribe", || self.consumer().subscribe(&topics)).map_err(Error::kafka("subscribe"))
    }

    /// To be called again and again: ends the process where the client has locked itself up.
    pub(crate) fn ask(&mut self) {
        if let Some(consumer) = &self.consumer {
            self.asked.again(consumer);
        }
    }

    /// True where the group has decided something that was not acted upon. One atomic load: asked once a record.
    pub(crate) fn has_event(&self) -> bool {
        self.context().pending.load(Ordering::Relaxed)
    }

    /// The oldest decision; it stays until [`Member::done`].
    pub(crate) fn event(&self) -> Option<Event> {
        self.context().events.lock().unwrap_or_else(PoisonError::into_inner).front().cloned()
    }

    pub(crate) fn done(&self) {
        let context = self.context();
        let mut events = context.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.pop_front();
        context.pending.store(!events.is_empty(), Ordering::Relaxed);
    }

    /// Records between these positions and the ends, where there are newer statistics than at the last call. `is_idle`: all
    /// that was polled is behind the positions.
    pub(crate) fn lag(&self, positions: &BTreeMap<(String, i32), i64>, is_idle: bool) -> Option<i64> {
        let ends = self.context().ends.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let behind = positions.iter().filter_map(|(partition, at)| {
            let end = ends.get(partition)?;
            Some(if is_idle && end.is_reached { 0 } else { (end.offset - at).max(0) })
        });
        Some(behind.sum())
    }

    /// Fetches these partitions from these positions: the answer to [`Event::Assigned`], and the way back to what is
    /// committed. What was fetched before is discarded by the client. Not `seek`, which a partition refuses whose position
    /// was lost: with `auto.offset.reset=error` the client stops its fetcher, and only an assignment starts one.
    pub(crate) fn begin(&self, positions: &[Assigned]) -> Result<(), Error> {
        let list = offset_list(positions.iter().map(|at| (at.topic.as_str(), at.partition, at.position)))?;
        client::assign(self.consumer(), &list).map_err(Error::kafka("take the assigned partitions"))
    }

    /// Fetches nothing any more: the answer to [`Event::Revoked`].
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.identities.forget();
        client::unassign(self.consumer()).map_err(Error::kafka("give the revoked partitions back"))
    }

    /// Polls without keeping what comes, until a decision of the group is seen, or nothing waits any more. A decision stands
    /// in one queue with records, logs and statistics, and one poll serves one of them: nothing at once is not nothing.
    pub(crate) fn discard(&self) {
        let begun = Instant::now();
        while !self.has_event() && begun.elapsed() < DISCARD_LIMIT {
            let asked = Instant::now();
            let is_quiet = self.consumer().poll(QUIET).is_none() && asked.elapsed() >= QUIET;
            // Thrown out of the group: the decision is on its way, and until it is taken nothing can be committed.
            let is_over = is_quiet || begun.elapsed() > DISCARD_RECORDS_LIMIT;
            if is_over && !self.consumer().assignment_lost() {
                return;
            }
        }
    }
}

impl Drop for Member {
    /// Leaving a group can hang in the client; the caller waits for a bounded time.
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        consumer.client().context().closing.store(true, Ordering::Relaxed);
        // A decision that was noted but not answered would hold the close back.
        let _ = client::unassign(&consumer);
        bounded("leave the group", || consumer.unsubscribe());
        client::close(consumer, CLOSE_TIMEOUT);
    }
}

pub(crate) fn offset_list<'t>(offsets: impl Iterator<Item = (&'t str, i32, i64)>) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in offsets {
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(Error::kafka("list offsets"))?;
    }
    Ok(list)
}

/// True where the position is not in the log any more: retention was faster than the reader.
pub(crate) fn is_position_lost(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation))
}
