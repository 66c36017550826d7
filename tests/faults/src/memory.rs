//! What each service holds in memory at most, under what makes it hold much: records as large as they may be, larger ones
//! that came compressed, a thousand partitions, subscribers that are far behind.

mod bus;
mod catalogue;
mod load;

use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use nix::sys::signal::Signal;
use serde::Serialize;

pub use bus::Process;
use bus::SmallBus;

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub struct Options {
    pub limit_mib: u64,
    /// Events of half a KiB that wait when the ways out start.
    pub small_events: usize,
    /// Events of nearly the most that the validator may be told to take.
    pub large_events: usize,
    /// Records of 10 and 30 MiB that compress to less than a topic takes, of each codec.
    pub bombs: usize,
    /// Partitions of the wide dataset, and events in it.
    pub partitions: usize,
    pub wide_events: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit_mib: 256,
            small_events: 60_000,
            large_events: 60,
            bombs: 40,
            partitions: 1_000,
            wide_events: 5_000,
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub limit_mib: u64,
    pub held: String,
    pub parts: Vec<Part>,
    pub peak_mib: Vec<(String, u64)>,
    /// Killed by the kernel for its memory, or ended by itself.
    pub ended: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Part {
    pub what: String,
    pub seconds: f64,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.ended.is_empty() && self.peak_mib.iter().all(|(_, mib)| *mib <= self.limit_mib)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["service", "most memory, MiB"]);
        for (id, mib) in &self.peak_mib {
            table.add_row([id.clone(), mib.to_string()]);
        }
        for part in &self.parts {
            writeln!(f, "{part}")?;
        }
        writeln!(f, "\n{table}\n\nlimit: {} MiB, {}", self.limit_mib, self.held)?;
        for end in &self.ended {
            writeln!(f, "ENDED: {end}")?;
        }
        let verdict = if self.is_good() { "Every service stayed inside." } else { "THE LIMIT WAS PASSED." };
        writeln!(f, "{verdict}")
    }
}

/// Blocking.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Runtime::new()?;
    let world = runtime.block_on(load::World::new())?;
    let mut bus = SmallBus::start(options, &world, runtime.handle())?;
    let mut parts = Vec::new();
    let played = play(options, &world, (&mut bus, runtime.handle()), &mut parts);
    let (held, peak_mib, mut ended) = bus.finish();
    if let Err(error) = played {
        ended.push(format!("{error:#}"));
    }
    Ok(Report { limit_mib: options.limit_mib, held, parts, peak_mib, ended })
}

fn play(
    options: &Options,
    world: &load::World,
    (bus, runtime): (&mut SmallBus, &tokio::runtime::Handle),
    parts: &mut Vec<Part>,
) -> anyhow::Result<()> {
    let mut done = |what: String, begun: Instant| {
        let part = Part { what, seconds: begun.elapsed().as_secs_f64() };
        eprintln!("{part}");
        parts.push(part);
    };
    for role in ["catalog", "validator", "router", "observer", "gateway"] {
        bus.spawn(role)?;
    }
    bus.wait_ready(LIMIT)?;
    let Options { small_events, large_events, bombs, partitions, wide_events, .. } = *options;

    let begun = Instant::now();
    let published = runtime.block_on(load::publish_backlog(bus, options))?;
    bus.wait_until_routed(published, LIMIT)?;
    let views = catalogue::VIEWS;
    done(format!("{small_events} events of 0.5 KiB and {large_events} of 0.9 MB routed to {views} views"), begun);

    let begun = Instant::now();
    // All of them lie there at once when it reads the first.
    bus.signal("validator", Signal::SIGSTOP)?;
    let told = runtime.block_on(load::publish_bombs(bus, options))?;
    bus.signal("validator", Signal::SIGCONT)?;
    load::wait_until_refused(bus, bombs * load::BOMBS.len())?;
    let codecs = load::BOMBS.map(|(codec, bytes)| format!("{} MiB in {codec}", bytes >> 20)).join(", ");
    done(
        format!("{bombs} records each of {codecs}, that came in as a few KiB: all refused; uncompressed: {told}"),
        begun,
    );

    let begun = Instant::now();
    bus.spawn("fanout")?;
    bus.wait_ready(LIMIT)?;
    let (due, subscribers) = (small_events + large_events, catalogue::SUBSCRIBERS);
    runtime.block_on(world.receive(bus, due, LIMIT))?;
    done(format!("{subscribers} subscribers that had nothing yet have all {due}"), begun);

    let begun = Instant::now();
    runtime.block_on(load::publish_wide(bus, options))?;
    runtime.block_on(world.receive_wide(bus, wide_events, LIMIT))?;
    done(format!("{wide_events} events over {partitions} partitions delivered"), begun);
    bus.look()
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>6.1} s  {}", self.seconds, self.what)
    }
}
