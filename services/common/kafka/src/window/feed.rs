//! The window's consumer, on a thread of its own: polls, hands records over, commits what the window says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use freshet_core::Fault;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::WindowSettings;
use crate::backoff::Backoff;
use crate::calls::bounded;
use crate::error::{Exit, classify};
use crate::group::{Event, Member, is_position_lost, offset_list};
use crate::{Connection, OwnedRecord, WindowMetrics};

const POLL: Duration = Duration::from_millis(50);
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);
/// How long the window may take to finish what runs when its partitions are taken away.
const HAND_BACK_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks whether the window has room again, where it does not say so before.
const ROOM_STEP: Duration = Duration::from_millis(50);
/// The same while the partitions are paused, when nobody waits for the window's word.
const PAUSED_STEP: Duration = Duration::from_millis(10);
/// A window that is full for longer pauses its partitions. Not sooner: the client throws away what it has fetched of a
/// partition that pauses, and fetches it again. Meanwhile nobody polls, so a rebalance waits for at most this long.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// What is handed over at once: what the client has at hand, up to so much.
const BATCH_RECORDS: usize = 64;
const BATCH_BYTES: usize = 256 << 10;

/// Records of one assignment.
pub(super) struct Batch {
    pub(super) epoch: u64,
    pub(super) records: Vec<OwnedRecord>,
}

/// What the thread tells the window beside records.
pub(super) enum Control {
    /// The partitions of this assignment are taken away: finish, and answer with what may be committed.
    Revoked {
        epoch: u64,
        committable: blocking::Sender<BTreeMap<i32, i64>>,
    },
    Failed(Fault),
}

/// What both sides see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// What may be committed, of which assignment.
    committable: Mutex<(u64, BTreeMap<i32, i64>)>,
    /// Set while the thread waits for room.
    waits: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Shared {
    pub(super) fn set_committable(&self, epoch: u64, offsets: BTreeMap<i32, i64>) {
        *self.committable.lock().unwrap_or_else(PoisonError::into_inner) = (epoch, offsets);
    }

    /// The window took a batch, so there is room for another. The thread is woken only where it waits for that: fifty windows
    /// whose threads look each millisecond keep a machine busy.
    pub(super) fn taken(&self) {
        if self.waits.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    pub(super) fn committable(&self, epoch: u64) -> BTreeMap<i32, i64> {
        let committable = self.committable.lock().unwrap_or_else(PoisonError::into_inner);
        if committable.0 == epoch { committable.1.clone() } else { BTreeMap::new() }
    }
}

pub(super) struct Feed {
    member: Member,
    settings: WindowSettings,
    metrics: WindowMetrics,
    batches: mpsc::Sender<Batch>,
    control: mpsc::UnboundedSender<Control>,
    shared: Arc<Shared>,
    /// Set when the window has finished: commit and leave.
    finished: CancellationToken,
    epoch: u64,
    /// What was read and not handed over: one batch, and after a pause what the client had at hand.
    kept: Vec<OwnedRecord>,
    full_since: Option<Instant>,
    flow: Flow,
    committed: BTreeMap<i32, i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Reading,
    Paused,
}

/// The channels and signals between the two sides.
pub(super) struct Links {
    pub(super) batches: mpsc::Sender<Batch>,
    pub(super) control: mpsc::UnboundedSender<Control>,
    pub(super) shared: Arc<Shared>,
    pub(super) finished: CancellationToken,
}

impl Feed {
    pub(super) fn new(
        connection: &Connection,
        settings: &WindowSettings,
        metrics: &WindowMetrics,
        links: Links,
    ) -> Result<Self, Fault> {
        let mut member =
            Member::join(connection, "window", crate::settings::Consumer::WindowGroup { group: &settings.group })?;
        member.subscribe(std::slice::from_ref(&settings.topic))?;
        Ok(Self {
            member,
            settings: settings.clone(),
            metrics: metrics.clone(),
            batches: links.batches,
            control: links.control,
            shared: links.shared,
            finished: links.finished,
            epoch: 0,
            kept: Vec::new(),
            full_since: None,
            flow: Flow::Reading,
            committed: BTreeMap::new(),
        })
    }

    pub(super) fn run(mut self) {
        // Nothing else sets it.
        let _ = self.shared.thread.set(std::thread::current());
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let mut last_commit = Instant::now();
        while !self.finished.is_cancelled() {
            match self.turn() {
                Ok(()) => backoff.reset(),
                Err(fault @ Fault::Retry { .. }) => {
                    self.metrics.errors.with_label_values(&["poll"]).inc();
                    tracing::warn!(%fault, topic = self.settings.topic, "window");
                    backoff.wait(&self.finished);
                }
                Err(fault @ Fault::Fatal { .. }) => {
                    let _ = self.control.send(Control::Failed(fault));
                    return;
                }
            }
            if last_commit.elapsed() >= COMMIT_INTERVAL {
                self.commit(self.shared.committable(self.epoch));
                last_commit = Instant::now();
            }
        }
        self.commit(self.shared.committable(self.epoch));
    }

    fn turn(&mut self) -> Result<(), Fault> {
        self.member.ask();
        while let Some(event) = self.member.event() {
            match event {
                Event::Assigned(partitions) => {
                    let found = self.member.positions(&partitions, self.settings.start)?;
                    for gone in &found.gone {
                        gone.report();
                        self.metrics.errors.with_label_values(&[gone.kind()]).inc_by(gone.offsets());
                    }
                    let positions = found.positions;
                    self.epoch += 1;
                    self.member.begin(&positions)?;
                    self.set_flow(Flow::Reading)?;
                    self.metrics.rebalances.inc();
                    // A position that nobody committed yet is committed now, so that it stays where it is.
                    self.committed = positions.iter().map(|at| (at.partition, -1)).collect();
                    let fixed = positions.iter().map(|at| (at.partition, at.position)).collect();
                    self.commit(fixed);
                }
                Event::Revoked => {
                    let committable = self.hand_back();
                    self.commit(committable);
                    self.kept.clear();
                    self.full_since = None;
                    self.flow = Flow::Reading;
                    self.member.end()?;
                }
            }
            self.member.done();
        }
        if self.flow == Flow::Reading
            && let Some(why) = self.member.stalled()
        {
            self.metrics.errors.with_label_values(&["stalled"]).inc();
            return Err(self.join_again(why));
        }
        if let Some(why) = self.member.unassigned() {
            self.metrics.errors.with_label_values(&["unassigned"]).inc();
            return Err(self.join_again(why));
        }
        self.hand_over()?;
        if !self.kept.is_empty() && self.flow == Flow::Reading {
            self.shared.waits.swap(true, Ordering::SeqCst);
            // What was taken before that woke nobody.
            self.hand_over()?;
            if !self.kept.is_empty() {
                std::thread::park_timeout(ROOM_STEP);
            }
            self.shared.waits.store(false, Ordering::SeqCst);
            return Ok(());
        }
        let mut bytes = 0;
        let mut wait = if self.kept.is_empty() { POLL } else { PAUSED_STEP };
        while let Some(polled) = self.member.consumer().poll(wait) {
            match polled {
                Ok(message) => {
                    let record = OwnedRecord::from_message(&message);
                    bytes += record.size_bytes();
                    self.kept.push(record);
                }
                Err(error) => {
                    self.failed(error)?;
                    break;
                }
            }
            if self.kept.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES || self.member.has_event() {
                break;
            }
            wait = Duration::ZERO;
        }
        self.hand_over()
    }

    /// What it means that the consumer reports an error.
    fn failed(&mut self, error: KafkaError) -> Result<(), Fault> {
        if is_position_lost(&error) {
            // Finds the earliest record that is kept, and says what is gone.
            return Err(self.join_again(error.to_string()));
        }
        match classify(&error) {
            Exit::Retry | Exit::Abort => {
                self.metrics.errors.with_label_values(&["poll"]).inc();
                tracing::debug!(%error, topic = self.settings.topic, "poll");
                Ok(())
            }
            Exit::Fatal => Err(Fault::fatal("poll", error)),
        }
    }

    /// Leaves the group and joins it, and says why this turn ends here.
    fn join_again(&mut self, why: String) -> Fault {
        match self.member.join_again() {
            Ok(()) => Fault::retry("poll", why),
            Err(error) => error.into(),
        }
    }

    /// Hands what is kept to the window where it has room. Where it has none for long, the partitions are paused and the
    /// consumer is polled on, so that the group does not lose this member over a slow subscriber.
    fn hand_over(&mut self) -> Result<(), Fault> {
        if !self.kept.is_empty() {
            match self.batches.try_reserve() {
                Ok(place) => {
                    place.send(Batch { epoch: self.epoch, records: std::mem::take(&mut self.kept) });
                }
                Err(mpsc::error::TrySendError::Full(())) => {}
                // The window has ended; `finished` follows.
                Err(mpsc::error::TrySendError::Closed(())) => return Ok(()),
            }
        }
        self.full_since = if self.kept.is_empty() { None } else { Some(self.full_since.unwrap_or_else(Instant::now)) };
        let wanted = match self.full_since {
            Some(since) if since.elapsed() >= PAUSE_AFTER => Flow::Paused,
            Some(_) => self.flow,
            None => Flow::Reading,
        };
        if wanted != self.flow {
            self.set_flow(wanted)?;
        }
        Ok(())
    }

    /// Also for partitions that have just been assigned: a pause may outlive the assignment in which it was asked for.
    fn set_flow(&mut self, wanted: Flow) -> Result<(), Fault> {
        let consumer = self.member.consumer();
        let set = || {
            let all = consumer.assignment()?;
            match wanted {
                Flow::Paused => consumer.pause(&all),
                Flow::Reading => consumer.resume(&all),
            }
        };
        bounded("pause or resume", set).map_err(|error| Fault::retry("pause or resume", error))?;
        self.flow = wanted;
        self.member.watch_anew();
        Ok(())
    }

    /// Waits for the window to finish with this assignment.
    fn hand_back(&self) -> BTreeMap<i32, i64> {
        let (sender, receiver) = blocking::channel();
        if self.control.send(Control::Revoked { epoch: self.epoch, committable: sender }).is_err() {
            return self.shared.committable(self.epoch);
        }
        receiver.recv_timeout(HAND_BACK_TIMEOUT).unwrap_or_else(|_| self.shared.committable(self.epoch))
    }

    /// What cannot be committed is delivered again by whoever has the partition next: counted, not fatal.
    fn commit(&mut self, offsets: BTreeMap<i32, i64>) {
        let new = |(partition, offset): &(&i32, &i64)| self.committed.get(*partition).is_some_and(|at| at < *offset);
        let new: BTreeMap<i32, i64> = offsets.iter().filter(new).map(|(&p, &o)| (p, o)).collect();
        if new.is_empty() {
            return;
        }
        let list = offset_list(new.iter().map(|(&partition, &o)| (self.settings.topic.as_str(), partition, o)));
        let done = list.map_err(Fault::from).and_then(|list| {
            let commit = bounded("commit offsets", || self.member.consumer().commit(&list, CommitMode::Sync));
            commit.map_err(|error| Fault::retry("commit offsets", error))
        });
        match done {
            Ok(()) => self.committed.extend(new),
            Err(fault) => {
                self.metrics.errors.with_label_values(&["commit"]).inc();
                tracing::warn!(%fault, topic = self.settings.topic, "offsets not committed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_is_woken_when_a_batch_is_taken() {
        let shared = Arc::new(Shared::default());
        let (waits, until_woken) = blocking::channel();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.thread.set(std::thread::current()).expect("nobody else sets it");
                shared.waits.store(true, Ordering::SeqCst);
                waits.send(()).expect("somebody listens");
                while shared.waits.load(Ordering::SeqCst) {
                    std::thread::park();
                }
            }
        });
        until_woken.recv().expect("it waits");
        shared.taken();
        // Were it not woken, this would never end.
        thread.join().expect("woken");
    }
}
