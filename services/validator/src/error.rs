//! Why the service ended.

use freshet_core::Fault;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("setting {setting} {reason}")]
    Setting { setting: &'static str, reason: &'static str },
    #[error("setting validator.pseudonym_key: {0}")]
    PseudonymKey(#[source] freshet_catalog_model::compiled::KeyError),
    #[error(transparent)]
    Kafka(#[from] freshet_kafka::Error),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("start the thread of the loop: {0}")]
    Thread(#[from] std::io::Error),
    /// The panic's message and place went to standard error.
    #[error("the loop's thread panicked")]
    Panicked,
}
