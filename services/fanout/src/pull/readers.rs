//! Kafka consumers for pullers: a bounded number, kept open between requests, because a puller that comes back with the
//! cursor it was given finds its consumer where it left it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use freshet_kafka::batches::BatchReader;
use freshet_kafka::{Connection, Error, OwnedRecord};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cursor::TopicMark;

/// A page that has as much is closed. It is there twice, as records and as text, for every puller who asks.
const PAGE_BYTES: usize = 512 << 10;
/// A reader that nobody came back to is closed after this long.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// For so long nobody asks again which topic a name stands for. Nobody loses a cluster and fills another in less.
const MARK_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Readers {
    connection: Connection,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Idle>>>,
    /// By topic, and when it was asked for.
    marks: Arc<Mutex<BTreeMap<String, (TopicMark, Instant)>>>,
}

struct Idle {
    reader: BatchReader,
    topic: String,
    since: Instant,
}

/// Records of a view, and the offsets behind them.
#[derive(Debug)]
pub(super) struct Page {
    pub records: Vec<OwnedRecord>,
    pub after: BTreeMap<i32, i64>,
    /// True where nothing follows, as far as the broker has said.
    pub at_end: bool,
}

/// What to read.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub topic: String,
    pub from: BTreeMap<i32, i64>,
    pub max: usize,
    pub wait: Duration,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("free", &self.permits.available_permits()).finish_non_exhaustive()
    }
}

impl Readers {
    pub fn new(connection: &Connection, most: usize) -> Self {
        let permits = Arc::new(Semaphore::new(most));
        Self { connection: connection.clone(), permits, idle: Arc::default(), marks: Arc::default() }
    }

    /// Waits up to `patience` for a reader. `None` where all are busy for so long.
    pub async fn read(&self, wanted: Wanted, patience: Duration) -> Option<Result<Page, Error>> {
        self.with_reader(patience, move |readers| readers.read_page(wanted)).await
    }

    /// Per partition the first offset at or after this time.
    pub async fn at_time(
        &self,
        topic: String,
        partitions: Vec<i32>,
        time: jiff::Timestamp,
        patience: Duration,
    ) -> Option<Result<BTreeMap<i32, i64>, Error>> {
        self.with_reader(patience, move |readers| {
            let one = readers.take(&topic, &BTreeMap::new())?;
            let found = one.reader.offsets_at_time(&topic, &partitions, time.as_millisecond());
            readers.put(one);
            found
        })
        .await
    }

    /// Which topic of this name it is now; none where there is no such topic.
    pub async fn mark(&self, topic: &str, patience: Duration) -> Option<Result<Option<TopicMark>, Error>> {
        let known = self.marks.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied();
        if let Some((mark, since)) = known
            && since.elapsed() < MARK_LIMIT
        {
            return Some(Ok(Some(mark)));
        }
        let topic = topic.to_owned();
        self.with_reader(patience, move |readers| {
            let one = readers.take(&topic, &BTreeMap::new())?;
            let mark = one.reader.topic_id(&topic).map(|id| id.map(TopicMark::of));
            readers.put(one);
            let mut marks = readers.marks.lock().unwrap_or_else(PoisonError::into_inner);
            match mark {
                Ok(Some(mark)) => drop(marks.insert(topic, (mark, Instant::now()))),
                Ok(None) | Err(_) => drop(marks.remove(&topic)),
            }
            mark
        })
        .await
    }

    /// The caller may go away in the middle: reader and permit are given back by the blocking work itself.
    async fn with_reader<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Option<Result<T, Error>> {
        let permit: OwnedSemaphorePermit =
            tokio::time::timeout(patience, Arc::clone(&self.permits).acquire_owned()).await.ok()?.ok()?;
        let readers = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&readers);
            drop(permit);
            result
        });
        Some(done.await.unwrap_or_else(|error| Err(Error::Thread { doing: "read a view", reason: error.to_string() })))
    }

    fn read_page(&self, wanted: Wanted) -> Result<Page, Error> {
        let mut one = self.take(&wanted.topic, &wanted.from)?;
        if one.topic != wanted.topic || *one.reader.positions() != wanted.from {
            one.reader.assign(&wanted.topic, &wanted.from)?;
            one.topic = wanted.topic;
        }
        let records = one.reader.next_batch_within((wanted.max, PAGE_BYTES), wanted.wait)?;
        let (after, at_end) = (one.reader.positions().clone(), one.reader.is_at_end());
        self.put(one);
        Ok(Page { records, after, at_end })
    }

    /// The idle reader that fits best, or a new one. There are never more than permits, for whoever takes holds one.
    fn take(&self, topic: &str, positions: &BTreeMap<i32, i64>) -> Result<Idle, Error> {
        let (found, expired) = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let best = idle
                .iter()
                .position(|one| one.topic == topic && one.reader.positions() == positions)
                .or_else(|| idle.len().checked_sub(1));
            let found = best.map(|index| idle.swap_remove(index));
            (found, split_expired(&mut idle))
        };
        // Closing takes its time, so it is done outside of the lock.
        drop(expired);
        match found {
            Some(found) => Ok(found),
            None => {
                let reader = BatchReader::new(&self.connection, "fanout.pull")?;
                Ok(Idle { reader, topic: String::new(), since: Instant::now() })
            }
        }
    }

    fn put(&self, mut one: Idle) {
        one.since = Instant::now();
        let expired = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(one);
            split_expired(&mut idle)
        };
        drop(expired);
    }
}

fn split_expired(idle: &mut Vec<Idle>) -> Vec<Idle> {
    let (kept, expired) = std::mem::take(idle).into_iter().partition(|one| one.since.elapsed() < IDLE_LIMIT);
    *idle = kept;
    expired
}
