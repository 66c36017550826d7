//! The bus in memory, for property tests of stages: partitions as lists, transactions that commit or vanish, instances
//! that crash between any two steps, partitions that move between instances, compaction. What it promises is what the
//! real loop promises (`freshet_kafka::transactional`): outputs, rejections and offsets of a batch become visible
//! together or not at all; after an abort the stage gets all its partitions anew; a stage's reads see committed records
//! only.

mod log;
mod member;

pub use log::{Bus, DropTombstones, MemoryRecord};
pub use member::{End, Member};

#[cfg(test)]
mod tests;
