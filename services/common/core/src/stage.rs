//! What a record-to-record service is: a pure function over records, with state that can be rebuilt. The transactional
//! batch loop in `freshet-kafka` drives it.

use crate::replay::OneMore;
use crate::{Fault, InRecord, OutRecord};

/// Exactly one per record that was read (P1). Outputs and rejections were written to the [`Output`] before it is
/// returned, in the same transaction as the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Passed on, to this many output records.
    Emitted { records: u32 },
    /// Refused, with its violations, to the publisher's reject topic.
    Rejected,
    /// Needs no output, for a reason that is counted.
    Dropped(DropReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The same `source` + `id` was accepted before, inside the duplicate window.
    Duplicate,
    /// No active view takes the row.
    NoView,
}

impl DropReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::NoView => "no_view",
        }
    }
}

/// Where a stage writes. What is written becomes visible together with the offsets of the batch, or not at all.
pub trait Output {
    fn send(&mut self, record: OutRecord<'_>) -> Result<(), Fault>;
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

/// Reads a partition back, committed records only, to rebuild state or to fill a view.
pub trait Replay {
    /// Calls `each` for every record from offset `from` (or the earliest that is kept) while offset < `until`; with
    /// `until` = `None`, up to the end as it was when the call began. Stops after `limit` records where one is given.
    /// Returns the offset to go on from.
    fn replay(
        &mut self,
        topic: &str,
        partition: i32,
        range: ReplayRange,
        each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
    ) -> Result<i64, Fault>;

    /// What makes others like it, to read other partitions at the same time; none where there is only this one.
    fn others(&self) -> Option<OneMore> {
        None
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct ReplayRange {
    pub from: i64,
    pub until: Option<i64>,
    pub limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to do beside the input.
    Idle,
    /// Did a part; call again.
    More,
}

/// One partition that the group gave to this instance, with the offset at which its input goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    pub topic: String,
    pub partition: i32,
    /// The committed offset, or where the input begins if nothing was committed.
    pub position: i64,
}

/// A record-to-record service. Calls come from one thread, in this order: `inputs`, then per assignment `assigned`,
/// then per batch `inputs`, `begin_batch`, `process` for each record, `background` once, `before_commit`. After an
/// aborted transaction the loop calls `revoked` and `assigned` again for every partition that it holds, so a stage needs
/// no undo.
pub trait Stage {
    /// The topics to read now, or `None` where they are the same as at the last call. Asked between batches.
    fn inputs(&mut self) -> Result<Option<Vec<String>>, Fault>;

    /// Rebuilds the state of these partitions. No record of theirs is processed before this returns.
    fn assigned(&mut self, partitions: &[Assigned], replay: &mut dyn Replay) -> Result<(), Fault>;

    /// Forgets the state of these partitions.
    fn revoked(&mut self, partitions: &[TopicPartition]);

    /// Called before the first record of a batch, outside of any transaction.
    fn begin_batch(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn process(&mut self, record: &InRecord<'_>, out: &mut dyn Output) -> Result<Outcome, Fault>;

    /// Called when all outputs of the batch are written and none of them is visible. Time may have passed since: a broker may be
    /// slow, or the process was stopped. A fault aborts the batch.
    fn before_commit(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// True where `background` has something to do even if no input arrives.
    fn has_background_work(&self) -> bool {
        false
    }

    /// A bounded piece of other work in the same transaction as the batch, e.g. filling a new view.
    /// `position(topic, partition)` after this batch is what the stage itself has counted.
    fn background(&mut self, _replay: &mut dyn Replay, _out: &mut dyn Output) -> Result<Progress, Fault> {
        Ok(Progress::Idle)
    }
}
