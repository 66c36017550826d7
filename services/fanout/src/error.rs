//! Why the fanout as a whole cannot work. What concerns one subscriber alone never comes here: it parks that subscriber.

use std::net::SocketAddr;

use crate::config::ConfigError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("fanout.{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Credentials(#[from] freshet_runtime::credentials::CredentialsError),
    #[error("fanout.listen {address}: {reason}")]
    Listen { address: SocketAddr, reason: std::io::Error },
    #[error(transparent)]
    Kafka(#[from] freshet_kafka::Error),
    #[error(transparent)]
    Fault(#[from] freshet_core::Fault),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}
