//! Why the gateway did not start or stopped. What a department did wrong is a [`crate::problem::Problem`] instead.

use std::net::SocketAddr;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("settings: {}", .0.join("; "))]
    Settings(Vec<String>),
    #[error(transparent)]
    Credentials(#[from] freshet_runtime::credentials::CredentialsError),
    #[error("gateway.pseudonym_key_file {path}: {reason}")]
    PseudonymKey { path: String, reason: String },
    #[error("gateway.tls_certificate {0}")]
    Tls(#[from] freshet_runtime::http::tls::TlsError),
    #[error("gateway.listen {address}: {reason}; choose another port or end who holds it")]
    Bind { address: SocketAddr, reason: std::io::Error },
    #[error(transparent)]
    Kafka(#[from] freshet_kafka::Error),
    #[error(transparent)]
    Catalogue(#[from] freshet_core::Fault),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("publisher: {unacknowledged} events were not acknowledged in time; their publishers have no answer")]
    Unacknowledged { unacknowledged: usize },
}
