//! The control plane: `apply` makes the bus's catalogue what a folder of files says, `export` and `import` keep it in a
//! file; the service shows it to clients, as a
//! Confluent Schema Registry (read only) and as plain JSON. It decides nothing about events.

mod apply;
mod backup;
mod config;
mod error;
mod keeper;
mod metrics;
mod registry;
mod routes;
mod service;

pub use apply::{Report, access, apply, diff, validate};
pub use backup::{Exported, Newer, export, import};
pub use config::{Config, DEFAULTS};
pub use error::Error;
pub use routes::{Source, router};
pub use service::{run, run_at};
