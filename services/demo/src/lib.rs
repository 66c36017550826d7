//! The demo: departments that publish real registers' changes and departments that subscribe to them, through public
//! interfaces only (Kafka, HTTP, a database), and the books that say whether everything arrived. Independent of the
//! services: it can be pointed at any bus that has its catalogue.

pub mod books;
pub mod business;
pub mod filter;
pub mod ledger;
mod play;
mod publishers;
pub mod registers;
mod subscribers;
mod view;
mod world;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub use play::play;
pub use world::World;

/// Where the bus is, as departments know it.
#[derive(Debug, Clone)]
pub struct Reach {
    /// host:port
    pub kafka: String,
    /// http://host:port
    pub gateway: String,
    /// http://host:port of the schema registry.
    pub registry: String,
    /// http://host:port of the pull API.
    pub pull: String,
    /// One file a department.
    pub tokens_dir: PathBuf,
    /// One file a webhook secret.
    pub secrets_dir: PathBuf,
    /// Tells the readers of one run from those of another.
    pub run: String,
}

impl Reach {
    pub fn token(&self, department: &str) -> anyhow::Result<String> {
        read(&self.tokens_dir, department)
    }

    pub fn secret(&self, name: &str) -> anyhow::Result<String> {
        read(&self.secrets_dir, name)
    }
}

fn read(folder: &Path, name: &str) -> anyhow::Result<String> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.trim().to_owned())
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Events per second of all publishers together.
    pub rate: u32,
    /// Of the invented business register.
    pub seed: u64,
    pub business_events: usize,
    /// End when the books are closed.
    pub once: bool,
    /// Printed below the books where the bus goes on.
    pub epilogue: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { rate: 2000, seed: 20_240_222, business_events: 36_000, once: true, epilogue: String::new() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Balanced,
    Unbalanced,
    /// Asked to stop before the books were closed; the next run of the same folder goes on.
    Stopped,
}
