//! The service: wiring only.

use std::sync::Arc;

use freshet_catalog_model::access::Roles;
use freshet_kafka::Connection;
use freshet_kafka::catalog::{self, CatalogHandle, State};
use freshet_runtime::Context;
use freshet_runtime::http::{Connections, Server};

use crate::apply::today;
use crate::keeper::{Clock, Keeper};
use crate::metrics::Metrics;
use crate::{Config, Error, router};

/// Serves until `context.stop`. Not ready before the catalogue was read to its end (P10); until then every answer is 503.
pub async fn run(config: Config, roles: Roles, connection: Connection, context: Context) -> Result<(), Error> {
    run_at(config, roles, connection, context, Arc::new(today)).await
}

/// The same by another clock.
pub async fn run_at(
    config: Config,
    roles: Roles,
    connection: Connection,
    context: Context,
    today: Clock,
) -> Result<(), Error> {
    let latch = context.readiness.wait_for("catalogue");
    let metrics = Metrics::register(&context.registry)?;
    let listen = |source| Error::Listen { address: config.listen, source };
    let listener = tokio::net::TcpListener::bind(config.listen).await.map_err(listen)?;
    let handle = catalog::follow(&connection, context.stop.clone())?;
    if config.keep_access {
        let (catalogue, metrics, stop) = (handle.clone(), metrics.clone(), context.stop.clone());
        tokio::spawn(Keeper { connection, roles, catalogue, today, metrics, stop }.run());
    }
    let source = {
        let handle = handle.clone();
        Arc::new(move || handle.is_ready().then(|| handle.current()))
    };
    let app = router(source, Some(metrics.requests.clone()));
    let stop = context.stop.clone();
    let connections = Connections::register(&context.registry, "catalog")?;
    let server = Server { router: app, bounds: config.http.bounds(), tls: None, connections };
    tracing::info!(listen = %config.listen, "catalogue served");
    tokio::select! {
        () = server.serve(listener, stop) => Ok(()),
        watched = watch(handle, latch, metrics, &context) => watched,
    }
}

/// Keeps the gauges; ends only where the catalogue can no longer be followed.
async fn watch(
    handle: CatalogHandle,
    latch: freshet_runtime::Latch,
    metrics: Metrics,
    context: &Context,
) -> Result<(), Error> {
    let mut latch = Some(latch);
    let mut changes = handle.changes();
    loop {
        let state = *changes.borrow_and_update();
        match state {
            State::Reading => {}
            State::Ready { revision } => {
                let snapshot = handle.current();
                let catalog = &snapshot.catalog;
                for (kind, count) in [
                    ("department", catalog.departments.len()),
                    ("dataset", catalog.datasets.len()),
                    ("schema", catalog.schemas.len()),
                    ("grant", catalog.grants.len()),
                    ("view", catalog.views.len()),
                ] {
                    metrics.entries.with_label_values(&[kind]).set(count as i64);
                }
                metrics.revision.set(revision as i64);
                drop(latch.take());
            }
            State::Failed => return Ok(handle.check()?),
        }
        if changes.changed().await.is_err() {
            // The follower ended: because of the stop, which the server obeys by itself, or by a fault.
            context.stop.cancelled().await;
            std::future::pending::<()>().await;
        }
    }
}
