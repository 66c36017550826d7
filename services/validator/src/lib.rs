//! The validator: decides whether an event is what it claims. One file a step, in the order in which `stage.rs`
//! and `steps.rs` take them:
//!
//! | Step | File | Codes |
//! |---|---|---|
//! | envelope, size, partition | `envelope.rs` | `envelope.*` |
//! | duplicate of an accepted `source` + `id` | `state.rs` | (dropped, counted) |
//! | source, department, authority (P5) | `authority.rs` | `source.*` |
//! | framing, schema, every byte, key | `content.rs` | `schema.*`, `envelope.key` |
//! | identifiers | `identifiers.rs` | `identifier.invalid` |
//! | rules of the dataset | `rules.rs` | `rule.violated` |
//! | version (P4) | `version.rs` | `version.*` |
//! | transition | `transition.rs` | `transition.illegal` |
//! | division | `division.rs` | `division.*` |
//! | time | `clock.rs` | `clock.skew` |
//!
//! All that is wrong with an event is reported at once; a step is left out only where it cannot run. Independent of how
//! records are read and written: that is `freshet_kafka::transactional`.

mod authority;
mod clock;
mod config;
mod content;
mod dataset;
mod division;
mod envelope;
mod error;
mod identifiers;
mod metrics;
mod rebuild;
mod rejection;
mod rules;
mod stage;
mod state;
mod steps;
mod transition;
mod version;

use std::time::Duration;

use freshet_kafka::transactional::{self, LoopSettings};
use freshet_kafka::{Connection, LoopMetrics, catalog};
use freshet_runtime::Context;
use jiff::{SignedDuration, Timestamp};

pub use config::{Config, DEFAULTS};
pub use error::Error;
pub use metrics::Metrics;
pub use stage::{Setup, Validator};

/// A loop that made no progress for this long is stuck. Longer than rebuilding a large state takes.
const STUCK_AFTER: Duration = Duration::from_secs(900);
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Runs until `context.stop` is set, or until a fault that no retry mends.
pub async fn run(config: Config, connection: Connection, context: Context) -> Result<(), Error> {
    config.check()?;
    let latch = context.readiness.wait_for("validator: catalogue");
    let loop_metrics = LoopMetrics::new(&context.registry, "validator")?;
    let metrics = Metrics::new(&context.registry)?;
    let catalogue = catalog::follow(&connection, context.stop.clone())?;
    tokio::select! {
        ready = catalogue.ready() => drop(ready?),
        () = context.stop.cancelled() => return Ok(()),
    }
    latch.release();

    let settings = LoopSettings {
        batch_records: config.batch_records,
        ..LoopSettings::new("validator", &config.group, &config.instance)
    };
    let mut stage = Validator::new(Setup {
        catalogue,
        clock: Box::new(Timestamp::now),
        pseudonym: config.pseudonym()?,
        max_event_bytes: config.max_event_bytes,
        clock_skew: SignedDuration::from_secs(config.clock_skew_seconds.into()),
        metrics,
    });
    let (ended, mut has_ended) = tokio::sync::oneshot::channel();
    let (thread_metrics, stop) = (loop_metrics.clone(), context.stop.clone());
    let thread = std::thread::Builder::new().name("validator".to_owned()).spawn(move || {
        let result = transactional::run(&mut stage, &connection, &settings, &thread_metrics, &stop);
        // Nobody listens any more only where `run` itself was dropped.
        let _ = ended.send(());
        result
    })?;
    let watchdog = context.liveness.watch("validator loop", STUCK_AFTER);
    watchdog.progressed();
    while tokio::time::timeout(WATCH_EVERY, &mut has_ended).await.is_err() {
        if loop_metrics.seconds_without_progress() < 2.0 * WATCH_EVERY.as_secs_f64() {
            watchdog.progressed();
        }
    }
    thread.join().map_err(|_| Error::Panicked)??;
    Ok(())
}
