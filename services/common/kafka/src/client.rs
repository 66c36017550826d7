//! What every client of ours has in common: where librdkafka's own lines go, and how an assignment changes.

use std::ops::Deref;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel as Level};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, TopicPartitionList};

use crate::calls::bounded;

/// The context of clients that need no callbacks.
pub(crate) struct Plain;

impl ClientContext for Plain {
    fn log(&self, level: Level, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        reported(&error, reason);
    }
}

impl ConsumerContext for Plain {}

/// How long whoever drops a [`Loner`] waits for it: he may be in the middle of asynchronous work. Not at all would be too
/// short, for a process that ends while the client still works may crash.
const LONER_CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A consumer that joins no group, and that is closed in a bounded time.
pub(crate) struct Loner(Option<BaseConsumer<Plain>>);

impl Loner {
    pub(crate) fn create(config: &ClientConfig) -> KafkaResult<Self> {
        config.create_with_context(Plain).map(Some).map(Self)
    }
}

impl Deref for Loner {
    type Target = BaseConsumer<Plain>;

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Some(consumer) => consumer,
            None => unreachable!("it is taken when it is dropped, and not before"),
        }
    }
}

impl Drop for Loner {
    fn drop(&mut self) {
        if let Some(consumer) = self.0.take() {
            close(consumer, LONER_CLOSE_LIMIT);
        }
    }
}

/// Closes a consumer, and goes on when that takes longer than the limit: it may never end (rust-rdkafka issues 453 and 509).
pub(crate) fn close<C: ConsumerContext + 'static>(consumer: BaseConsumer<C>, limit: Duration) {
    let (closed, wait) = mpsc::channel();
    // Without a thread it is closed here, by the closure that is thrown away.
    let closer = std::thread::Builder::new().name("kafka close".to_owned()).spawn(move || {
        drop(consumer);
        // Whoever waited may have gone on.
        let _ = closed.send(());
    });
    if closer.is_ok() && wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
        tracing::warn!("a consumer did not close in time and is left behind");
    }
}

/// Why a record that has no [`written_at`] counts as not written.
pub(crate) const NO_OFFSET: &str = "the client says that the record is written, but not at which offset";

/// The offset that the broker gave a record when it acknowledged it. The client reports records as written without one
/// where a later batch of theirs was acknowledged: it takes for granted that the broker has the earlier one then, and a
/// broker that knew nothing of the producer has not (docs/decisions/0017).
pub(crate) fn written_at(message: &BorrowedMessage<'_>) -> Option<i64> {
    Some(message.offset()).filter(|offset| *offset >= 0)
}

impl ProducerContext for Plain {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

/// An unreachable broker is an error for librdkafka; for us it is what retries are for. ERROR is kept for data at risk.
pub(crate) fn log(level: Level, facility: &str, line: &str) {
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            tracing::warn!(target: "librdkafka", facility, "{line}");
        }
        Level::Warning => tracing::info!(target: "librdkafka", facility, "{line}"),
        Level::Notice | Level::Info | Level::Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// Errors that a client reports beside the calls that meet them, which tell them again; the ends of partitions among
/// them.
pub(crate) fn reported(error: &KafkaError, reason: &str) {
    tracing::debug!(target: "librdkafka", %error, "{reason}");
}

/// Assigns these partitions instead of those before, and returns when the fetchers of those before have stopped. Without
/// that, the client ends the process where the next change takes away a partition whose fetcher still stops
/// (`rktp->rktp_started`, librdkafka issue 5573, mended behind 2.15).
pub(crate) fn assign<C: ConsumerContext>(consumer: &BaseConsumer<C>, list: &TopicPartitionList) -> KafkaResult<()> {
    bounded("assign partitions", || {
        consumer.assign(list)?;
        wait_until_stopped(consumer)
    })
}

/// [`assign`] of nothing.
pub(crate) fn unassign<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> KafkaResult<()> {
    bounded("give partitions back", || {
        consumer.unassign()?;
        wait_until_stopped(consumer)
    })
}

/// The client's main thread takes one thing after the other. When it answers the first question, it has stopped the
/// fetchers, for that stood before it; when it answers the second, it has taken note of that.
fn wait_until_stopped<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> KafkaResult<()> {
    consumer.assignment()?;
    consumer.assignment()?;
    Ok(())
}
