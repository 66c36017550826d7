//! Whom TLS trusts where a grant names nobody of its own.

use std::sync::{Arc, OnceLock};

/// The system's trusted certificates, read when the first connection wants them and shared by all: reading them takes some
/// 85 ms and 0.9 MiB, and a database that comes back is connected to by every table that it has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust(Arc<OnceLock<native_tls::TlsConnector>>);

impl Trust {
    pub(crate) fn connector(&self) -> Result<native_tls::TlsConnector, native_tls::Error> {
        if let Some(connector) = self.0.get() {
            return Ok(connector.clone());
        }
        let connector = native_tls::TlsConnector::new()?;
        Ok(self.0.get_or_init(|| connector).clone())
    }
}
