//! More than the gateway can take: ten times what it sustains, from five hundred connections of one department, while another
//! publishes beside it. Says from what was seen at both ends whether every accepted event arrived, whether all else was told
//! when to come back, and what the other department noticed of it.

mod arrivals;
mod bus;
mod calm;
mod crowd;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrivals::Arrivals;
use bus::Bus;
use calm::Calm;
use crowd::{Crowd, Flood};
pub use report::Report;

#[derive(Debug, Clone)]
pub struct Options {
    /// Of the flood.
    pub length: Duration,
    /// Of each of the two measurements before it.
    pub measured: Duration,
    pub connections: usize,
    /// How many times what is sustained.
    pub times: f64,
    /// Events of a request.
    pub batch: usize,
    /// Whether the flood's sender takes only what the bus leaves of the cores, as if it had a machine of its own.
    pub aside: bool,
    /// How long everything that was accepted may take to arrive.
    pub drain_limit: Duration,
}

impl Options {
    pub fn new(length: Duration) -> Self {
        Self {
            length,
            measured: Duration::from_secs(20),
            connections: 500,
            times: 10.0,
            batch: 100,
            aside: true,
            drain_limit: Duration::from_secs(120),
        }
    }
}

/// Connections that ask for what is sustained: fewer than one department may have requests.
const SUSTAINING: usize = 32;

/// Which part of the run a request of the other department fell into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Alone,
    Sustained,
    Flooded,
    After,
}

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let bus = tokio::task::spawn_blocking(Bus::start).await??;
    bus.ready().await?;
    let arrivals = Arc::new(Arrivals::start(&bus)?);
    let calm = Calm::start(&bus);
    // What is compiled, connected and created with the first events is no part of the latency.
    calm.warm_up(&arrivals).await?;

    calm.enter(Part::Alone);
    tokio::time::sleep(options.measured).await;

    calm.enter(Part::Sustained);
    let sustaining = Crowd { connections: SUSTAINING, batch: options.batch, ..Crowd::new(&bus) };
    let sustained = sustaining.flood(options.measured, options.aside).await?;
    let per_second = sustained.accepted_per_second();
    anyhow::ensure!(per_second > 0.0, "nothing was accepted: {sustained:?}");
    arrivals.wait_for(&sustained, options.drain_limit).await?;

    calm.enter(Part::Flooded);
    let pace = Some(per_second * options.times);
    let crowd =
        Crowd { connections: options.connections, batch: options.batch, first: 1_000, pace, ..Crowd::new(&bus) };
    let mut memory = bus.watch_memory();
    let flooded = crowd.flood(options.length, options.aside).await?;
    let memory = memory.stop().await;

    calm.enter(Part::After);
    let ended = Instant::now();
    let drained = arrivals.wait_for(&flooded, options.drain_limit).await.is_ok().then(|| ended.elapsed());
    let recovered = calm.recovered(ended).await;
    let told = calm.stop().await;
    arrivals.settle(&told).await;
    Ok(Report::new(report::Parts {
        options,
        sustained: &sustained,
        flooded: &flooded,
        told,
        arrivals: &arrivals,
        memory,
        drained,
        recovered,
    }))
}

/// Everything that was offered, and what became of it.
pub(crate) fn all<'a>(floods: impl IntoIterator<Item = &'a Flood>) -> (Vec<u64>, Vec<u64>) {
    let (mut accepted, mut unknown) = (Vec::new(), Vec::new());
    for flood in floods {
        accepted.extend(&flood.accepted);
        unknown.extend(&flood.unknown);
    }
    (accepted, unknown)
}
