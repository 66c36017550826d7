//! What every service shares and none of them decides: settings, logs, the listener, the admin port, signals, the
//! graceful stop, the departments' tokens. Independent of Kafka, of the catalogue and of any service.
//!
//! A service receives a [`Context`] and nothing ambient: its metrics go to `registry`, it holds a latch of `readiness`
//! for whatever it waits for, and it ends when `stop` is cancelled.

pub mod admin;
pub mod allocator;
pub mod config;
pub mod credentials;
pub mod http;
pub mod liveness;
pub mod log;
pub mod private;
pub mod readiness;
pub mod run;
pub mod secret;
pub mod threads;

pub use config::{ConfigError, Loaded};
pub use credentials::{Credentials, Token};
pub use http::HttpSettings;
pub use liveness::{Liveness, Watchdog};
pub use readiness::{Latch, Readiness};
pub use secret::Secret;
pub use threads::Threads;
pub use tokio_util::sync::CancellationToken;

/// What a service is given to run in. Cheap to clone; clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Context {
    pub registry: prometheus::Registry,
    pub readiness: Readiness,
    pub liveness: Liveness,
    /// Cancelled once, when the process is to end: stop reading, finish, commit, flush, return.
    pub stop: CancellationToken,
}

impl Context {
    pub fn new() -> Self {
        Self::default()
    }
}
