//! From a connection URL to a connection. TLS where the URL or the server wants it, by the platform's OpenSSL.

use std::time::Duration;

use postgres_native_tls::MakeTlsConnector;
use tokio_postgres::Client;

use super::SinkError;
use crate::trust::Trust;

/// A URL as libpq takes it, with the two settings that tokio-postgres does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Url {
    text: String,
    root_certificate: Option<String>,
}

/// `sslmode=verify-ca` and `verify-full` become `require`: certificate and name are verified whenever TLS is used.
/// `sslrootcert` names a PEM file.
fn parse(url: &str) -> Url {
    let (base, query) = url.trim().split_once('?').unwrap_or((url.trim(), ""));
    let mut kept = Vec::new();
    let mut root_certificate = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", "verify-ca" | "verify-full")) => kept.push("sslmode=require"),
            Some(("sslrootcert", path)) => root_certificate = Some(path.replace("%2F", "/").replace("%2f", "/")),
            _ => kept.push(pair),
        }
    }
    let text = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    Url { text, root_certificate }
}

/// The connection works in a task of its own, which ends with the client.
pub(super) async fn connect(url: &str, trust: &Trust, timeout: Duration) -> Result<Client, SinkError> {
    let url = parse(url);
    let mut config: tokio_postgres::Config =
        url.text.parse().map_err(|_| SinkError::Secret("the secret is not a PostgreSQL connection URL".to_owned()))?;
    config.connect_timeout(timeout).application_name("freshet").keepalives_idle(Duration::from_secs(30));
    let tls = match &url.root_certificate {
        None => trust.connector(),
        Some(path) => {
            let wrong = |error: &dyn std::fmt::Display| SinkError::Secret(format!("sslrootcert {path}: {error}"));
            let pem = tokio::fs::read(path).await.map_err(|error| wrong(&error))?;
            let certificate = native_tls::Certificate::from_pem(&pem).map_err(|error| wrong(&error))?;
            native_tls::TlsConnector::builder().add_root_certificate(certificate).build()
        }
    };
    let tls = tls.map_err(|error| SinkError::Secret(format!("TLS: {error}")))?;
    // The setting covers one host's TCP handshake; this covers all of it.
    let connecting = config.connect(MakeTlsConnector::new(tls));
    let (client, connection) = tokio::time::timeout(timeout, connecting)
        .await
        .map_err(|_| SinkError::Connect(format!("no answer within {} ms", timeout.as_millis())))?
        .map_err(|error| SinkError::Connect(super::describe(&error)))?;
    tokio::spawn(async move {
        // Its error reaches the client's calls too.
        let _ = connection.await;
    });
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libpqs_tls_settings_are_understood() {
        let url = parse("postgres://a:b@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&connect_timeout=3\n");
        assert_eq!(url.text, "postgres://a:b@h/d?sslmode=require&connect_timeout=3");
        assert_eq!(url.root_certificate.as_deref(), Some("/etc/ca.pem"));
        assert!(url.text.parse::<tokio_postgres::Config>().is_ok());
        assert_eq!(parse("postgres://h/d").text, "postgres://h/d");
    }
}
