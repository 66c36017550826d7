//! Where events go. A trait, so that whatever does not rest on Kafka is tested without it.

use freshet_kafka::publisher::{PublishError, Publisher};
use freshet_kafka::{Position, Record};
use futures::FutureExt;
use futures::future::BoxFuture;

/// The acknowledgement that is still to come.
pub type Acknowledged = BoxFuture<'static, Result<Position, PublishError>>;

/// Records that are handed over one after the other are written in that order.
pub trait EventSink: Send + Sync + 'static {
    /// Returns at once; the record is durable when the future says so. `Full` means: nothing was taken.
    fn enqueue(&self, record: &Record) -> Result<Acknowledged, PublishError>;
}

impl EventSink for Publisher {
    fn enqueue(&self, record: &Record) -> Result<Acknowledged, PublishError> {
        Publisher::enqueue(self, record).map(|acknowledgement| acknowledgement.wait().boxed())
    }
}

/// Hands all of them over, in order, then waits for all. Once one is not taken, those behind it are not tried: a later
/// event of a key must not overtake an earlier one.
pub async fn publish_all<'a>(
    sink: &dyn EventSink,
    records: impl ExactSizeIterator<Item = &'a Record>,
) -> Vec<Result<Position, PublishError>> {
    let mut stopped: Option<PublishError> = None;
    let mut pending = Vec::with_capacity(records.len());
    for record in records {
        let enqueued = match &stopped {
            Some(error) => Err(error.clone()),
            None => sink.enqueue(record),
        };
        if let Err(error) = &enqueued {
            stopped.get_or_insert_with(|| error.clone());
        }
        pending.push(enqueued);
    }
    let mut results = Vec::with_capacity(pending.len());
    for enqueued in pending {
        results.push(match enqueued {
            Ok(acknowledged) => acknowledged.await,
            Err(error) => Err(error),
        });
    }
    results
}
