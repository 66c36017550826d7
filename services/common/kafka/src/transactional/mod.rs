//! The transactional batch loop: records in, records out, offsets with them, all or nothing.
//!
//! One thread, the caller's. Nobody polls the consumer while a transaction is open, so the group can take a partition
//! away only between transactions; an instance that lost its place without knowing is refused by the broker when it sends
//! its offsets, because they carry the group's generation as of the assignment.
//!
//! After an abort nothing of the batch has happened: the stage's state is rebuilt and the input goes back to the
//! committed offsets.

mod batch;
mod collect;
mod notes;
mod observed;
mod output;
mod positions;
mod status;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use freshet_core::{Assigned, Fault, Stage, TopicPartition, clients};
use rdkafka::consumer::{Consumer as _, ConsumerGroupMetadata};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{BaseProducer, Producer as _};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::calls::{bounded, bounded_in_transaction};
use crate::error::{Exit, classify};
use crate::group::{Event, Gone, Member};
use crate::reader::Reader;
use crate::window::Start;
use crate::{Connection, Error, LoopMetrics, settings};
use batch::{OneByOne, Transaction, Unwritable};
use collect::{Bounds, Collector};
use observed::Observed;
pub(crate) use output::Deliveries;
use positions::{Positions, advance};
pub use status::Status;

/// How long an idle loop waits for input before it looks at its stage and the stop signal.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// One call to the transaction coordinator; calls that may be resumed are.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The size of a batch whose records are written one by one: an acknowledgement each, well within one transaction.
const ONE_BY_ONE_RECORDS: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopSettings {
    /// `validator`, `router`: part of the transactional id.
    pub service: String,
    pub group: String,
    /// The slot of this instance, the same after a restart: `0`, `1`, … No two live instances share one; the later
    /// fences the earlier.
    pub instance: String,
    /// A batch closes when it has this many records, or when the input is idle.
    pub batch_records: usize,
    /// The same in bytes of keys and values.
    pub batch_bytes: usize,
}

impl LoopSettings {
    pub fn new(service: &str, group: &str, instance: &str) -> Self {
        Self {
            service: service.to_owned(),
            group: group.to_owned(),
            instance: instance.to_owned(),
            batch_records: 10_000,
            batch_bytes: 32 * 1024 * 1024,
        }
    }

    pub fn transactional_id(&self) -> String {
        format!("{}{}", clients::transactional_ids(&self.service), self.instance)
    }

    /// What no loop can run with, named as the service's own setting.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |name: &str, reason: &str| {
            Err(Error::Setting { key: format!("{}.{name}", self.service), reason: reason.to_owned() })
        };
        if self.group.is_empty() {
            return refuse("group", "must not be empty");
        }
        if self.instance.is_empty() {
            return refuse("instance", "must not be empty: two instances with one slot fence each other");
        }
        if self.batch_records == 0 {
            return refuse("batch_records", "must be 1 or more");
        }
        Ok(())
    }
}

/// Runs the stage on the calling thread until `stop` is set, or until a fault that no retry mends. The batch that is
/// open when `stop` comes is finished and committed.
pub fn run(
    stage: &mut dyn Stage,
    connection: &Connection,
    settings: &LoopSettings,
    metrics: &LoopMetrics,
    stop: &CancellationToken,
) -> Result<(), Fault> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let Some(producer) = new_producer(connection, settings, &mut backoff, stop)? else { return Ok(()) };
    let input =
        Member::join(connection, &settings.service, crate::settings::Consumer::Group { group: &settings.group })?;
    let reader = Reader::new(connection)?;
    let mut turns = Loop {
        connection,
        settings,
        metrics,
        stop,
        input,
        producer,
        reader,
        held: Vec::new(),
        positions: Positions::new(),
        gone: Vec::new(),
        uncommitted: Vec::new(),
        generation: None,
        unsettled: false,
        set_aside: HashSet::new(),
        one_by_one: 0,
        collector: Collector::new(metrics),
    };
    backoff.reset();
    while !stop.is_cancelled() {
        match turns.turn(stage) {
            Ok(turn) => {
                metrics.status.turned();
                if matches!(turn, Turn::Worked) {
                    backoff.reset();
                }
            }
            Err(Trouble::Fatal(fault)) => {
                turns.forget(stage);
                // Readers of what it wrote need not wait for the transaction's time-out. Without an open one, or
                // without the right to it, this does nothing.
                let _ = bounded_in_transaction("abort", || turns.producer.abort_transaction(CALL_TIMEOUT));
                return Err(fault);
            }
            Err(trouble) => turns.recover(trouble, &mut backoff)?,
        }
    }
    turns.forget(stage);
    Ok(())
}

/// Why a turn did not end well.
#[derive(Debug)]
enum Trouble {
    /// Nothing was taken from the input: the same turn again, later.
    Wait {
        why: String,
    },
    /// Outside of a transaction; the input must go back to the committed offsets.
    Rewind {
        why: String,
    },
    /// In a transaction: abort it, then the same.
    Abort {
        reason: &'static str,
        why: String,
    },
    /// The producer is of no more use, though nobody took its place: make another, then the same.
    Renew {
        why: String,
    },
    Fatal(Fault),
}

impl Trouble {
    /// Outside of a transaction.
    fn outside(fault: Fault) -> Self {
        match fault {
            Fault::Retry { .. } => Self::Rewind { why: fault.to_string() },
            Fault::Fatal { .. } => Self::Fatal(fault),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::outside(error.into())
    }
}

enum Turn {
    Idle,
    Worked,
}

struct Loop<'a> {
    connection: &'a Connection,
    settings: &'a LoopSettings,
    metrics: &'a LoopMetrics,
    stop: &'a CancellationToken,
    input: Member,
    producer: BaseProducer<Deliveries>,
    reader: Reader,
    /// The partitions whose state the stage has.
    held: Vec<TopicPartition>,
    /// What is committed of them: where each goes on.
    positions: Positions,
    /// What was gone before it was read. The next transaction says so and moves the offsets behind it.
    gone: Vec<Gone>,
    /// Positions that the next transaction commits, whether it has records of them or not.
    uncommitted: Vec<Assigned>,
    /// The group's generation in which they were assigned. Not asked for at commit time: a member that was thrown out
    /// meanwhile would have none, and offsets without a generation are accepted from anybody.
    generation: Option<ConsumerGroupMetadata>,
    /// The input's position and the stage's state are ahead of what is committed.
    unsettled: bool,
    /// Input records whose output no topic takes, by topic, partition, offset.
    set_aside: HashSet<(String, i32, i64)>,
    /// How many records are still to be written one by one, to find the one that is too large.
    one_by_one: usize,
    collector: Collector<'a>,
}

impl Loop<'_> {
    fn turn(&mut self, stage: &mut dyn Stage) -> Result<Turn, Trouble> {
        self.metrics.status.begins("read the catalogue");
        let inputs = stage.inputs().map_err(|fault| match fault {
            Fault::Retry { .. } => Trouble::Wait { why: fault.to_string() },
            Fault::Fatal { .. } => Trouble::Fatal(fault),
        })?;
        if let Some(topics) = inputs {
            tracing::info!(?topics, "inputs");
            self.input.subscribe(&topics)?;
            // Without a topic the group has nothing to give.
            self.metrics.holds(topics.is_empty());
        }
        self.metrics.status.begins("ask the client");
        self.input.ask();
        if self.input.has_event() {
            self.metrics.status.begins("follow the group");
            self.rebalance(stage)?;
            // That may have taken long, and the stage has not looked at what is in force since.
            return Ok(Turn::Idle);
        }
        if self.unsettled {
            self.settle(stage)?;
            return Ok(Turn::Idle);
        }
        if let Some(topic) = self.input.made_anew() {
            return Err(Trouble::Rewind { why: format!("{topic} was deleted and made anew") });
        } else if let Some(why) = self.input.stalled() {
            self.metrics.errors.with_label_values(&["stalled"]).inc();
            return Err(Trouble::Rewind { why });
        } else if let Some(why) = self.input.unassigned() {
            self.metrics.errors.with_label_values(&["unassigned"]).inc();
            tracing::warn!(why, "the loop joins its group again");
            self.input.join_again()?;
            return Ok(Turn::Idle);
        }
        let wait = if stage.has_background_work() { Duration::ZERO } else { IDLE_WAIT };
        let batch_records = match self.one_by_one {
            0 => self.settings.batch_records,
            _ => self.settings.batch_records.min(ONE_BY_ONE_RECORDS),
        };
        let bounds = Bounds { records: batch_records, bytes: self.settings.batch_bytes, wait };
        self.metrics.status.begins("collect a batch");
        let mut batch = self.collector.collect(&self.input, bounds)?;
        if let Some(lag) = self.input.lag(&self.positions, batch.is_empty()) {
            self.metrics.lag_records.set(lag);
        }
        if self.input.has_event() {
            // Whatever was collected belongs to the assignment that is over; the next begins at the committed offsets.
            return Ok(Turn::Idle);
        }
        let is_idle = self.uncommitted.is_empty() && !stage.has_background_work();
        if batch.is_empty() && (self.positions.is_empty() || is_idle) {
            self.metrics.progress();
            return Ok(Turn::Idle);
        }
        let Some(generation) = &self.generation else {
            return Err(Trouble::Rewind { why: "records without an assignment".to_owned() });
        };
        stage.begin_batch().map_err(Trouble::outside)?;
        let transaction = Transaction {
            producer: &self.producer,
            generation,
            positions: &self.positions,
            gone: &self.gone,
            uncommitted: &self.uncommitted,
            set_aside: &self.set_aside,
            one_by_one: if self.one_by_one > 0 { OneByOne::Yes } else { OneByOne::No },
            metrics: self.metrics,
        };
        let committed = transaction.run(stage, &mut batch, &mut self.reader);
        match committed {
            Ok(()) => {
                let found = !self.set_aside.is_empty();
                self.one_by_one = if found { 0 } else { self.one_by_one.saturating_sub(batch.len()) };
                self.set_aside.clear();
                advance(&mut self.positions, &batch);
                drop(batch);
                if !self.uncommitted.is_empty() {
                    self.uncommitted.clear();
                    self.gone.clear();
                    self.input.settled();
                }
                self.metrics.progress();
                Ok(Turn::Worked)
            }
            Err(batch::Failed { trouble, unwritable }) => {
                match unwritable {
                    None => {}
                    Some(Unwritable::Unknown) => self.one_by_one = batch.len().max(1),
                    Some(Unwritable::Record(index)) => self.set_aside.extend(batch.get(index).map(place)),
                }
                Err(trouble)
            }
        }
    }

    /// Acts upon what the group decided. A decision that cannot be acted upon now stays for the next turn.
    fn rebalance(&mut self, stage: &mut dyn Stage) -> Result<(), Trouble> {
        while let Some(event) = self.input.event() {
            match event {
                Event::Revoked => {
                    tracing::info!(partitions = self.held.len(), "partitions revoked");
                    self.metrics.holds(false);
                    self.forget(stage);
                    self.generation = None;
                    self.input.end()?;
                }
                Event::Assigned(partitions) => {
                    tracing::info!(partitions = partitions.len(), "partitions assigned");
                    self.generation = self.input.consumer().group_metadata();
                    let positions = self.rebuild(stage, &partitions)?;
                    self.input.begin(&positions)?;
                    self.metrics.rebalances.inc();
                    self.metrics.holds(true);
                }
            }
            self.unsettled = false;
            self.input.done();
        }
        Ok(())
    }

    /// Gives the stage these partitions as of what is committed.
    fn rebuild(&mut self, stage: &mut dyn Stage, partitions: &[TopicPartition]) -> Result<Vec<Assigned>, Trouble> {
        self.metrics.status.begins("find the committed offsets");
        let found = self.input.positions(partitions, Start::Earliest).map_err(Trouble::outside)?;
        // An attempt that failed half-way may have left something.
        self.forget(stage);
        self.held = partitions.to_vec();
        self.metrics.status.begins("rebuild the state");
        self.metrics.status.rebuilds();
        let begun = Instant::now();
        let mut reader = Observed {
            reader: &mut self.reader,
            connection: self.connection.clone(),
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
        };
        let rebuilt = stage.assigned(&found.positions, &mut reader);
        tracing::info!(partitions = partitions.len(), seconds = begun.elapsed().as_secs_f64(), "state rebuilt");
        rebuilt.map_err(Trouble::outside)?;
        self.positions = found.positions.iter().map(|at| ((at.topic.clone(), at.partition), at.position)).collect();
        (self.gone, self.uncommitted) = (found.gone, found.uncommitted);
        Ok(found.positions)
    }

    fn forget(&mut self, stage: &mut dyn Stage) {
        if !self.held.is_empty() {
            stage.revoked(&self.held);
        }
        self.held.clear();
        self.positions.clear();
        self.gone.clear();
        self.uncommitted.clear();
    }

    /// Goes back to what is committed, state and position both. What is polled on the way is of no use.
    fn settle(&mut self, stage: &mut dyn Stage) -> Result<(), Trouble> {
        self.metrics.status.begins("look for what the group decided");
        self.input.discard();
        if self.input.has_event() {
            return self.rebalance(stage);
        }
        let assigned = self.generation.is_some();
        if assigned {
            self.metrics.holds(false);
        }
        let partitions = self.assignment()?;
        let positions = self.rebuild(stage, &partitions)?;
        self.metrics.status.begins("go back");
        self.input.begin(&positions)?;
        if assigned {
            self.metrics.holds(true);
        }
        self.unsettled = false;
        Ok(())
    }

    /// What the client fetches now; the same as `held`, unless a rebuild failed.
    fn assignment(&self) -> Result<Vec<TopicPartition>, Trouble> {
        let list = bounded("list the assigned partitions", || self.input.consumer().assignment());
        let list = list.map_err(Error::kafka("list the assigned partitions"))?;
        let elements = list.elements();
        let partitions = elements
            .iter()
            .map(|element| TopicPartition { topic: element.topic().to_owned(), partition: element.partition() });
        Ok(partitions.collect())
    }

    fn recover(&mut self, trouble: Trouble, backoff: &mut Backoff) -> Result<(), Fault> {
        self.unsettled |= !matches!(trouble, Trouble::Wait { .. });
        if let Trouble::Wait { why } | Trouble::Rewind { why } | Trouble::Abort { why, .. } | Trouble::Renew { why } =
            &trouble
        {
            self.metrics.status.kept_by(why);
        }
        match trouble {
            Trouble::Fatal(fault) => return Err(fault),
            Trouble::Wait { why } => {
                self.metrics.errors.with_label_values(&["retry"]).inc();
                tracing::warn!(why, "the stage waits");
            }
            Trouble::Rewind { why } => {
                self.metrics.errors.with_label_values(&["retry"]).inc();
                tracing::warn!(why, "the loop goes back to what is committed");
            }
            Trouble::Abort { reason, why } => {
                self.metrics.aborts.with_label_values(&[reason]).inc();
                tracing::warn!(reason, why, "transaction aborted");
                self.metrics.status.begins("abort");
                if let Err(error) = batch::abort(&self.producer) {
                    tracing::warn!(%error, "the abort is left to the next producer");
                }
                // A new epoch for what comes next. In the old one the client gives the sequence numbers of outputs that were
                // not acknowledged to the next ones, and a broker that had written the former acknowledges the latter as
                // their duplicates, without writing them (docs/decisions/0016).
                self.renew(backoff)?;
            }
            Trouble::Renew { why } => {
                self.metrics.aborts.with_label_values(&["expired"]).inc();
                tracing::warn!(why, "the producer is of no more use and made anew");
                self.renew(backoff)?;
            }
        }
        backoff.wait(self.stop);
        Ok(())
    }

    fn renew(&mut self, backoff: &mut Backoff) -> Result<(), Fault> {
        self.metrics.status.begins("take over transactions");
        if let Some(producer) = new_producer(self.connection, self.settings, backoff, self.stop)? {
            self.producer = producer;
        }
        Ok(())
    }
}

fn place(message: &BorrowedMessage<'_>) -> (String, i32, i64) {
    let place = (message.topic().to_owned(), message.partition(), message.offset());
    tracing::error!(topic = place.0, partition = place.1, offset = place.2, "output too large, record set aside");
    place
}

/// A producer whose transactional id is ours: whoever had it before is fenced, and what it left open is aborted. `None`
/// where `stop` came first.
fn new_producer(
    connection: &Connection,
    settings: &LoopSettings,
    backoff: &mut Backoff,
    stop: &CancellationToken,
) -> Result<Option<BaseProducer<Deliveries>>, Fault> {
    let id = settings.transactional_id();
    let config = settings::producer(connection, &settings.service, Some(&id))?;
    let producer: BaseProducer<Deliveries> =
        config.create_with_context(Deliveries::default()).map_err(Error::kafka("create a producer"))?;
    while !stop.is_cancelled() {
        match bounded_in_transaction("take over transactions", || producer.init_transactions(CALL_TIMEOUT)) {
            Ok(()) => return Ok(Some(producer)),
            Err(error) if classify(&error) == Exit::Fatal => return Err(Fault::fatal("take over transactions", error)),
            Err(error) => {
                tracing::warn!(%error, id, "transactions cannot be taken over yet");
                backoff.wait(stop);
            }
        }
    }
    Ok(None)
}
