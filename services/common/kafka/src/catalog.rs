//! The catalogue's topic: followed live by every service, written in one transaction by `freshet catalog apply`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use freshet_catalog_model::{Catalog, Entry};
use freshet_core::{Fault, Replay, ReplayRange, clients, topics};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Seldom, pause};
use crate::publisher::drain;
use crate::reader::Reader;
use crate::transactional::Deliveries;
use crate::{Connection, Error, TopicId, settings};

const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the topic's id is waited for.
const ID_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the topic's end is looked at. A revoked grant must act within 5 s (P9).
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// How long a snapshot is in force after its topic was last seen to be at its end. Whoever cannot read the catalogue may
/// not know that a grant was suspended, and must stop before the 5 s of P9 are over.
pub const LEASE: Duration = Duration::from_secs(4);

/// How long reading it once is tried again.
const ONCE_LIMIT: Duration = Duration::from_secs(20);

/// The catalogue as it was at one end of its topic.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub catalog: Catalog,
    /// Counts the snapshots of this process; 0 is the empty one before the first end was reached.
    pub revision: u64,
}

/// A live view of the catalogue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CatalogHandle {
    shared: Arc<Shared>,
    changes: watch::Receiver<State>,
    is_fixed: bool,
}

#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    failure: ArcSwapOption<String>,
    sender: watch::Sender<State>,
    /// When the reading began that found the topic's end last.
    seen: Mutex<Instant>,
}

impl Shared {
    fn new(snapshot: Snapshot, state: State) -> (Arc<Self>, watch::Receiver<State>) {
        let (sender, changes) = watch::channel(state);
        let failure = ArcSwapOption::empty();
        let seen = Mutex::new(Instant::now());
        (Arc::new(Self { snapshot: ArcSwap::from_pointee(snapshot), failure, sender, seen }), changes)
    }

    fn see(&self, at: Instant) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn unseen(&self) -> Duration {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn swap(&self, catalog: Catalog, revision: u64) {
        self.snapshot.store(Arc::new(Snapshot { catalog, revision }));
        self.sender.send_replace(State::Ready { revision });
    }
}

/// What a follower of changes sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The topic's end was not reached yet.
    Reading,
    /// The snapshot of this revision is in force.
    Ready { revision: u64 },
    /// A record could not be read. The snapshot is out of date for good: stop taking work (P10).
    Failed,
}

impl CatalogHandle {
    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// True once the topic was read to its end, and as long as every record of it could be read.
    pub fn is_ready(&self) -> bool {
        matches!(*self.changes.borrow(), State::Ready { .. })
    }

    /// Waits until the catalogue is ready; an error where it cannot be read.
    pub async fn ready(&self) -> Result<Arc<Snapshot>, Fault> {
        let mut changes = self.changes.clone();
        let state = changes.wait_for(|state| *state != State::Reading).await.map(|state| *state);
        match state {
            Ok(State::Ready { .. }) => Ok(self.current()),
            _ => Err(self.fault()),
        }
    }

    /// [`CatalogHandle::ready`] for a thread; gives up when `stop` is set.
    pub fn wait_until_ready(&self, stop: &CancellationToken) -> Result<Option<Arc<Snapshot>>, Fault> {
        futures::executor::block_on(async {
            tokio::select! {
                ready = self.ready() => ready.map(Some),
                () = stop.cancelled() => Ok(None),
            }
        })
    }

    /// Tells of every new snapshot and of a failure.
    pub fn changes(&self) -> watch::Receiver<State> {
        self.changes.clone()
    }

    /// Why the catalogue cannot be followed any more.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.load_full().map(|reason| reason.as_ref().clone())
    }

    /// The failure as what a stage returns from `inputs`, so that a service stops with it.
    pub fn check(&self) -> Result<(), Fault> {
        match *self.changes.borrow() {
            State::Failed => Err(self.fault()),
            State::Reading | State::Ready { .. } => Ok(()),
        }
    }

    /// As [`CatalogHandle::check`]; and a fault to retry while the topic could not be read for [`LEASE`]: what the snapshot
    /// grants may have ended meanwhile. For whoever discloses or accepts (P9, P10).
    pub fn in_force(&self) -> Result<(), Fault> {
        self.check()?;
        match self.shared.unseen() {
            // A handle without a cluster has nothing to see.
            unseen if unseen > LEASE && !self.is_fixed => {
                let reason = format!("the catalogue could not be read for {} s", unseen.as_secs());
                Err(Fault::retry("follow the catalogue", reason))
            }
            _ => Ok(()),
        }
    }

    fn fault(&self) -> Fault {
        Fault::fatal("follow the catalogue", self.failure().unwrap_or_else(|| "stopped".to_owned()))
    }

    /// A handle without a cluster, for tests of what follows a catalogue.
    pub fn fixed(catalog: Catalog) -> Self {
        let snapshot = Snapshot { catalog, revision: 1 };
        let (shared, changes) = Shared::new(snapshot, State::Ready { revision: 1 });
        Self { shared, changes, is_fixed: true }
    }

    /// Puts another catalogue in force, as an apply would, for the same tests.
    pub fn replace(&self, catalog: Catalog) {
        self.shared.swap(catalog, self.current().revision + 1);
    }
}

/// Follows the catalogue on a thread of its own until `stop` is set. While the topic does not exist the handle is not
/// ready; a snapshot is swapped in only at the topic's end, so nobody sees half of an apply.
pub fn follow(connection: &Connection, stop: CancellationToken) -> Result<CatalogHandle, Error> {
    let reader = Reader::new(connection)?;
    let (shared, changes) = Shared::new(Snapshot::default(), State::Reading);
    let follower = Follower { reader, stop, shared: Arc::clone(&shared) };
    std::thread::Builder::new()
        .name("catalogue".to_owned())
        .spawn(move || follower.run())
        .map_err(|error| Error::Thread { doing: "follow the catalogue", reason: error.to_string() })?;
    Ok(CatalogHandle { shared, changes, is_fixed: false })
}

struct Follower {
    reader: Reader,
    stop: CancellationToken,
    shared: Arc<Shared>,
}

impl Follower {
    fn run(mut self) {
        let mut dated = Dated::default();
        let mut position = None;
        let mut revision = 0;
        let seldom = Seldom::default();
        while !self.stop.is_cancelled() {
            let begun = Instant::now();
            match advance(&mut self.reader, &mut dated, position) {
                Ok(None) => {}
                Ok(Some(end)) if position == Some(end) => self.shared.see(begun),
                Ok(Some(end)) => {
                    self.shared.see(begun);
                    position = Some(end);
                    revision += 1;
                    tracing::info!(revision, offset = end.next, "catalogue read to its end");
                    self.shared.swap(dated.catalog.clone(), revision);
                }
                Err(Fault::Retry { reason, .. }) => {
                    if seldom.now() {
                        tracing::warn!(reason, "catalogue cannot be read now");
                    }
                }
                Err(fault @ Fault::Fatal { .. }) => {
                    tracing::error!(%fault, "catalogue cannot be followed any more");
                    self.shared.failure.store(Some(Arc::new(fault.to_string())));
                    self.shared.sender.send_replace(State::Failed);
                    return;
                }
            }
            pause(FOLLOW_INTERVAL, &self.stop);
        }
    }
}

/// How far the topic was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// None where the cluster did not say it at the first read, as the client's mock of one does not.
    topic: Option<TopicId>,
    next: i64,
}

/// Reads what is new. `None` while there is no topic. A part that was applied before a fault is applied again: puts and
/// removals by key may be repeated.
fn advance(reader: &mut Reader, dated: &mut Dated, from: Option<Position>) -> Result<Option<Position>, Fault> {
    if let Some(from) = from
        && reader.watermarks(topics::CATALOG, 0)?.end == from.next
    {
        return Ok(Some(from));
    }
    if from.is_none() && reader.partition_count(topics::CATALOG)?.is_none() {
        return Ok(None);
    }
    // What changes is looked at twice: offsets of a topic that was made anew would be read as if they were more of the old.
    let topic = match (from.map(|from| from.topic), reader.topic_id(topics::CATALOG, ID_TIMEOUT)) {
        (_, Ok(Some(topic))) => Some(topic),
        (Some(Some(_)), Ok(None)) => return Ok(None),
        (Some(Some(_)), Err(error)) => return Err(error.into()),
        (None | Some(None), _) => None,
    };
    if from.is_some_and(|from| from.topic.is_some() && from.topic != topic) {
        let reason = "its topic was made anew (was the cluster lost?); a start reads the new one";
        return Err(Fault::fatal("follow the catalogue", reason));
    }
    let range = ReplayRange { from: from.map_or(0, |from| from.next), ..ReplayRange::default() };
    let next = reader.replay(topics::CATALOG, 0, range, &mut |record| {
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok()).unwrap_or("(no key)");
        let written = record.timestamp_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        dated.changed_at = dated.changed_at.max(written);
        dated
            .catalog
            .take(key, record.value)
            .map_err(|error| Fault::fatal("read the catalogue", format!("offset {}: {error}", record.offset)))
    })?;
    Ok(Some(Position { topic, next }))
}

/// The catalogue, and when it was last written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dated {
    pub catalog: Catalog,
    /// By the clock of whoever wrote. `None` where nobody did.
    pub changed_at: Option<jiff::Timestamp>,
}

/// Reads the catalogue once, to its end. An empty catalogue where the topic does not exist. A cluster that has just been
/// started answers that nobody leads the topic yet: that passes.
pub fn read_dated(connection: &Connection) -> Result<Dated, Fault> {
    let mut reader = Reader::new(connection)?;
    let begun = Instant::now();
    loop {
        let mut dated = Dated::default();
        match advance(&mut reader, &mut dated, None) {
            Ok(_) => return Ok(dated),
            Err(Fault::Retry { .. }) if begun.elapsed() < ONCE_LIMIT => std::thread::sleep(FOLLOW_INTERVAL),
            Err(fault) => return Err(fault),
        }
    }
}

/// [`read_dated`] without the date.
pub fn read_once(connection: &Connection) -> Result<Catalog, Fault> {
    read_dated(connection).map(|dated| dated.catalog)
}

/// Writes puts and removals (keys, as [`Entry::key`] gives them) in one transaction: a follower sees all or nothing.
/// Puts go first, in the order given, then removals.
pub fn write(connection: &Connection, puts: &[Entry], removes: &[String]) -> Result<(), Error> {
    if puts.is_empty() && removes.is_empty() {
        return Ok(());
    }
    let config = settings::producer(connection, "catalog", Some(clients::CATALOG_TRANSACTIONAL_ID))?;
    let producer: BaseProducer<Deliveries> =
        config.create_with_context(Deliveries::default()).map_err(Error::kafka("create a producer"))?;
    producer.init_transactions(WRITE_TIMEOUT).map_err(Error::kafka("take over the catalogue's transactions"))?;
    producer.begin_transaction().map_err(Error::kafka("write the catalogue"))?;
    let written = send_all(&producer, puts, removes)
        .and_then(|()| drain(&producer, WRITE_TIMEOUT))
        .and_then(|()| producer.context().all_written("write the catalogue"))
        .and_then(|()| producer.commit_transaction(WRITE_TIMEOUT).map_err(Error::kafka("commit the catalogue")));
    if written.is_err() {
        // Whether this succeeds or not, nothing of it becomes visible; the error to report is the first one.
        let _ = producer.abort_transaction(WRITE_TIMEOUT);
    }
    written
}

fn send_all(producer: &BaseProducer<Deliveries>, puts: &[Entry], removes: &[String]) -> Result<(), Error> {
    for entry in puts {
        let key = entry.key();
        let value = serde_json::to_vec(entry)
            .map_err(|error| Error::Topic { topic: topics::CATALOG.to_owned(), reason: format!("{key}: {error}") })?;
        send(producer, BaseRecord::with_opaque_to(topics::CATALOG, 0).partition(0).key(&key).payload(&value))?;
    }
    for key in removes {
        send(producer, BaseRecord::<String, Vec<u8>, usize>::with_opaque_to(topics::CATALOG, 0).partition(0).key(key))?;
    }
    Ok(())
}

fn send(producer: &BaseProducer<Deliveries>, record: BaseRecord<'_, String, Vec<u8>, usize>) -> Result<(), Error> {
    producer.send(record).map_err(|(source, _)| Error::Kafka { doing: "write the catalogue", source })
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    fn eventually(what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + 10 * LEASE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    #[test]
    fn a_catalogue_that_cannot_be_read_is_soon_not_in_force() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(topics::CATALOG, 1, 1).unwrap();
        let stop = CancellationToken::new();
        let handle = follow(&Connection::to(mock.bootstrap_servers()), stop.clone()).unwrap();
        eventually("it is read", || handle.is_ready() && handle.in_force().is_ok());
        mock.broker_down(1).unwrap();
        eventually(
            "its time runs out",
            || matches!(handle.in_force(), Err(Fault::Retry { reason, .. }) if reason.contains("could not be read for 4 s")),
        );
        assert!(handle.is_ready() && handle.check().is_ok(), "nothing is broken: it may come back");
        mock.broker_up(1).unwrap();
        eventually("it is read again", || handle.in_force().is_ok());
        stop.cancel();
    }
}
