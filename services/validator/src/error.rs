//! Why the service ended.

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("setting {setting} {reason}")]
    Setting { setting: &'static str, reason: &'static str },
    #[error("setting validator.pseudonym_key: {0}")]
    PseudonymKey(#[source] freshet_catalog_model::compiled::KeyError),
    #[error(transparent)]
    Kafka(#[from] freshet_kafka::Error),
    #[error("register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(transparent)]
    Service(#[from] freshet_kafka::service::Error),
}
