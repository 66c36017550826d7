//! Depth: a whole register of distinct licences loaded, then replayed into a new view, each service a process of its own.
//! Beside them the pass-through over the same records.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::catalogue;
use crate::cluster::{CANONICAL, Cluster, INPUT};
use crate::figure::Figure;
use crate::hops::{Turns, mean_value_bytes, pass_through};
use crate::licence::Generator;
use crate::process::Process;
use freshet_testkit::limit::CopyTo;

const READY_LIMIT: Duration = Duration::from_secs(600);

pub fn depth(program: &Path, licences: u64) -> anyhow::Result<Vec<Figure>> {
    let nobody = catalogue::without_grants();
    let mut cluster = Cluster::with(&nobody)?;
    eprintln!("  loading {licences} licences");
    cluster.load_from(INPUT, Generator::new(20_171_015, cluster.schema_id, licences), licences)?;
    let good = licences - licences / 100;

    let limit_load = copied(&cluster, INPUT, ("limit.depth", None), licences)?;
    let started = Instant::now();
    let mut validator = Process::start(program, "validator", &cluster, &[])?;
    validator.wait_until_ready(READY_LIMIT)?;
    validator.wait_for("freshet_validator_records_total", licences)?;
    let load = started.elapsed();
    eprintln!("  validated in {:.1} s, the pass-through took {:.1} s", load.as_secs_f64(), limit_load.as_secs_f64());

    // The router has come to the end before anybody subscribes: what follows is the new view's replay alone.
    let mut router = Process::start(program, "router", &cluster, &[])?;
    router.wait_until_ready(READY_LIMIT)?;
    router.wait_for("freshet_router_records_total", good)?;
    let mut files = nobody;
    catalogue::add_subscriber(&mut files, "newcomer", "licence", (catalogue::COUNTER_FIELDS, None));
    cluster.change(&files)?;
    let value_bytes = Some(mean_value_bytes(&cluster, "newcomer")?);
    let started = Instant::now();
    router.wait_for("freshet_router_view_records_total", good)?;
    let replay = started.elapsed();
    let limit_replay = copied(&cluster, CANONICAL, ("limit.depth.view", value_bytes), good)?;
    eprintln!("  replayed in {:.1} s, the pass-through took {:.1} s", replay.as_secs_f64(), limit_replay.as_secs_f64());

    let what = |text: &str| format!("depth, {licences} licences: {text}");
    let mut figures = vec![
        Figure::new(what("loading, validator's time ÷ pass-through"), ratio(load, limit_load), "").at_most(1.2),
        Figure::new(what("replay into a new view, router's time ÷ pass-through"), ratio(replay, limit_replay), "")
            .at_most(1.2),
    ];
    for process in [validator, router] {
        let role = process.role();
        let (_, peak) = process.memory_mib()?;
        process.stop();
        let mut again = Process::start(program, role, &cluster, &[])?;
        let ready = again.wait_until_ready(READY_LIMIT)?;
        again.stop();
        figures.push(Figure::new(what(&format!("{role}'s peak memory")), peak, "MiB").at_most(400.0));
        let restart = what(&format!("{role}, restart until ready"));
        figures.push(Figure::new(restart, ready.as_secs_f64(), "s").at_most(30.0));
    }
    Ok(figures)
}

fn ratio(own: Duration, limit: Duration) -> f64 {
    own.as_secs_f64() / limit.as_secs_f64()
}

/// The pass-through over all of it, from its start to its last commit, as the services are timed.
fn copied(
    cluster: &Cluster,
    input: &str,
    (topic, value_bytes): (&str, Option<usize>),
    records: u64,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let output = CopyTo { topic: topic.to_owned(), value_bytes, one_of: 1 };
    pass_through(cluster, input, &[output], Turns::whole(records))?;
    Ok(started.elapsed())
}
