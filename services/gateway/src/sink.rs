//! Where events go. A trait, so that whatever does not rest on Kafka is tested without it.

use freshet_kafka::publisher::{Acknowledgement, PublishError, Publisher, answers};
use freshet_kafka::{Position, Record};

/// Records that are handed over one after the other are written in that order.
pub trait EventSink: Send + Sync + 'static {
    /// Returns at once; the record is durable when the acknowledgement says so. `Full` means: nothing was taken.
    fn enqueue(&self, record: &Record) -> Result<Acknowledgement, PublishError>;
}

impl EventSink for Publisher {
    fn enqueue(&self, record: &Record) -> Result<Acknowledgement, PublishError> {
        Self::enqueue(self, record)
    }
}

/// The records of one request, on their way to the sink in their order. Once one is not taken, those behind it are not
/// tried: a later event of a key must not overtake an earlier one.
pub(crate) struct HandOver<'s> {
    sink: &'s dyn EventSink,
    stopped: Option<PublishError>,
    handed_over: Vec<Result<Acknowledgement, PublishError>>,
}

impl<'s> HandOver<'s> {
    /// With room for `count` records.
    pub fn new(sink: &'s dyn EventSink, count: usize) -> Self {
        Self { sink, stopped: None, handed_over: Vec::with_capacity(count) }
    }

    pub fn put(&mut self, record: &Record) {
        let taken = match &self.stopped {
            Some(error) => Err(error.clone()),
            None => self.sink.enqueue(record),
        };
        if let Err(error) = &taken {
            self.stopped.get_or_insert_with(|| error.clone());
        }
        self.handed_over.push(taken);
    }

    /// Waits for all; one answer a record, in their order.
    pub async fn answers(self) -> Vec<Result<Position, PublishError>> {
        answers(self.handed_over).await
    }
}
