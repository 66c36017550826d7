//! One instance of a service: a stage with the partitions that the group gave it.

use freshet_core::{Assigned, Fault, InRecord, Outcome, Progress, Stage, TopicPartition};

use super::log::{Bus, Staged};

/// How a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Commit,
    /// The transaction is aborted: fenced, timed out, or an output could not be written.
    Abort,
    /// The instance dies before the commit. The caller drops it and builds another.
    Crash,
}

/// A stage and where it stands.
pub struct Member<S> {
    pub stage: S,
    topics: Vec<String>,
    partitions: Vec<i32>,
    held: Vec<Assigned>,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Member<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("stage", &self.stage).field("held", &self.held).finish()
    }
}

impl<S: Stage> Member<S> {
    pub fn new(stage: S) -> Self {
        Self { stage, topics: Vec::new(), partitions: Vec::new(), held: Vec::new() }
    }

    /// Gives it exactly these partitions (numbers, of every topic that its stage reads), as a rebalance does.
    pub fn rebalance(&mut self, bus: &Bus, partitions: &[i32]) -> Result<(), Fault> {
        if let Some(topics) = self.stage.inputs()? {
            self.topics = topics;
        }
        self.partitions = partitions.to_vec();
        self.assign_all(bus)
    }

    fn assign_all(&mut self, bus: &Bus) -> Result<(), Fault> {
        let partitions = self.partitions.clone();
        let wanted = self.topics.iter().flat_map(|topic| {
            partitions.iter().map(|partition| TopicPartition { topic: topic.clone(), partition: *partition })
        });
        let wanted = wanted.collect();
        self.assign(bus, wanted)
    }

    fn assign(&mut self, bus: &Bus, wanted: Vec<TopicPartition>) -> Result<(), Fault> {
        let revoked: Vec<TopicPartition> = self.held.drain(..).map(|held| place(&held)).collect();
        self.stage.revoked(&revoked);
        self.held = wanted
            .into_iter()
            .map(|TopicPartition { topic, partition }| {
                let position = bus.committed(&topic, partition);
                Assigned { topic, partition, position }
            })
            .collect();
        self.stage.assigned(&self.held, &mut &*bus)
    }

    /// Reads up to `limit` records, a few of each partition in turn, and ends as told. Returns the outcomes of a committed
    /// batch, none of another. A fault of the stage aborts, and is returned where it is fatal.
    pub fn batch(&mut self, bus: &mut Bus, limit: usize, end: End) -> Result<Vec<Outcome>, Fault> {
        if let Some(topics) = self.stage.inputs()? {
            self.topics = topics;
            self.assign_all(bus)?;
        }
        if let Err(fault) = self.stage.begin_batch() {
            return match fault {
                Fault::Retry { .. } => self.assign_all(bus).map(|()| Vec::new()),
                Fault::Fatal { .. } => Err(fault),
            };
        }
        let mut staged = Staged::default();
        let mut positions = self.held.clone();
        let result = self.work(bus, limit, &mut staged, &mut positions);
        let result = result.and_then(|outcomes| self.stage.before_commit().map(|()| outcomes));
        match (result, end) {
            (Ok(outcomes), End::Commit) => {
                let offsets: Vec<(TopicPartition, i64)> =
                    positions.iter().map(|held| (place(held), held.position)).collect();
                bus.commit(&staged, &offsets);
                self.held = positions;
                Ok(outcomes)
            }
            (Ok(_), End::Abort) | (Err(Fault::Retry { .. }), _) => {
                bus.abort(&staged);
                self.assign_all(bus)?;
                Ok(Vec::new())
            }
            (Ok(_), End::Crash) => {
                bus.abort(&staged);
                Ok(Vec::new())
            }
            (Err(fault), _) => Err(fault),
        }
    }

    fn work(
        &mut self,
        bus: &Bus,
        limit: usize,
        staged: &mut Staged,
        positions: &mut [Assigned],
    ) -> Result<Vec<Outcome>, Fault> {
        let mut outcomes = Vec::new();
        let mut budget = limit;
        for held in positions.iter_mut() {
            let share = budget.min(limit.div_ceil(self.held.len().max(1)));
            let records = bus.records(&held.topic, held.partition).iter().filter(|r| r.offset >= held.position);
            let mut next = held.position;
            for record in records.take(share) {
                let outcome = record.with_borrowed(&held.topic, held.partition, |borrowed: &InRecord<'_>| {
                    self.stage.process(borrowed, staged)
                })?;
                outcomes.push(outcome);
                next = record.offset + 1;
                budget -= 1;
            }
            held.position = next;
        }
        if self.stage.has_background_work() {
            let (Progress::Idle | Progress::More) = self.stage.background(&mut &*bus, staged)?;
        }
        Ok(outcomes)
    }

    /// Commits batches until the inputs are read and the stage has no work of its own left. `false` where 1,000 batches
    /// were not enough.
    pub fn drain(&mut self, bus: &mut Bus, limit: usize) -> Result<bool, Fault> {
        for _ in 0..1_000 {
            self.batch(bus, limit, End::Commit)?;
            let unread = self.held.iter().any(|held| {
                bus.records(&held.topic, held.partition).last().is_some_and(|last| last.offset >= held.position)
            });
            if !unread && !self.stage.has_background_work() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn place(held: &Assigned) -> TopicPartition {
    TopicPartition { topic: held.topic.clone(), partition: held.partition }
}
