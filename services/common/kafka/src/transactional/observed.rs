//! Reading back while the state is rebuilt: each piece is progress (unless it is read again and again), and the stop
//! signal ends it.

use freshet_core::{Fault, InRecord, Replay, ReplayRange};
use tokio_util::sync::CancellationToken;

use crate::LoopMetrics;
use crate::reader::Reader;

/// Between two looks at the clock and the stop signal.
const PIECE_RECORDS: u32 = 1_000;

pub(super) struct Observed<'a> {
    pub(super) reader: &'a mut Reader,
    pub(super) metrics: &'a LoopMetrics,
    pub(super) stop: &'a CancellationToken,
}

impl Replay for Observed<'_> {
    fn replay(
        &mut self,
        topic: &str,
        partition: i32,
        range: ReplayRange,
        each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
    ) -> Result<i64, Fault> {
        let (metrics, stop) = (self.metrics, self.stop);
        let mut count = 0;
        let end = self.reader.replay(topic, partition, range, &mut |record| {
            count += 1;
            if count == PIECE_RECORDS {
                count = 0;
                metrics.read_back();
                if stop.is_cancelled() {
                    return Err(Fault::retry("rebuild the state", "the service stops"));
                }
            }
            each(record)
        })?;
        metrics.read_back();
        Ok(end)
    }
}
