//! What stands around the bus on one machine: a real Apache Kafka and a private PostgreSQL as child processes, for
//! `freshet up` and for tests, and the plain clients that departments would use. Beside `freshet-kafka` the only crate
//! with Kafka clients; it uses nothing of the bus itself.

// Every binary with librdkafka needs it to link (`.cargo/config.toml`).
use freshet_decompression as _;

pub mod broker;
pub mod departments;
pub mod limit;
pub mod memory;
pub mod ports;
pub mod postgres;
pub mod supervised;

pub use broker::{Broker, BrokerError, BrokerSettings};
