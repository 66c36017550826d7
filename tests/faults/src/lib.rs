//! Hurts the bus from a seed while real registers run through it, and says from what was seen at its ends whether it kept
//! its promises. Independent of the services: they are processes, known by their public interfaces.

pub mod bus;
pub mod catalogue;
pub mod checker;
pub mod history;
pub mod ledger;
pub mod limit;
pub mod memory;
pub mod nemesis;
pub mod overload;
pub mod probes;
pub mod proxy;
pub mod report;
pub mod run;
pub mod subscribers;
pub mod upgrade;
pub mod workload;
