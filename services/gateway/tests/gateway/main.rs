//! The gateway over HTTP: in this process with a sink that remembers, and once against the real broker.

mod arbitrary;
mod batches;
mod broker;
mod connections;
mod documentation;
mod events;
mod fixture;
mod hostile;
mod limits;
mod uploads;
