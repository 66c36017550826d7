//! What a department has on its side: ordinary clients of Kafka, HTTP and webhooks, none of which knows the bus. The
//! demo and the end-to-end tests count at these ends.

mod avro;
mod consumer;
mod journal;
mod producer;
mod pull;
mod registry;
mod upload;
mod visitor;
mod webhook;

pub use avro::{decode, encode, from_json, to_json};
pub use consumer::{Consumer, Received};
pub use producer::{Producer, Sent, acknowledged};
pub use pull::{Pull, PullError, PulledEvent};
pub use registry::{Registry, RegistryError};
pub use upload::{RefusedLine, Upload, UploadError, UploadSummary};
pub use visitor::{Refusal, Visitor};
pub use webhook::{Delivery, Receiver};
