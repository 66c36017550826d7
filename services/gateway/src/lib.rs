//! The way in for departments that do not speak Kafka: CloudEvents over HTTP, one, a batch, or a whole file. It answers
//! after the broker's acknowledgement, never before, and keeps nothing itself. Independent of how Kafka is reached (the
//! [`sink::EventSink`] is a trait) and of what the validator decides later.
//!
//! ```text
//! routes ─▶ envelope (CloudEvents) ─▶ admission (schema, key, source) ─▶ sink ─▶ publish.<dataset> | reject.<department>
//!   └─▶ upload (file, line by line) ────▲
//! ```

pub mod admission;
pub mod auth;
pub mod body;
pub mod config;
pub mod datasets;
pub mod envelope;
pub mod error;
pub mod limits;
pub mod metrics;
pub mod problem;
pub mod routes;
pub mod sink;
pub mod state;
pub mod upload;

use std::sync::Arc;
use std::time::Duration;

pub use config::{Config, DEFAULTS};
pub use error::Error;
use freshet_catalog_model::compiled::PseudonymKey;
use freshet_kafka::catalog::CatalogHandle;
use freshet_kafka::publisher::Publisher;
use freshet_kafka::{Connection, catalog};
use freshet_runtime::http::tls::Tls;
use freshet_runtime::http::{Connections, Server};
use freshet_runtime::{Context, Credentials};
pub use state::{Gateway, Parts};
use tokio::net::TcpListener;

/// How long the last acknowledgements are waited for.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// Runs until `context.stop`.
pub async fn run(config: Config, connection: Connection, context: Context) -> Result<(), Error> {
    let catalogue = catalog::follow(&connection, context.stop.clone())?;
    run_with(config, &connection, catalogue, context).await
}

/// The same with a catalogue that others in the process follow as well.
pub async fn run_with(
    config: Config,
    connection: &Connection,
    catalogue: CatalogHandle,
    context: Context,
) -> Result<(), Error> {
    config.check().map_err(Error::Settings)?;
    let latch = context.readiness.wait_for("gateway: the catalogue");
    let metrics = metrics::Metrics::register(&context.registry)?;
    let connections = Connections::register(&context.registry, "gateway")?;
    let credentials = config.credentials_file.as_ref().map(Credentials::read).transpose()?;
    let pseudonym = pseudonym_key(&config)?;
    let tls = match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::read(certificate, key)?),
        _ => None,
    };
    let address = config.listen;
    let listener = TcpListener::bind(address).await.map_err(|reason| Error::Bind { address, reason })?;
    let publisher = Publisher::new(connection, "gateway", config.max_in_flight_events)?;
    match &credentials {
        Some(credentials) => drop(tokio::spawn(credentials.clone().follow(context.stop.clone()))),
        None => tracing::warn!("gateway.credentials_file is not set: every request is refused"),
    }
    let stop = context.stop.clone();
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.follow(stop.clone()));
    }
    let bounds = config.bounds();
    let parts = Parts {
        credentials,
        pseudonym,
        catalogue: catalogue.clone(),
        sink: Arc::new(publisher.clone()),
        metrics,
        stop: stop.clone(),
    };
    let router = routes::router(Gateway::new(config, parts));
    tracing::info!(%address, tls = tls.is_some(), "gateway listens");
    let server = Server { router, bounds, tls, connections };
    let server = tokio::spawn(server.serve(listener, stop.clone()));
    let followed = follow_catalogue(&catalogue, latch, &stop).await;
    // Where the catalogue failed: the process ends with the error, after the requests in work.
    stop.cancel();
    let _ = server.await;
    if !publisher.flush(FLUSH_LIMIT).await {
        return Err(Error::Unacknowledged { unacknowledged: publisher.in_flight() });
    }
    followed
}

/// Ready once the catalogue was read; an error when it cannot be followed any more (P10).
async fn follow_catalogue(
    catalogue: &CatalogHandle,
    latch: freshet_runtime::Latch,
    stop: &freshet_runtime::CancellationToken,
) -> Result<(), Error> {
    let Some(ready) = stop.run_until_cancelled(catalogue.ready()).await else { return Ok(()) };
    ready?;
    latch.release();
    let mut changes = catalogue.changes();
    loop {
        catalogue.check()?;
        match stop.run_until_cancelled(changes.changed()).await {
            None | Some(Err(_)) => return Ok(()),
            Some(Ok(())) => {}
        }
    }
}

fn pseudonym_key(config: &Config) -> Result<Option<PseudonymKey>, Error> {
    let Some(path) = &config.pseudonym_key_file else { return Ok(None) };
    let error = |reason: String| Error::PseudonymKey { path: path.display().to_string(), reason };
    let secret = freshet_runtime::private::read(path).map_err(|reason| error(reason.to_string()))?;
    PseudonymKey::new(&secret).map(Some).map_err(|reason| error(reason.to_string()))
}
