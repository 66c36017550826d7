//! Kafka for the bus: the only user of `rdkafka` beside the test kit. Two loops that all services share (record to record
//! in [`transactional`], record to outside in [`window`]), the settings that correctness rests on, and the readers and
//! writers around them. Independent of what the records mean: that is a [`freshet_core::Stage`]'s or a
//! [`window::Deliver`]'s business.

pub mod acl;
pub mod admin;
mod aside;
mod backoff;
pub mod batches;
mod calls;
pub mod catalog;
mod client;
pub mod connection;
mod describe;
pub mod error;
mod group;
mod headers;
pub mod metrics;
mod native;
pub mod offsets;
pub mod publisher;
pub mod reader;
mod reason;
pub mod record;
mod request;
pub mod service;
mod settings;
pub mod transactional;
pub mod window;

// Is linked, not called: librdkafka decompresses through it.
use freshet_decompression as _;

pub use aside::Aside;
pub use connection::Connection;
pub use describe::TopicId;
pub use error::Error;
pub use headers::Headers;
pub use metrics::{LoopMetrics, WindowMetrics};
pub use record::{OwnedRecord, Position, Record};
pub use settings::MAX_RECORD_BYTES;
