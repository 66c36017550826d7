//! What is done to the bus: planned from a seed, so that a run can be played again.

mod act;
mod plan;

pub use act::{Injected, Nemesis};
pub use plan::{Act, Fault, Kind, plan};
