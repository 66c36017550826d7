//! Follows `freshet.audit` on a thread of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use freshet_core::{Fault, topics};
use freshet_kafka::batches::BatchReader;
use freshet_kafka::{Connection, OwnedRecord};
use freshet_runtime::{CancellationToken, Latch};

use crate::metrics::Metrics;
use crate::trail::Trail;

const BATCH: usize = 1_000;
const WAIT: Duration = Duration::from_millis(200);
/// Before Kafka is tried again, or a topic that is not there yet.
const PAUSE: Duration = Duration::from_secs(1);

/// What the follower needs. It holds a latch until it has read the topic to its end.
#[derive(Debug)]
pub struct Follower {
    pub connection: Connection,
    pub trail: Arc<Mutex<Trail>>,
    pub metrics: Metrics,
    pub trail_hours: u32,
    pub stop: CancellationToken,
    pub latch: Option<Latch>,
}

impl Follower {
    /// Blocking, until `stop`. What Kafka refuses for the moment is tried again; anything else ends it.
    pub fn run(mut self) -> Result<(), Fault> {
        while !self.stop.is_cancelled() {
            match self.follow() {
                Ok(()) => {}
                Err(Fault::Retry { reason, .. }) => tracing::warn!(reason, "the audit topic cannot be read now"),
                Err(fault @ Fault::Fatal { .. }) => return Err(fault),
            }
            wait(PAUSE, &self.stop);
        }
        Ok(())
    }

    fn follow(&mut self) -> Result<(), Fault> {
        let mut reader = BatchReader::new(&self.connection, "observer")?;
        let Some(count) = reader.partition_count(topics::AUDIT)? else { return Ok(()) };
        let partitions: Vec<i32> = (0..count).collect();
        let hours = jiff::SignedDuration::from_hours(i64::from(self.trail_hours));
        let since = jiff::Timestamp::now().checked_sub(hours).unwrap_or(jiff::Timestamp::MIN);
        let from = reader.offsets_at_time(topics::AUDIT, &partitions, since.as_millisecond())?;
        reader.assign(topics::AUDIT, &from)?;
        // A follower that begins anew reads again what it has: the trail is not to hold it twice.
        self.trail().clear();
        while !self.stop.is_cancelled() {
            let batch = reader.next_batch(BATCH, WAIT)?;
            for record in &batch {
                self.take(record);
            }
            let (receipts, bytes) = {
                let trail = self.trail();
                (trail.len(), trail.bytes())
            };
            self.metrics.trail.set(receipts as i64);
            self.metrics.trail_bytes.set(bytes as i64);
            if batch.len() < BATCH {
                self.latch = None;
            }
        }
        Ok(())
    }

    fn take(&self, record: &OwnedRecord) {
        let taken = self.trail().take(record.value.as_deref().unwrap_or_default());
        match taken {
            Ok(receipt) => {
                self.metrics.receipts.with_label_values(&[&receipt.grant]).inc();
                self.metrics.disclosed.with_label_values(&[&receipt.grant]).inc_by(receipt.count.into());
            }
            Err(error) => {
                self.metrics.errors.with_label_values(&["audit"]).inc();
                let (partition, offset) = (record.partition, record.offset);
                tracing::error!(%error, partition, offset, "a record of the audit topic is not a receipt");
            }
        }
    }

    fn trail(&self) -> std::sync::MutexGuard<'_, Trail> {
        self.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sleeps in short steps, so that a stop is not waited for.
pub(crate) fn wait(time: Duration, stop: &CancellationToken) {
    const STEP: Duration = Duration::from_millis(50);
    let deadline = std::time::Instant::now() + time;
    while !stop.is_cancelled() && std::time::Instant::now() < deadline {
        std::thread::sleep(STEP.min(time));
    }
}
