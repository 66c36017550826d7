use std::net::SocketAddr;
use std::path::PathBuf;

use freshet_catalog_model::Diagnostic;
use freshet_core::Fault;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files have mistakes, or ask for what may not be done. Nothing was changed.
    #[error("{}", list(.0))]
    Refused(Vec<Diagnostic>),
    /// A role's principal, named as its setting.
    #[error("setting {0}")]
    Access(String),
    #[error("{}: {reason}", file.display())]
    Backup { file: PathBuf, reason: String },
    /// Nothing was changed.
    #[error(
        "{}: the bus's catalogue was changed at {bus_changed_at}, after the one in this file ({file_changed_at}); \
         `--overwrite` puts the older one in its place",
        file.display()
    )]
    Newer { file: PathBuf, file_changed_at: jiff::Timestamp, bus_changed_at: jiff::Timestamp },
    #[error(transparent)]
    Kafka(#[from] freshet_kafka::Error),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("setting catalog.listen: cannot listen on {address}: {source}; stop what uses the port, or choose another")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// One line a mistake, and how many.
fn list(diagnostics: &[Diagnostic]) -> String {
    let mut text: String = diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect();
    let count = diagnostics.len();
    text.push_str(&format!("{count} mistake{}; nothing was changed", if count == 1 { "" } else { "s" }));
    text
}
