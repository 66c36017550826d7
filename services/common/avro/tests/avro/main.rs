//! The crate against `apache-avro` (the oracle) and against examples by hand.

mod ask;
mod condition;
mod differences;
mod naive;
mod oracle;
mod shape;

mod json;
mod limits;
mod predicate;
mod projection;
mod schema;
mod transcode;
mod walk;
