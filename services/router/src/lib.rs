//! The router: projects each canonical event into the *views* that active grants need, so that no field and no row outside
//! a grant leaves the bus's own topics (P6).
//!
//! | What | File |
//! |---|---|
//! | which views there are now, compiled | `views.rs` |
//! | one event to one view: filter, project, headers | `route.rs` |
//! | which rows are in a filtered view | `keys.rs` |
//! | how far a view has come, and why nothing is missed or repeated | `position.rs` |
//! | live events, filling, stopping, coming back | `partition.rs`, `sweep.rs` |
//!
//! Independent of how records are read and written: that is `freshet_kafka::transactional`.

mod config;
mod error;
mod keys;
mod metrics;
mod partition;
mod position;
mod route;
mod stage;
mod sweep;
mod views;

use std::time::Duration;

use freshet_kafka::transactional::{self, LoopSettings};
use freshet_kafka::{Connection, LoopMetrics, catalog};
use freshet_runtime::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use config::{Config, DEFAULTS};
pub use error::Error;
pub use metrics::Metrics;
pub use stage::{Router, Setup};

/// A loop that made no progress for this long is stuck. Longer than rebuilding a large state takes.
const STUCK_AFTER: Duration = Duration::from_secs(900);
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Runs until `context.stop` is set, or until a fault that no retry mends.
pub async fn run(config: Config, connection: Connection, context: Context) -> Result<(), Error> {
    config.check()?;
    let latch = context.readiness.wait_for("router: catalogue");
    let loop_metrics = LoopMetrics::new(&context.registry, "router")?;
    let metrics = Metrics::new(&context.registry)?;
    let catalogue = catalog::follow(&connection, context.stop.clone())?;
    tokio::select! {
        ready = catalogue.ready() => drop(ready?),
        () = context.stop.cancelled() => return Ok(()),
    }
    latch.release();

    let settings = LoopSettings {
        batch_records: config.batch_records,
        ..LoopSettings::new("router", &config.group, &config.instance)
    };
    let mut stage = Router::new(Setup {
        catalogue,
        clock: Box::new(Timestamp::now),
        time_zone: TimeZone::system(),
        fill_batch_records: config.fill_batch_records,
        metrics,
    });
    let (ended, mut has_ended) = tokio::sync::oneshot::channel();
    let (thread_metrics, stop) = (loop_metrics.clone(), context.stop.clone());
    let thread = std::thread::Builder::new().name("router".to_owned()).spawn(move || {
        let result = transactional::run(&mut stage, &connection, &settings, &thread_metrics, &stop);
        // Nobody listens any more only where `run` itself was dropped.
        let _ = ended.send(());
        result
    })?;
    let watchdog = context.liveness.watch("router loop", STUCK_AFTER);
    watchdog.progressed();
    while tokio::time::timeout(WATCH_EVERY, &mut has_ended).await.is_err() {
        if loop_metrics.seconds_without_progress() < 2.0 * WATCH_EVERY.as_secs_f64() {
            watchdog.progressed();
        }
    }
    thread.join().map_err(|_| Error::Panicked)??;
    Ok(())
}
