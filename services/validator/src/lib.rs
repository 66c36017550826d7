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

use freshet_kafka::offsets::Offsets;
use freshet_kafka::{Connection, service};
use freshet_runtime::Context;
use jiff::{SignedDuration, Timestamp};

pub use config::{Config, DEFAULTS};
pub use error::Error;
pub use metrics::Metrics;
pub use stage::{Setup, Validator};

/// Runs until `context.stop` is set, or until a fault that no retry mends.
pub async fn run(config: Config, connection: Connection, context: Context) -> Result<(), Error> {
    config.check()?;
    let metrics = Metrics::new(&context.registry)?;
    let offsets = Offsets::new(&connection)?;
    service::serve(config.loop_settings(), connection, context, |catalogue| {
        Ok(Validator::new(Setup {
            catalogue,
            clock: Box::new(Timestamp::now),
            pseudonym: config.pseudonym()?,
            max_event_bytes: config.max_event_bytes,
            clock_skew: SignedDuration::from_secs(config.clock_skew_seconds.into()),
            width: Box::new(move |topic| Ok(offsets.partition_count(topic)?)),
            metrics,
        }))
    })
    .await
}
