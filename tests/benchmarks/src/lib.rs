//! `freshet bench`: the services against librdkafka's own topic-to-topic pass-through with transactions, and the ways in
//! and out against the same work without us, in one run, on a real broker, with everything on. The workload is the licence
//! dataset (`licence.rs`); what is printed is the table of the README.

mod catalogue;
mod cluster;
mod compare;
mod curves;
mod database;
mod delivery;
mod depth;
mod figure;
mod gateway;
mod grants;
mod hops;
mod latency;
pub mod licence;
mod long;
mod measure;
mod peer;
mod process;
mod report;
mod svg;
mod turns;
pub mod walker;
mod warm_up;
mod width;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::cluster::Cluster;
use crate::delivery::Webhooks;
use crate::hops::Turns;
pub use compare::compare;
pub use figure::Figure;
pub use report::{LatencyRow, Ratio, Report, Row};

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A third of the records, fewer rounds, less of what is wide and deep: about two minutes.
    pub quick: bool,
    pub json: bool,
    /// The names of the parts to run ([`PARTS`]), or of the curves to draw; empty: all.
    pub only: Vec<String>,
    /// A folder with a Kafka Streams program for the same work (`peer.rs` says what it is asked).
    pub kafka_streams: Option<PathBuf>,
    /// Licences of the part `depth`, where not the usual number.
    pub depth: Option<u64>,
    /// Runs the bus for so many minutes and looks at its memory; no part unless named.
    pub long_minutes: Option<u64>,
    /// Draws the cost curves into this folder; no part unless named.
    pub curves: Option<PathBuf>,
    /// `freshet` itself, for the parts in which each service is a process of its own.
    pub program: Option<PathBuf>,
}

/// What can be measured alone. The router reads what the validator wrote, so it brings the validator with it.
pub const PARTS: &[&str] =
    &["walker", "validator", "router", "fanout", "postgres", "gateway", "latency", "grants", "width", "depth"];

/// Those of two minutes; the others take longer, also where little is asked of them.
const QUICK: &[&str] = &["walker", "validator", "router", "fanout", "postgres", "gateway", "latency"];

/// How much of everything.
struct Sizes {
    turns: Turns,
    webhook: Webhooks,
    webhooks: Webhooks,
    postgres: u64,
    gateway: u64,
    latency: latency::Rounds,
    grants: Turns,
    datasets: u32,
    depth: u64,
    curves: u64,
}

impl Sizes {
    fn of(options: &Options) -> Self {
        let mut sizes = match options.quick {
            true => Self {
                turns: Turns::new(450_000, 3),
                webhook: Webhooks { receivers: 1, events_each: 15_000, rounds: 3 },
                webhooks: Webhooks { receivers: 50, events_each: 800, rounds: 1 },
                postgres: 15_000,
                gateway: 60_000,
                latency: latency::Rounds { seconds: 4, rounds: 1 },
                grants: Turns::new(60_000, 2),
                datasets: 50,
                depth: 50_000,
                curves: 60_000,
            },
            false => Self {
                turns: Turns::new(1_200_000, 3),
                webhook: Webhooks { receivers: 1, events_each: 40_000, rounds: 3 },
                webhooks: Webhooks { receivers: 50, events_each: 2_000, rounds: 3 },
                postgres: 60_000,
                gateway: 100_000,
                latency: latency::Rounds { seconds: 4, rounds: 3 },
                grants: Turns::new(150_000, 3),
                datasets: 500,
                depth: 751_200,
                curves: 200_000,
            },
        };
        sizes.depth = options.depth.unwrap_or(sizes.depth);
        sizes
    }

    /// Records of the view that the ways out deliver.
    fn view(&self) -> u64 {
        let of = |webhooks: Webhooks| webhooks.events_each * 2;
        of(self.webhook).max(of(self.webhooks)).max(self.postgres * 2) * u64::from(self.webhook.rounds + 1)
    }
}

/// Runs everything that is asked for and prints the table. Blocking; starts its own brokers in temporary folders.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let names = if options.curves.is_some() { curves::names() } else { PARTS.to_vec() };
    if let Some(unknown) = options.only.iter().find(|name| !names.contains(&name.as_str())) {
        anyhow::bail!("nothing is called {unknown}; there are {}", names.join(", "));
    }
    let sizes = Sizes::of(options);
    let mut report = Report::new(sizes.turns.records);
    let wanted = |parts: &[&str]| match options.only.as_slice() {
        _ if options.curves.is_some() => false,
        [] if options.long_minutes.is_some() => false,
        [] if options.quick => parts.iter().any(|part| QUICK.contains(part)),
        [] => true,
        only => parts.iter().any(|part| only.iter().any(|name| name == part)),
    };
    if wanted(&["walker"]) {
        eprintln!("walker");
        report.figures.push(walker::walker()?);
    }
    let on_one = ["validator", "router", "fanout", "postgres", "gateway", "latency"];
    if wanted(&on_one) || options.kafka_streams.is_some() {
        on_one_cluster(options, &sizes, &wanted, &mut report)?;
    }
    if wanted(&["grants"]) {
        eprintln!("grants");
        report.figures.extend(grants::grants(sizes.grants)?);
    }
    let program = || options.program.as_deref().context("this part runs services as processes and needs the program");
    if wanted(&["width"]) {
        eprintln!("width");
        report.figures.extend(width::width(program()?, sizes.datasets)?);
    }
    if wanted(&["depth"]) {
        eprintln!("depth");
        report.figures.extend(depth::depth(program()?, sizes.depth)?);
    }
    if let Some(minutes) = options.long_minutes {
        eprintln!("long run of {minutes} minutes");
        report.figures.extend(long::long(program()?, minutes)?);
    }
    if let Some(folder) = &options.curves {
        eprintln!("curves");
        report.curves = curves::draw(folder, sizes.curves, &options.only)?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}

fn on_one_cluster(
    options: &Options,
    sizes: &Sizes,
    wanted: &dyn Fn(&[&str]) -> bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    let hops = wanted(&["validator", "router"]);
    let ways_out = wanted(&["fanout", "postgres"]);
    let records = if hops || options.kafka_streams.is_some() { sizes.turns.records } else { sizes.view() * 11 / 10 };
    if hops || ways_out || options.kafka_streams.is_some() {
        eprintln!("loading {records} licence records");
        cluster.load(records)?;
    }
    if !options.quick {
        eprintln!("the broker warms up");
        warm_up::until_compiled(&cluster)?;
    }
    if hops {
        eprintln!("validator");
        report.rows.extend(hops::validator(&cluster, sizes.turns)?);
    }
    if wanted(&["router"]) {
        eprintln!("router");
        report.rows.extend(hops::router(&cluster, sizes.turns)?);
    }
    if ways_out && !hops {
        delivery::fill(&cluster, sizes.view())?;
    }
    if wanted(&["fanout"]) {
        eprintln!("fanout");
        report.rows.extend(delivery::webhooks(&cluster, sizes.webhook)?);
        report.rows.extend(delivery::webhooks(&cluster, sizes.webhooks)?);
    }
    if wanted(&["postgres"]) {
        eprintln!("postgres");
        report.rows.extend(database::postgres(&cluster, sizes.postgres, sizes.webhook.rounds)?);
    }
    if wanted(&["gateway"]) {
        eprintln!("gateway");
        report.rows.extend(gateway::gateway(&cluster, sizes.gateway, sizes.turns.rounds)?);
    }
    if wanted(&["latency"]) {
        let backlog = sizes.turns.records / 2;
        if !options.quick {
            eprintln!("validator and router at once");
            cluster.load_from(cluster::INPUT, cluster.new_entities(0)?, backlog)?;
        }
        let mut both = latency::Both::start(&cluster)?;
        let second = match options.quick {
            true => 10_000,
            false => {
                let sustained = both.sustained(backlog)?;
                report.figures.push(Figure::new(
                    "validator and router at once, beside a publisher and a subscriber",
                    sustained,
                    "events/s",
                ));
                // Half of it, in whole thousands.
                (sustained / 2_000.0).max(1.0) as u32 * 1_000
            }
        };
        report.latency = both.latency(1_000, sizes.latency, false)?;
        report.latency.extend(both.latency(second, sizes.latency, !options.quick)?);
        both.stop()?;
    }
    if let Some(directory) = &options.kafka_streams {
        eprintln!("validator and router, processes of their own");
        let program =
            options.program.as_deref().context("this part runs services as processes and needs the program")?;
        report.rows.extend(hops::as_processes(program, &cluster, sizes.turns.records)?);
        eprintln!("two validators, two routers");
        report.rows.extend(hops::two_of_each(&cluster, sizes.turns.records)?);
        eprintln!("Kafka Streams");
        let peers = peer::kafka_streams(&cluster, directory, sizes.turns.records)?;
        let pairs = [
            ("validator, a process of its own", 0),
            ("two validators", 0),
            ("router, a process of its own", 1),
            ("two routers, three views", 1),
        ];
        for (what, peer) in pairs {
            let own = report.rows.iter().find(|row| row.what == what);
            report.comparisons.extend(own.and_then(|own| peer::compare(own, &peers[peer])));
        }
        report.rows.extend(peers);
    }
    Ok(())
}
