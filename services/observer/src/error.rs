//! Why the observer cannot work.

use std::net::SocketAddr;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Credentials(#[from] freshet_runtime::credentials::CredentialsError),
    #[error("observer.listen {address}: {reason}")]
    Listen { address: SocketAddr, reason: std::io::Error },
    #[error(transparent)]
    Kafka(#[from] freshet_kafka::Error),
    #[error(transparent)]
    Fault(#[from] freshet_core::Fault),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}
