//! Reads partitions back, committed records only: to rebuild a stage's state, to fill a view, to read the catalogue.

use std::time::{Duration, Instant};

use freshet_core::{Fault, Header, InRecord, Replay, ReplayRange};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::calls::{TIMEOUT, bounded};
use crate::client::Loner;
use crate::error::{Exit, classify};
use crate::offsets::{Offsets, Watermarks};
use crate::record::{borrow_headers, emptied};
use crate::{Connection, Error, TopicId, client, settings};

/// How long reading may make no progress. Longer than a transaction may stay open, since an open transaction of another
/// producer holds the end back.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads one partition at a time. Joins no group, commits nothing.
pub struct Reader {
    consumer: Loner,
    offsets: Offsets,
    /// Where the consumer's buffer goes on, if the last call stopped at its limit.
    cursor: Option<Cursor>,
    progress_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    topic: String,
    partition: i32,
    offset: i64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl Reader {
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        Self::of(connection, settings::Consumer::Reader)
    }

    /// For a record here and there: one that reads on from none of them fetches little behind each.
    pub fn sampler(connection: &Connection) -> Result<Self, Error> {
        Self::of(connection, settings::Consumer::Sampler)
    }

    fn of(connection: &Connection, kind: settings::Consumer<'_>) -> Result<Self, Error> {
        let config = settings::consumer(connection, "reader", kind)?;
        let consumer = Loner::create(&config).map_err(Error::kafka("create a reader"))?;
        Ok(Self { consumer, offsets: Offsets::new(connection)?, cursor: None, progress_timeout: PROGRESS_TIMEOUT })
    }

    /// How long one call may make no progress. Returns what it was.
    pub fn set_progress_timeout(&mut self, timeout: Duration) -> Duration {
        std::mem::replace(&mut self.progress_timeout, timeout)
    }

    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, Error> {
        self.offsets.watermarks(topic, partition)
    }

    pub fn partition_count(&self, topic: &str) -> Result<Option<i32>, Error> {
        self.offsets.partition_count(topic)
    }

    /// What tells the topic from one of the same name that was there before; `None` where it does not exist.
    pub fn topic_id(&self, topic: &str, timeout: Duration) -> Result<Option<TopicId>, Error> {
        self.offsets.topic_id(topic, timeout)
    }

    /// Waits until every transaction that began before `target` is decided, i.e. the last stable offset has reached it.
    /// Only then does the end that the client reports for a `read_committed` partition lie at or behind `target`, also
    /// where the tail is nothing but aborted records and markers.
    fn wait_until_stable(&self, topic: &str, partition: i32, target: i64) -> Result<(), Fault> {
        let deadline = Instant::now() + self.progress_timeout;
        loop {
            let asked = || self.consumer.fetch_watermarks(topic, partition, TIMEOUT);
            let ends = bounded("read the last stable offset", asked);
            let (_, stable) = ends.map_err(Error::kafka("read the last stable offset"))?;
            if stable >= target {
                return Ok(());
            }
            if Instant::now() > deadline {
                let reason = format!("{topic}[{partition}]: a transaction is open below offset {target}");
                return Err(Fault::retry("wait for open transactions", reason));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    fn assign(&mut self, topic: &str, partition: i32, offset: i64) -> Result<(), Fault> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(Error::kafka("assign a reader"))?;
        client::assign(&self.consumer, &list).map_err(Error::kafka("assign a reader"))?;
        self.cursor = Some(Cursor { topic: topic.to_owned(), partition, offset });
        Ok(())
    }

    /// Stops fetching. The next call begins anew.
    fn release(&mut self) -> Result<(), Fault> {
        self.cursor = None;
        client::unassign(&self.consumer).map_err(Error::kafka("release a reader")).map_err(Fault::from)
    }

    fn read(
        &mut self,
        topic: &str,
        partition: i32,
        span: Span,
        each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
    ) -> Result<i64, Fault> {
        let wanted = Cursor { topic: topic.to_owned(), partition, offset: span.from };
        // The end of a partition that the client reports is as of its last fetch: one that was fetched before this call
        // says nothing about this call's target.
        let mut end_counts = self.cursor.as_ref() != Some(&wanted);
        if end_counts {
            self.assign(topic, partition, span.from)?;
        }
        let mut next = span.from;
        let (mut count, mut headers) = (0, Vec::new());
        let mut deadline = Instant::now() + self.progress_timeout;
        let mut came = false;
        loop {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    if message.topic() != topic || message.partition() != partition || message.offset() < next {
                        continue;
                    }
                    if message.offset() >= span.target {
                        drop(message);
                        self.release()?;
                        return Ok(span.target);
                    }
                    headers = hand_over(&message, headers, each)?;
                    next = message.offset() + 1;
                    count += 1;
                    if next >= span.target {
                        drop(message);
                        self.release()?;
                        return Ok(next);
                    }
                    if span.limit.is_some_and(|limit| count >= limit) {
                        self.cursor = Some(Cursor { offset: next, ..wanted });
                        return Ok(next);
                    }
                    came = true;
                    continue;
                }
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => {
                    if end_counts {
                        self.release()?;
                        return Ok(next.max(span.target));
                    }
                    end_counts = true;
                    self.assign(topic, partition, next)?;
                }
                Some(Err(error)) if classify(&error) == Exit::Retry => {
                    tracing::debug!(%error, topic, partition, "reading back goes on");
                }
                Some(Err(error)) => {
                    self.cursor = None;
                    return Err(Error::Kafka { doing: "read a partition back", source: error }.into());
                }
                None => {}
            }
            // The clock is looked at where nothing came, not at each record.
            let now = Instant::now();
            if std::mem::take(&mut came) {
                deadline = now + self.progress_timeout;
            } else if now > deadline {
                self.cursor = None;
                let reason = format!("{topic}[{partition}]: no progress at offset {next} of {}", span.target);
                return Err(Fault::retry("read a partition back", reason));
            }
        }
    }
}

/// From `from` to before `target`, which is at most the partition's end.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    target: i64,
    limit: Option<usize>,
}

impl Replay for Reader {
    fn replay(
        &mut self,
        topic: &str,
        partition: i32,
        range: ReplayRange,
        each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
    ) -> Result<i64, Fault> {
        let Watermarks { earliest, end } = self.watermarks(topic, partition)?;
        let from = range.from.max(earliest);
        let target = range.until.map_or(end, |until| until.min(end));
        if from >= target || range.limit == Some(0) {
            return Ok(from);
        }
        self.wait_until_stable(topic, partition, target)?;
        let result = self.read(topic, partition, Span { from, target, limit: range.limit }, each);
        if result.is_err() {
            // What the buffer holds is not what the next call expects.
            self.release()?;
        }
        result
    }
}

/// `list` is empty, and comes back so: its memory is used again from record to record.
fn hand_over(
    message: &BorrowedMessage<'_>,
    list: Vec<Header<'static>>,
    each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
) -> Result<Vec<Header<'static>>, Fault> {
    let mut headers: Vec<Header<'_>> = list;
    borrow_headers(message, &mut headers);
    each(&InRecord {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
        headers: &headers,
    })?;
    Ok(emptied(headers))
}
