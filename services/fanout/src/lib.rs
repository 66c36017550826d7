//! Fanout: delivers views to subscribers that do not read Kafka: webhooks, a table in the subscriber's own database, a
//! pull API. Each subscriber has its own consumer and its own task, so that one that is slow, dead or parked delays
//! nobody else. Independent of how views come about (router) and of who was granted what (catalogue).

mod config;
mod error;
mod event;
pub mod in_process;
mod lag;
mod metrics;
mod postgres;
mod pull;
mod receipts;
mod secrets;
mod subscription;
mod supervisor;
mod trust;
mod webhook;

use std::sync::Arc;

use freshet_core::topics;
use freshet_kafka::catalog::{self, CatalogHandle};
use freshet_kafka::publisher::Publisher;
use freshet_kafka::{Connection, WindowMetrics};
use freshet_runtime::http::{Connections, Server};
use freshet_runtime::{CancellationToken, Context, Credentials};
use tokio::net::TcpListener;

pub use config::{Config, ConfigError, DEFAULTS, PostgresConfig, PullConfig, ReceiptsConfig, WebhookConfig};
pub use error::Error;
pub use pull::{Cursor, CursorError, TopicMark, openapi};
pub use webhook::retry;

/// Receipts that may wait for the audit topic's acknowledgement.
const RECEIPTS_IN_FLIGHT: usize = 10_000;

/// What the parts of the service share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: Config,
    connection: Connection,
    catalog: CatalogHandle,
    schemas: Arc<event::Schemas>,
    receipts: receipts::Receipts,
    metrics: metrics::Metrics,
    window_metrics: WindowMetrics,
    subscriptions: subscription::Subscriptions,
    policy: Arc<webhook::address::AddressPolicy>,
    trust: trust::Trust,
    room: postgres::Room,
    stop: CancellationToken,
}

/// Runs the service until `context.stop`, or until it cannot work any more.
pub async fn run(config: Config, connection: Connection, context: Context) -> Result<(), Error> {
    config.check()?;
    let policy = webhook::address::AddressPolicy::new(&config.allow_private_addresses)
        .map_err(|error| ConfigError { setting: "allow_private_addresses", reason: error.to_string() })?;
    let credentials = match config.credentials_file.as_os_str().is_empty() {
        true => None,
        false => Some(Credentials::read(&config.credentials_file)?),
    };
    let address = config.listen;
    let listener = TcpListener::bind(address).await.map_err(|reason| Error::Listen { address, reason })?;
    // Ends what this service started also when it ends by an error of its own.
    let stop = context.stop.child_token();
    let _stop_all = stop.clone().drop_guard();

    let latch = context.readiness.wait_for("catalogue");
    let handle = catalog::follow(&connection, stop.clone())?;
    let metrics = metrics::Metrics::register(&context.registry)?;
    let connections = Connections::register(&context.registry, "fanout")?;
    let publisher = Publisher::new(&connection, topics::AUDIT, RECEIPTS_IN_FLIGHT)?;
    let schemas = {
        let handle = handle.clone();
        event::Schemas::new(move |id| handle.current().catalog.schemas.get(&id).map(|schema| schema.avsc.clone()))
    };
    let shared = Arc::new(Shared {
        receipts: receipts::Receipts::new(
            Arc::new(publisher),
            context.readiness.clone(),
            metrics.clone(),
            config.receipts.max_events,
        ),
        window_metrics: WindowMetrics::new(&context.registry, "fanout")?,
        subscriptions: subscription::Subscriptions::default(),
        policy: Arc::new(policy),
        trust: trust::Trust::default(),
        room: postgres::Room::default(),
        schemas: Arc::new(schemas),
        catalog: handle.clone(),
        metrics,
        connection,
        config,
        stop: stop.clone(),
    });
    let Some(ready) = stop.run_until_cancelled(handle.ready()).await else { return Ok(()) };
    ready?;
    latch.release();
    tracing::info!(%address, "pull API");

    if let Some(credentials) = credentials.clone() {
        tokio::spawn(credentials.follow(stop.clone()));
    }
    tokio::spawn(lag::follow(Arc::clone(&shared)));
    let app = pull::router(Arc::clone(&shared), credentials);
    let serving = stop.clone();
    let server = Server { router: app, bounds: shared.config.http.bounds(), tls: None, connections };
    let server = server.serve(listener, serving);
    let supervisor = async {
        let ended = supervisor::run(&shared, &context.readiness).await;
        stop.cancel();
        ended.map_err(Error::from)
    };
    let ((), supervised) = tokio::join!(server, supervisor);
    supervised
}
