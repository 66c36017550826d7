//! The fanout on a real broker, with subscribers that know nothing of the bus.

mod database;
mod pulling;
mod webhooks;
mod world;
