//! The next batch, read and made into rows while the database works on the one before.

use std::sync::Arc;
use std::time::Duration;

use freshet_kafka::OwnedRecord;
use freshet_kafka::batches::BatchReader;
use freshet_runtime::CancellationToken;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::SinkError;
use super::rows::{Rounds, RowMaker};

/// A batch that has as much is closed. Beside it the database works on another one.
const BATCH_BYTES: usize = 256 << 10;
/// The same while there is room for larger ones: a few tables that catch up are faster by it, many at a time would hold too
/// much.
const LARGE_BATCH_BYTES: usize = 1 << 20;
/// Of all tables of the service.
const LARGE_BATCHES: usize = 2;

/// Who may make a large batch.
#[derive(Debug, Clone)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BATCHES)))
    }
}
/// How long a batch that has records waits for more at once, while the database is busy.
const MORE_WAIT: Duration = Duration::from_millis(2);

/// A batch, which may be empty.
#[derive(Debug, Default)]
pub struct Taken {
    /// Without their values.
    pub records: Vec<OwnedRecord>,
    pub rounds: Rounds,
    /// How many records of the view are behind the batch, where that was asked.
    pub behind: Option<i64>,
    /// Held by a large batch until it is written.
    _room: Option<OwnedSemaphorePermit>,
}

/// Reads a view for one table. Blocking.
#[derive(Debug)]
pub struct Intake {
    reader: BatchReader,
    rows: RowMaker,
    max_records: usize,
    wait: Duration,
    room: Room,
}

impl Intake {
    /// `wait`: how long it waits for a first record.
    pub fn new(reader: BatchReader, rows: RowMaker, (max_records, wait): (usize, Duration), room: Room) -> Self {
        Self { reader, rows, max_records: max_records.max(1), wait, room }
    }

    /// At most so many records as was said, and `BATCH_BYTES` or, with room, `LARGE_BATCH_BYTES`. Until `free` is set there is no haste: the batch is filled.
    pub fn take(mut self, free: &CancellationToken, measure: bool) -> (Self, Result<Taken, SinkError>) {
        let taken = self.taken(free, measure);
        (self, taken)
    }

    fn taken(&mut self, free: &CancellationToken, measure: bool) -> Result<Taken, SinkError> {
        let mut records: Vec<OwnedRecord> = Vec::new();
        let (mut bytes, mut most, mut room) = (0, BATCH_BYTES, None);
        while records.len() < self.max_records && bytes < most {
            let wait = if records.is_empty() { self.wait } else { MORE_WAIT };
            let bounds = (self.max_records - records.len(), most - bytes);
            let more = self.reader.next_batch_within(bounds, wait)?;
            bytes += more.iter().map(OwnedRecord::size_bytes).sum::<usize>();
            records.extend(more);
            if records.is_empty() || free.is_cancelled() {
                break;
            }
            if bytes >= most && room.is_none() {
                room = Arc::clone(&self.room.0).try_acquire_owned().ok();
                most = if room.is_some() { LARGE_BATCH_BYTES } else { most };
            }
        }
        let behind = if measure { Some(behind(&self.reader)?) } else { None };
        let rounds = self.rows.rounds(&records)?;
        // Receipts need their keys and headers; the rows hold the rest.
        records.iter_mut().for_each(|record| record.value = None);
        Ok(Taken { records, rounds, behind, _room: room })
    }
}

fn behind(reader: &BatchReader) -> Result<i64, freshet_kafka::Error> {
    let ends = reader.end_offsets()?;
    Ok(reader.positions().iter().map(|(partition, at)| (ends.get(partition).unwrap_or(at) - at).max(0)).sum())
}
