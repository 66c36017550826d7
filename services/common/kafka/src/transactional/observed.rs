//! Reading back while the state is rebuilt: each piece is progress (unless it is read again and again), and the stop
//! signal ends it.

use std::borrow::BorrowMut;

use freshet_core::replay::OneMore;
use freshet_core::{Fault, InRecord, Replay, ReplayRange};
use tokio_util::sync::CancellationToken;

use crate::reader::Reader;
use crate::{Connection, LoopMetrics};

/// Between two looks at the clock and the stop signal.
const PIECE_RECORDS: u32 = 1_000;

pub(super) struct Observed<R> {
    pub(super) reader: R,
    pub(super) connection: Connection,
    pub(super) metrics: LoopMetrics,
    pub(super) stop: CancellationToken,
}

impl<R: BorrowMut<Reader>> Replay for Observed<R> {
    fn replay(
        &mut self,
        topic: &str,
        partition: i32,
        range: ReplayRange,
        each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
    ) -> Result<i64, Fault> {
        let Self { reader, metrics, stop, .. } = self;
        let mut count = 0;
        let end = reader.borrow_mut().replay(topic, partition, range, &mut |record| {
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

    fn others(&self) -> Option<OneMore> {
        let (connection, metrics, stop) = (self.connection.clone(), self.metrics.clone(), self.stop.clone());
        Some(Box::new(move || {
            let reader = Reader::new(&connection)?;
            let (connection, metrics, stop) = (connection.clone(), metrics.clone(), stop.clone());
            Ok(Box::new(Observed { reader, connection, metrics, stop }))
        }))
    }
}
