//! What only the whole bus shows: a real broker, one process a role, and departments at its ends that share no code with it.

mod support;

#[path = "bus/anew.rs"]
mod anew;
#[path = "bus/catalogue.rs"]
mod catalogue;
#[path = "bus/churn.rs"]
mod churn;
#[path = "bus/disaster.rs"]
mod disaster;
#[path = "bus/examples.rs"]
mod examples;
#[path = "bus/partitions.rs"]
mod partitions;
#[path = "bus/permits.rs"]
mod permits;
#[path = "bus/poison.rs"]
mod poison;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One bus at a time: each is a broker and six processes.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn token(department: &str) -> String {
    format!("token-of-{department}-with-enough-characters-to-be-one")
}
