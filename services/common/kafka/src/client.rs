//! What every client of ours has in common: where librdkafka's own lines go.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

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
