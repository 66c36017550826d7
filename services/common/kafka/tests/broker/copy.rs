//! A stage that copies, and that knows at every record whether the loop has kept its promises: its state is the last
//! number per key, rebuilt from its own output, and the next number of a key must be the one 50 higher.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use freshet_core::{Assigned, Fault, InRecord, OutRecord, Outcome, Output, Replay, ReplayRange, Stage, TopicPartition};
use freshet_kafka::transactional::{self, LoopSettings};
use freshet_kafka::{Connection, LoopMetrics};
use tokio_util::sync::CancellationToken;

type Inject = Box<dyn FnMut(&InRecord<'_>) -> Result<(), Fault> + Send>;

/// What the stage knows of the numbers of a key.
#[derive(Debug)]
pub enum Order {
    /// Each comes, once, in order.
    Complete,
    /// Some are gone before they are read; none comes twice, or late.
    Gaps,
    /// Also those that were read may come again.
    Any,
}

pub struct Copy {
    pub order: Order,
    pub input: String,
    pub output: String,
    pub subscribed: bool,
    /// Was asked for its inputs since it was given partitions: there a stage looks at what is in force.
    pub has_looked: bool,
    pub last: BTreeMap<i32, HashMap<Vec<u8>, u32>>,
    pub inject: Inject,
    /// The output's partition of a record with this number.
    pub place: fn(&InRecord<'_>, u32) -> i32,
    pub seen: Arc<Seen>,
}

/// What a test sees of a stage that runs elsewhere.
#[derive(Default)]
pub struct Seen {
    pub processed: AtomicU32,
    pub assigned: AtomicU32,
    pub broken: Mutex<Vec<String>>,
}

impl Copy {
    pub fn new(input: &str, output: &str) -> Self {
        Self {
            order: Order::Complete,
            input: input.to_owned(),
            output: output.to_owned(),
            subscribed: false,
            has_looked: false,
            last: BTreeMap::new(),
            inject: Box::new(|_| Ok(())),
            place: |record, _| record.partition,
            seen: Arc::default(),
        }
    }

    pub fn injecting(mut self, inject: impl FnMut(&InRecord<'_>) -> Result<(), Fault> + Send + 'static) -> Self {
        self.inject = Box::new(inject);
        self
    }

    pub fn expecting(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    fn broken(&self, what: String) -> Fault {
        self.seen.broken.lock().unwrap().push(what.clone());
        Fault::fatal("check the loop", what)
    }
}

fn number(value: Option<&[u8]>) -> u32 {
    std::str::from_utf8(value.unwrap()).unwrap().parse().unwrap()
}

impl Stage for Copy {
    fn inputs(&mut self) -> Result<Option<Vec<String>>, Fault> {
        self.has_looked = true;
        let first = !std::mem::replace(&mut self.subscribed, true);
        Ok(first.then(|| vec![self.input.clone()]))
    }

    fn assigned(&mut self, partitions: &[Assigned], replay: &mut dyn Replay) -> Result<(), Fault> {
        for at in partitions {
            if self.last.contains_key(&at.partition) {
                return Err(self.broken(format!("partition {} assigned twice", at.partition)));
            }
            let mut last = HashMap::new();
            replay.replay(&self.output, at.partition, ReplayRange::default(), &mut |record| {
                last.insert(record.key.unwrap().to_vec(), number(record.value));
                Ok(())
            })?;
            self.last.insert(at.partition, last);
        }
        self.has_looked = false;
        self.seen.assigned.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.last.remove(&partition.partition);
        }
    }

    fn process(&mut self, record: &InRecord<'_>, out: &mut dyn Output) -> Result<Outcome, Fault> {
        if !self.has_looked {
            return Err(self.broken("a record before a look at what is in force".to_owned()));
        }
        (self.inject)(record)?;
        let found = number(record.value);
        let key = record.key.unwrap();
        let Some(last) = self.last.get_mut(&record.partition) else {
            return Err(self.broken(format!("record of partition {} without its state", record.partition)));
        };
        let expected = last.get(key).map_or(found % 50, |last| last + 50);
        let is_due = match self.order {
            Order::Complete => found == expected,
            Order::Gaps => found >= expected,
            Order::Any => true,
        };
        if !is_due {
            return Err(self.broken(format!("partition {}: {found} came, {expected} was due", record.partition)));
        }
        last.insert(key.to_vec(), found);
        out.send(OutRecord {
            topic: &self.output,
            partition: (self.place)(record, found),
            key: record.key,
            value: record.value,
            headers: record.headers,
            extra: &[],
            timestamp_ms: record.timestamp_ms,
        })?;
        self.seen.processed.fetch_add(1, Ordering::Relaxed);
        Ok(Outcome::Emitted { records: 1 })
    }
}

/// A loop on a thread of its own.
pub struct Running {
    pub seen: Arc<Seen>,
    pub metrics: LoopMetrics,
    stop: CancellationToken,
    thread: JoinHandle<Result<(), Fault>>,
}

impl Running {
    pub fn start(mut stage: Copy, connection: Connection, settings: LoopSettings) -> Self {
        let (stop, metrics, seen) = (CancellationToken::new(), LoopMetrics::unregistered(), Arc::clone(&stage.seen));
        let (token, counted) = (stop.clone(), metrics.clone());
        let thread =
            std::thread::spawn(move || transactional::run(&mut stage, &connection, &settings, &counted, &token));
        Self { seen, metrics, stop, thread }
    }

    pub fn stop(self) -> Result<(), Fault> {
        self.stop.cancel();
        self.thread.join().unwrap()
    }

    /// Waits for the loop to end by itself.
    pub fn end(self) -> Result<(), Fault> {
        self.thread.join().unwrap()
    }

    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn committed(&self) -> u64 {
        ["emitted", "unwritable"].iter().map(|label| self.metrics.records.with_label_values(&[label]).get()).sum()
    }
}
