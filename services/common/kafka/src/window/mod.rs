//! The ordered in-flight window: records to the outside, in order per key, concurrent across keys. An offset is
//! committed only when its record and all before it are delivered. A subscriber that cannot take a record parks its own
//! window, with everything undelivered kept.

mod feed;
mod in_flight;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use freshet_core::Fault;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{Connection, OwnedRecord, WindowMetrics};
use feed::{Batch, Control, Feed, Links, Shared};
use in_flight::{InFlight, Ticket};

/// How long deliveries that run may take to end when the window stops, parks or gives its partitions back. Those that
/// take longer are dropped and done again by whoever has the partition next.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of one delivery, after all its retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    Delivered,
    /// The subscriber cannot take it now: stop the window with everything undelivered kept.
    Park {
        reason: String,
    },
}

/// Delivers records to the outside. Futures may be dropped at any await point when the window stops or the partition is
/// taken away.
pub trait Deliver: Send + Sync + 'static {
    /// Before any of these goes out: those that may start and were gathered while the ones before were released. An error
    /// parks the window, with none of them delivered.
    fn release(&self, _records: &[OwnedRecord]) -> impl Future<Output = Result<(), String>> + Send {
        std::future::ready(Ok(()))
    }

    /// One record. Retries live inside; the place may be left while one is waited for.
    fn deliver(&self, record: &OwnedRecord, place: Place) -> impl Future<Output = Attempt> + Send;

    /// After these were delivered. They count as delivered when it has succeeded; an error parks the window.
    fn confirm(&self, _records: &[OwnedRecord]) -> impl Future<Output = Result<(), String>> + Send {
        std::future::ready(Ok(()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSettings {
    pub group: String,
    pub topic: String,
    /// Where a partition begins for which the group has committed nothing.
    pub start: Start,
    /// Deliveries that run at once. Records of one key never do.
    pub max_running: usize,
    /// Records at the same time, over all partitions: running, waiting for a place, for a receipt or for their key's turn, or
    /// delivered behind one that is not.
    pub max_in_flight: usize,
    /// Bytes of these records (keys, values, headers) beyond which no further one is taken.
    pub max_in_flight_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    #[default]
    Earliest,
    Latest,
}

/// The deliveries that may run at once. What waits for a place is a record, not a task: a thousand wait in each window.
#[derive(Debug, Clone)]
pub struct Places(Arc<Semaphore>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    taken: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most.max(1))))
    }

    pub async fn take(&self) -> Place {
        let mut place = Place { places: self.clone(), taken: None };
        place.take_again().await;
        place
    }

    fn try_take(&self) -> Option<Place> {
        let taken = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Place { places: self.clone(), taken: Some(taken) })
    }

    async fn are_free(&self) {
        drop(self.0.acquire().await);
    }
}

impl Place {
    /// Another delivery may have it.
    pub fn leave(&mut self) {
        self.taken = None;
    }

    /// Waits for one, behind those that wait already.
    pub async fn take_again(&mut self) {
        if self.taken.is_none() {
            // Nobody closes the semaphore.
            self.taken = Arc::clone(&self.places.0).acquire_owned().await.ok();
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowEnd {
    Stopped,
    Parked { reason: String },
}

/// Delivers the topic until `stop` is set or a delivery parks it. Everything that was delivered in order is committed
/// when this returns.
pub async fn run<D: Deliver>(
    connection: &Connection,
    settings: &WindowSettings,
    deliver: Arc<D>,
    metrics: &WindowMetrics,
    stop: &CancellationToken,
) -> Result<WindowEnd, Fault> {
    // One batch ready while the window works on the one before.
    let (batches_in, batches) = mpsc::channel(1);
    let (control_in, control) = mpsc::unbounded_channel();
    let (shared, finished) = (Arc::new(Shared::default()), CancellationToken::new());
    // A caller that drops this future ends the thread with it.
    let _finish_at_drop = finished.clone().drop_guard();
    let links =
        Links { batches: batches_in, control: control_in, shared: Arc::clone(&shared), finished: finished.clone() };
    let (connection, settings, thread_metrics) = (connection.clone(), settings.clone(), metrics.clone());
    let most = Most {
        running: settings.max_running,
        records: settings.max_in_flight.max(1),
        bytes: settings.max_in_flight_bytes.max(1),
    };
    let (ended, thread_ended) = oneshot::channel();
    // A thread of its own, not one of the runtime's for blocking work: those are limited, a window keeps its thread for
    // good, and with as many windows as threads whatever else must block (names, files) would wait for ever.
    std::thread::Builder::new()
        .name("window".to_owned())
        .spawn(move || {
            let end = Feed::new(&connection, &settings, &thread_metrics, links).map(Feed::run);
            // Nobody listens where the caller was dropped.
            let _ = ended.send(end);
        })
        .map_err(|error| Fault::retry("start the window's thread", error))?;
    let mut window = Window::new(deliver, metrics, (batches, control, shared), most);
    let end = window.run(stop).await;
    window.finish(window.in_flight.epoch()).await;
    metrics.in_flight.sub(window.in_flight.len() as i64);
    let parked = window.parked.take();
    // With the window goes its end of the channels: a thread that waits for an answer about revoked partitions gets none.
    drop(window);
    finished.cancel();
    thread_ended.await.map_err(|_| Fault::fatal("run the window's thread", "it panicked"))??;
    match (end?, parked) {
        // A delivery that parked while the window was stopping is no different: all is kept.
        (WindowEnd::Stopped, Some(reason)) | (WindowEnd::Parked { reason }, _) => Ok(WindowEnd::Parked { reason }),
        (WindowEnd::Stopped, None) => Ok(WindowEnd::Stopped),
    }
}

/// At the same time.
#[derive(Debug, Clone, Copy)]
struct Most {
    running: usize,
    records: usize,
    bytes: usize,
}

/// A record on its way: handed over, waiting for its key's turn, startable, released, running, delivered, confirmed.
struct Window<D> {
    deliver: Arc<D>,
    metrics: WindowMetrics,
    shared: Arc<Shared>,
    batches: mpsc::Receiver<Batch>,
    control: mpsc::UnboundedReceiver<Control>,
    /// With the epoch of the assignment in which they were read.
    handed_over: VecDeque<(u64, OwnedRecord)>,
    /// All that follows belongs to its epoch.
    in_flight: InFlight<OwnedRecord>,
    startable: Vec<OwnedRecord>,
    /// These wait for a place.
    released: VecDeque<OwnedRecord>,
    delivered: Vec<OwnedRecord>,
    places: Places,
    is_releasing: bool,
    is_confirming: bool,
    /// All on the window's own task: one for each record costs more (docs/performance.md, "Webhooks").
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Set once; nothing starts after it.
    parked: Option<String>,
    most: Most,
}

/// What a step of the window came to.
enum Step {
    Released(Vec<OwnedRecord>, Result<(), String>),
    Tried(OwnedRecord, Attempt),
    Confirmed(Vec<OwnedRecord>, Result<(), String>),
}

/// Or what it panicked with.
type Ended = Result<Step, Box<dyn Any + Send>>;

impl<D: Deliver> Window<D> {
    fn new(
        deliver: Arc<D>,
        metrics: &WindowMetrics,
        (batches, control, shared): (mpsc::Receiver<Batch>, mpsc::UnboundedReceiver<Control>, Arc<Shared>),
        most: Most,
    ) -> Self {
        Self {
            deliver,
            metrics: metrics.clone(),
            shared,
            batches,
            control,
            handed_over: VecDeque::new(),
            in_flight: InFlight::new(),
            startable: Vec::new(),
            released: VecDeque::new(),
            delivered: Vec::new(),
            places: Places::new(most.running),
            is_releasing: false,
            is_confirming: false,
            running: FuturesUnordered::new(),
            parked: None,
            most,
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> Result<WindowEnd, Fault> {
        loop {
            if let Some(reason) = self.parked.clone() {
                return Ok(WindowEnd::Parked { reason });
            }
            self.admit();
            self.release();
            self.deliver();
            self.confirm();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(WindowEnd::Stopped),
                control = self.control.recv() => match control {
                    Some(Control::Revoked { epoch, committable }) => {
                        let offsets = self.give_back(epoch).await;
                        // The thread may have given up waiting; then nothing of it is committed.
                        let _ = committable.send(offsets);
                    }
                    Some(Control::Failed(fault)) => return Err(fault),
                    None => return Ok(WindowEnd::Stopped),
                },
                Some(step) = self.running.next() => {
                    self.ended(step)?;
                    // Whatever has ended meanwhile is confirmed with it.
                    while let Some(Some(step)) = self.running.next().now_or_never() {
                        self.ended(step)?;
                    }
                }
                // Left by a delivery that waits to be tried again.
                () = self.places.are_free(), if !self.released.is_empty() => {}
                Some(batch) = self.batches.recv(), if self.handed_over.is_empty() => {
                    self.shared.taken();
                    let Batch { epoch, records } = batch;
                    self.handed_over.extend(records.into_iter().map(|record| (epoch, record)));
                }
            }
        }
    }

    /// Takes what was handed over, as far as there is room.
    fn admit(&mut self) {
        let before = self.in_flight.len() as i64;
        while self.in_flight.len() < self.most.records
            && self.in_flight.bytes() < self.most.bytes
            && let Some((epoch, record)) = self.handed_over.pop_front()
        {
            let ticket = Ticket { epoch, partition: record.partition, offset: record.offset };
            let (key, bytes) = (record.key.clone(), record.size_bytes());
            self.startable.extend(self.in_flight.admit(ticket, key, (record, bytes)));
        }
        self.metrics.in_flight.add(self.in_flight.len() as i64 - before);
    }

    fn release(&mut self) {
        if self.startable.is_empty() || self.is_releasing {
            return;
        }
        self.is_releasing = true;
        let (deliver, records) = (Arc::clone(&self.deliver), std::mem::take(&mut self.startable));
        self.start(async move {
            let released = deliver.release(&records).await;
            Step::Released(records, released)
        });
    }

    /// Starts what is released, as far as there are places.
    fn deliver(&mut self) {
        while !self.released.is_empty()
            && let Some(place) = self.places.try_take()
            && let Some(record) = self.released.pop_front()
        {
            let deliver = Arc::clone(&self.deliver);
            self.start(async move {
                let attempt = deliver.deliver(&record, place).await;
                Step::Tried(record, attempt)
            });
        }
    }

    fn confirm(&mut self) {
        if self.delivered.is_empty() || self.is_confirming {
            return;
        }
        self.is_confirming = true;
        let (deliver, records) = (Arc::clone(&self.deliver), std::mem::take(&mut self.delivered));
        self.start(async move {
            let confirmed = deliver.confirm(&records).await;
            Step::Confirmed(records, confirmed)
        });
    }

    fn start(&self, step: impl Future<Output = Step> + Send + 'static) {
        self.running.push(AssertUnwindSafe(step).catch_unwind().boxed());
    }

    /// Notes the end of a step.
    fn ended(&mut self, step: Ended) -> Result<(), Fault> {
        match step {
            Ok(Step::Released(records, Ok(()))) => {
                self.is_releasing = false;
                self.released.extend(records);
            }
            Ok(Step::Tried(record, Attempt::Delivered)) => self.delivered.push(record),
            Ok(Step::Tried(_, Attempt::Park { reason })) => self.park(1, reason),
            Ok(Step::Confirmed(records, Ok(()))) => {
                self.is_confirming = false;
                self.count_delivered(&records);
            }
            Ok(Step::Released(records, Err(reason)) | Step::Confirmed(records, Err(reason))) => {
                self.park(records.len(), reason);
            }
            // What was said is on the log already, by the hook.
            Err(_) => return Err(Fault::fatal("deliver", "it panicked")),
        }
        Ok(())
    }

    fn park(&mut self, records: usize, reason: String) {
        self.metrics.records.with_label_values(&["parked"]).inc_by(records as u64);
        self.parked.get_or_insert(reason);
    }

    fn count_delivered(&mut self, records: &[OwnedRecord]) {
        let (before, epoch) = (self.in_flight.len() as i64, self.in_flight.epoch());
        for record in records {
            let ticket = Ticket { epoch, partition: record.partition, offset: record.offset };
            self.startable.extend(self.in_flight.delivered(ticket, &record.key));
        }
        self.metrics.records.with_label_values(&["delivered"]).inc_by(records.len() as u64);
        self.metrics.in_flight.sub(before - self.in_flight.len() as i64);
        self.shared.set_committable(epoch, self.in_flight.committable());
    }

    /// Waits for what runs; what could start beside it does not, whether it is released or not: the trail then says of it that it
    /// may have left, and whoever has the partition next delivers it.
    async fn finish(&mut self, epoch: u64) {
        let drained = tokio::time::timeout(FINISH_TIMEOUT, async {
            loop {
                self.confirm();
                let Some(step) = self.running.next().await else { break };
                if let Err(fault) = self.ended(step) {
                    tracing::error!(%fault, epoch, "a delivery failed while the window finished");
                }
            }
        });
        if drained.await.is_err() {
            self.running.clear();
        }
    }

    /// The partitions go to somebody else. What runs is finished first, so that a late delivery of ours cannot overtake
    /// a later one of theirs.
    async fn give_back(&mut self, epoch: u64) -> BTreeMap<i32, i64> {
        self.finish(epoch).await;
        self.metrics.in_flight.sub(self.in_flight.len() as i64);
        self.startable.clear();
        self.released.clear();
        self.delivered.clear();
        (self.is_releasing, self.is_confirming) = (false, false);
        self.in_flight.close(epoch)
    }
}

#[cfg(test)]
mod tests;
