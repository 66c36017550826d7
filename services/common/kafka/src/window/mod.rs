//! The ordered in-flight window: records to the outside, in order per key, concurrent across keys. An offset is
//! committed only when its record and all before it are delivered. A subscriber that cannot take a record parks its own
//! window, with everything undelivered kept.

mod feed;
mod in_flight;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use freshet_core::Fault;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Connection, OwnedRecord, WindowMetrics};
use feed::{Control, Feed, Links, Shared};
use in_flight::{InFlight, Ticket};

/// How long deliveries that run may take to end when the window stops, parks or gives its partitions back. Those that
/// take longer are dropped and done again by whoever has the partition next.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Records between the thread and the window. Few, because they come on top of those in flight.
const CHANNEL: usize = 64;
/// The same in bytes: once there are so many, no further record is handed over.
const CHANNEL_BYTES: usize = 512 << 10;

/// What became of one delivery, after all its retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    Delivered,
    /// The subscriber cannot take it now: stop the window with everything undelivered kept.
    Park {
        reason: String,
    },
}

/// Delivers one record to the outside. Retries live inside; the future may be dropped at any await point when the
/// window stops or the partition is taken away.
pub trait Deliver: Send + Sync + 'static {
    fn deliver(&self, record: &OwnedRecord) -> impl Future<Output = Attempt> + Send;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSettings {
    pub group: String,
    pub topic: String,
    /// Where a partition begins for which the group has committed nothing.
    pub start: Start,
    /// Records at the same time, over all partitions: running, waiting for their key's turn, or delivered behind one
    /// that is not. Records of one key never run at once.
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
    let (records_in, records) = mpsc::channel(CHANNEL);
    let (control_in, control) = mpsc::unbounded_channel();
    let (shared, finished) = (Arc::new(Shared::default()), CancellationToken::new());
    // A caller that drops this future ends the thread with it.
    let _finish_at_drop = finished.clone().drop_guard();
    let links =
        Links { records: records_in, control: control_in, shared: Arc::clone(&shared), finished: finished.clone() };
    let (connection, settings, thread_metrics) = (connection.clone(), settings.clone(), metrics.clone());
    let most = (settings.max_in_flight.max(1), settings.max_in_flight_bytes.max(1));
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
    let mut window = Window {
        deliver,
        metrics: metrics.clone(),
        shared,
        records,
        control,
        in_flight: InFlight::new(),
        running: JoinSet::new(),
        parked: None,
        most,
    };
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

struct Window<D> {
    deliver: Arc<D>,
    metrics: WindowMetrics,
    shared: Arc<Shared>,
    records: mpsc::Receiver<(Ticket, OwnedRecord)>,
    control: mpsc::UnboundedReceiver<Control>,
    in_flight: InFlight<OwnedRecord>,
    running: JoinSet<(Ticket, Attempt)>,
    /// Set once; nothing starts after it.
    parked: Option<String>,
    /// Records, and their bytes.
    most: (usize, usize),
}

impl<D: Deliver> Window<D> {
    async fn run(&mut self, stop: &CancellationToken) -> Result<WindowEnd, Fault> {
        loop {
            if let Some(reason) = self.parked.clone() {
                return Ok(WindowEnd::Parked { reason });
            }
            let has_room = self.in_flight.len() < self.most.0 && self.in_flight.bytes() < self.most.1;
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
                Some(done) = self.running.join_next() => {
                    if let Some(next) = self.ended(done)? {
                        self.start(next);
                    }
                }
                Some((ticket, record)) = self.records.recv(), if has_room => {
                    self.shared.taken(record.size_bytes(), self.records.len());
                    self.admit(ticket, record);
                }
            }
        }
    }

    fn admit(&mut self, ticket: Ticket, record: OwnedRecord) {
        let before = self.in_flight.len() as i64;
        let (key, bytes) = (record.key.clone(), record.size_bytes());
        let started = self.in_flight.admit(ticket, key, (record, bytes));
        self.metrics.in_flight.add(self.in_flight.len() as i64 - before);
        if let Some(next) = started {
            self.start(next);
        }
    }

    fn start(&mut self, (ticket, record): (Ticket, OwnedRecord)) {
        let deliver = Arc::clone(&self.deliver);
        self.running.spawn(async move { (ticket, deliver.deliver(&record).await) });
    }

    /// Notes the end of one delivery; returns what may start now.
    fn ended(
        &mut self,
        done: Result<(Ticket, Attempt), tokio::task::JoinError>,
    ) -> Result<Option<(Ticket, OwnedRecord)>, Fault> {
        let (ticket, attempt) = match done {
            Ok(done) => done,
            Err(error) if error.is_cancelled() => return Ok(None),
            Err(error) => return Err(Fault::fatal("deliver", error)),
        };
        match attempt {
            Attempt::Delivered => {
                self.metrics.records.with_label_values(&["delivered"]).inc();
                let before = self.in_flight.len() as i64;
                let next = self.in_flight.delivered(ticket);
                self.metrics.in_flight.sub(before - self.in_flight.len() as i64);
                self.shared.set_committable(self.in_flight.epoch(), self.in_flight.committable());
                Ok(next)
            }
            Attempt::Park { reason } => {
                self.metrics.records.with_label_values(&["parked"]).inc();
                self.parked.get_or_insert(reason);
                Ok(None)
            }
        }
    }

    /// Waits for what runs; starts nothing.
    async fn finish(&mut self, epoch: u64) {
        let drained = tokio::time::timeout(FINISH_TIMEOUT, async {
            while let Some(done) = self.running.join_next().await {
                if let Err(fault) = self.ended(done) {
                    tracing::error!(%fault, epoch, "a delivery failed while the window finished");
                }
            }
        });
        if drained.await.is_err() {
            self.running.abort_all();
            while self.running.join_next().await.is_some() {}
        }
    }

    /// The partitions go to somebody else. What runs is finished first, so that a late delivery of ours cannot overtake
    /// a later one of theirs.
    async fn give_back(&mut self, epoch: u64) -> BTreeMap<i32, i64> {
        self.finish(epoch).await;
        self.metrics.in_flight.sub(self.in_flight.len() as i64);
        self.in_flight.close(epoch)
    }
}
