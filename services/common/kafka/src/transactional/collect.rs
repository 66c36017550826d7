//! Collecting a batch: the one place where the loop polls its consumer for records.

use std::time::Duration;

use freshet_core::Fault;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;

use super::Trouble;
use crate::LoopMetrics;
use crate::backoff::Seldom;
use crate::error::{Exit, classify};
use crate::group::{Member, is_position_lost};

/// When a batch closes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) records: usize,
    /// Of keys and values.
    pub(super) bytes: usize,
    /// How long the first record is waited for. The others are taken only as they are at hand.
    pub(super) wait: Duration,
}

pub(super) struct Collector<'a> {
    metrics: &'a LoopMetrics,
    seldom: Seldom,
}

impl<'a> Collector<'a> {
    pub(super) fn new(metrics: &'a LoopMetrics) -> Self {
        Self { metrics, seldom: Seldom::default() }
    }

    /// Polls until the batch is full, the input is idle, or the group decided something.
    pub(super) fn collect<'m>(&self, input: &'m Member, bounds: Bounds) -> Result<Vec<BorrowedMessage<'m>>, Trouble> {
        let consumer = input.consumer();
        let mut batch = Vec::new();
        let (mut bytes, mut wait) = (0, bounds.wait);
        while batch.len() < bounds.records && bytes < bounds.bytes {
            match consumer.poll(wait) {
                Some(Ok(message)) => {
                    bytes += message.key_len() + message.payload_len();
                    batch.push(message);
                    wait = Duration::ZERO;
                }
                Some(Err(error)) => self.failed(error)?,
                None => break,
            }
            if input.has_event() {
                break;
            }
        }
        Ok(batch)
    }

    fn failed(&self, error: KafkaError) -> Result<(), Trouble> {
        if is_position_lost(&error) {
            return Err(Trouble::Rewind { why: format!("the position is not in the log any more: {error}") });
        }
        self.metrics.errors.with_label_values(&["poll"]).inc();
        match classify(&error) {
            Exit::Retry => {
                if self.seldom.now() {
                    tracing::warn!(%error, "poll");
                }
                Ok(())
            }
            Exit::Abort => Err(Trouble::Rewind { why: error.to_string() }),
            Exit::Fatal => Err(Trouble::Fatal(Fault::fatal("poll", error))),
        }
    }
}
