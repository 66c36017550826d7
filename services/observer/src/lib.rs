//! Observer: keeps the trail (who was told what, when, for what purpose) and the lag of every subscriber. It only looks:
//! nothing waits for it. Independent of how events are delivered; it knows receipts, offsets and the catalogue.

mod audit;
mod config;
mod error;
mod lag;
mod metrics;
mod routes;
mod trail;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use freshet_core::Fault;
use freshet_kafka::{Connection, catalog};
use freshet_runtime::http::{Connections, Server};
use freshet_runtime::{Context, Credentials};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use config::{Config, DEFAULTS};
pub use error::Error;

/// The routes over these receipts, to be called in a test.
pub fn router(receipts: Vec<freshet_core::Receipt>, operators: Option<Credentials>) -> axum::Router {
    let mut trail = trail::Trail::new(usize::MAX);
    for receipt in receipts.iter().filter_map(|receipt| serde_json::to_vec(receipt).ok()) {
        // What was made of a receipt is one.
        let _ = trail.take(&receipt);
    }
    routes::router(routes::Api { trail: Arc::new(Mutex::new(trail)), lags: Arc::default(), operators })
}

/// Runs the service until `context.stop`, or until it cannot work any more.
pub async fn run(config: Config, connection: Connection, context: Context) -> Result<(), Error> {
    let operators = match config.operators_file.as_os_str().is_empty() {
        true => None,
        false => Some(Credentials::read(&config.operators_file)?),
    };
    let address = config.listen;
    let listener = TcpListener::bind(address).await.map_err(|reason| Error::Listen { address, reason })?;
    let stop = context.stop.child_token();
    let _stop_all = stop.clone().drop_guard();
    let metrics = metrics::Metrics::register(&context.registry)?;
    let connections = Connections::register(&context.registry, "observer")?;
    let trail = Arc::new(Mutex::new(trail::Trail::new(config.trail_bytes)));
    let lags = Arc::new(Mutex::new(Vec::new()));

    let latch = context.readiness.wait_for("catalogue");
    let audit_latch = context.readiness.wait_for("trail");
    let handle = catalog::follow(&connection, stop.clone())?;
    let audit = audit::Follower {
        connection: connection.clone(),
        trail: Arc::clone(&trail),
        metrics: metrics.clone(),
        trail_hours: config.trail_hours,
        stop: stop.clone(),
        latch: Some(audit_latch),
    };
    let audit = thread("audit", move || audit.run())?;
    let Some(ready) = stop.run_until_cancelled(handle.ready()).await else { return Ok(()) };
    ready?;
    latch.release();
    let lag = lag::Follower {
        connection,
        catalog: handle,
        trail: Arc::clone(&trail),
        lags: Arc::clone(&lags),
        metrics,
        interval: Duration::from_millis(config.lag_interval_ms),
        stop: stop.clone(),
    };
    let lag = thread("lag", move || lag.run())?;
    if let Some(operators) = operators.clone() {
        tokio::spawn(operators.follow(stop.clone()));
    }
    let app = routes::router(routes::Api { trail, lags, operators });
    let serving = stop.clone();
    let server = Server { router: app, bounds: config.http.bounds(), tls: None, connections };
    let server = server.serve(listener, serving);
    // Whichever ends first ends the others.
    let watched = |ended: oneshot::Receiver<Result<(), Fault>>| {
        let stop = stop.clone();
        async move {
            let ended = ended.await.unwrap_or_else(|_| Err(Fault::fatal("observe", "a thread panicked")));
            stop.cancel();
            ended.map_err(Error::from)
        }
    };
    let ((), audited, lagged) = tokio::join!(server, watched(audit), watched(lag));
    audited.and(lagged)
}

/// Blocking work on a thread of its own; the receiver tells how it ended.
fn thread(
    name: &str,
    work: impl FnOnce() -> Result<(), Fault> + Send + 'static,
) -> Result<oneshot::Receiver<Result<(), Fault>>, Error> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody waits any more where the service has ended by an error.
            let _ = sender.send(work());
        })
        .map_err(|error| Fault::fatal("start a thread", error))?;
    Ok(receiver)
}
