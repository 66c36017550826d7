//! TLS of a service's own listener: a certificate and its key from two PEM files, read again when they change. By the
//! one TLS stack of the project (docs/decisions/0001-one-tls-stack.md).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::CancellationToken;
use arc_swap::ArcSwap;
use native_tls::{Identity, Protocol};
use tokio_native_tls::TlsAcceptor;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct TlsError {
    file: PathBuf,
    reason: String,
}

/// What connections are accepted with now. Clones share it.
#[derive(Clone)]
pub struct Tls {
    certificate: Arc<PathBuf>,
    key: Arc<PathBuf>,
    state: Arc<ArcSwap<State>>,
}

struct State {
    changed: [Option<SystemTime>; 2],
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Tls {
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let state = State::read(certificate, key)?;
        let (certificate, key) = (Arc::new(certificate.to_owned()), Arc::new(key.to_owned()));
        Ok(Self { certificate, key, state: Arc::new(ArcSwap::from_pointee(state)) })
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        self.state.load().acceptor.clone()
    }

    /// Reads the files again if one of them changed; true if they were read. On an error the certificate stays as it was.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        if changed(&self.certificate, &self.key) == self.state.load().changed {
            return Ok(false);
        }
        self.state.store(Arc::new(State::read(&self.certificate, &self.key)?));
        Ok(true)
    }

    /// Until `stop`. Files that do not fit each other are an error in the log, once, and the last good ones stay in force:
    /// between two writes of a renewal they do not fit.
    pub async fn follow(self, stop: CancellationToken) {
        let mut last_error = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            match self.reload_if_changed() {
                Ok(true) => tracing::info!(file = %self.certificate.display(), "certificate read again"),
                Ok(false) => last_error = None,
                Err(error) => {
                    let text = error.to_string();
                    if last_error.as_ref() != Some(&text) {
                        tracing::error!(error = %text, "certificate not read again, the last good one stays in force");
                        last_error = Some(text);
                    }
                }
            }
        }
    }
}

impl State {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let error = |file: &Path, reason: String| TlsError { file: file.to_owned(), reason };
        // The times first: a file that changes in between is then read again.
        let changed = changed(certificate, key);
        let chain = std::fs::read(certificate).map_err(|reason| error(certificate, reason.to_string()))?;
        let secret = crate::private::read(key).map_err(|reason| error(key, reason.to_string()))?;
        let identity = Identity::from_pkcs8(&chain, &secret).map_err(|reason| {
            error(certificate, format!("with {}: {reason}; a PEM chain and its PKCS #8 key are due", key.display()))
        })?;
        let acceptor = native_tls::TlsAcceptor::builder(identity)
            .min_protocol_version(Some(Protocol::Tlsv12))
            .build()
            .map_err(|reason| error(certificate, reason.to_string()))?;
        Ok(Self { changed, acceptor: acceptor.into() })
    }
}

fn changed(certificate: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    [certificate, key].map(|file| std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok())
}
