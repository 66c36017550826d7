//! The router: projects each canonical event into the *views* that active grants need, so that no field and no row outside
//! a grant leaves the bus's own topics (P6).
//!
//! | What | File |
//! |---|---|
//! | which views there are now, compiled | `views.rs` |
//! | one event to one view: filter, project, headers | `route.rs` |
//! | which rows are in a filtered view | `keys.rs` |
//! | how far a view has come, and why nothing is missed or repeated | `position.rs` |
//! | which topics that is said of | `topics.rs` |
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
mod topics;
mod views;

use std::time::Duration;

use freshet_kafka::{Connection, service};
use freshet_runtime::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use config::{Config, DEFAULTS};
pub use error::Error;
pub use metrics::Metrics;
pub use stage::{Router, Setup};
pub use topics::{LookUp, TopicIds};

/// With the 4 s for which a catalogue is in force unseen, less than the 5 s of P9.
const FRESH_FOR: Duration = Duration::from_millis(750);

/// Runs until `context.stop` is set, or until a fault that no retry mends.
pub async fn run(config: Config, connection: Connection, context: Context) -> Result<(), Error> {
    config.check()?;
    let metrics = Metrics::new(&context.registry)?;
    let cluster = topics::Cluster::new(&connection)?;
    service::serve(config.loop_settings(), connection, context, |catalogue| {
        Ok(Router::new(Setup {
            catalogue,
            clock: Box::new(Timestamp::now),
            time_zone: TimeZone::system(),
            fill_batch_records: config.fill_batch_records,
            topic_ids: Box::new(cluster),
            fresh_for: FRESH_FOR,
            metrics,
        }))
    })
    .await
}
