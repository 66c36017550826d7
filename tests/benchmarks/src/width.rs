//! Width: 500 datasets of four partitions on one validator. What it costs to be there while nothing is published, and how
//! fast the backlog of one of them is worked off while nothing comes of the others.

use std::path::Path;
use std::time::Duration;

use crate::catalogue;
use crate::cluster::{Cluster, INPUT};
use crate::figure::Figure;
use crate::hops::{Turns, pass_through};
use crate::process::Process;
use freshet_testkit::limit::CopyTo;

const PARTITIONS: u32 = 4;
/// Until it is ready at the longest, on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// From ready until everything that a start leaves behind has come to rest.
const REST: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(10);
const BACKLOG: u64 = 400_000;

pub fn width(program: &Path, datasets: u32) -> anyhow::Result<Vec<Figure>> {
    let mut files = catalogue::without_grants();
    // The licence dataset is one of them.
    for number in 1..datasets {
        catalogue::add_dataset(&mut files, &format!("licence_{number}"), PARTITIONS, 0)?;
    }
    let cluster = Cluster::with(&files)?;
    let mut validator = Process::start(program, "validator", &cluster, &[])?;
    let ready = validator.wait_until_ready(READY_LIMIT)?;
    std::thread::sleep(REST);
    let before = validator.cpu()?;
    std::thread::sleep(LOOK);
    let idle = (validator.cpu()? - before).as_secs_f64() / LOOK.as_secs_f64();
    let (memory, peak) = validator.memory_mib()?;
    validator.stop();
    let backlog = backlog(program, &cluster)?;
    let what = |text: &str| format!("width, {datasets} datasets of {PARTITIONS} partitions on one validator: {text}");
    Ok(vec![
        Figure::new(what("CPU when idle"), idle * 100.0, "% of a core").at_most(2.0),
        Figure::new(what("memory"), memory, "MiB").at_most(300.0),
        Figure::new(what("most memory since the start"), peak, "MiB"),
        Figure::new(what("from start to ready"), ready.as_secs_f64(), "s").at_most(10.0),
        Figure::new(what("events/s of a backlog of one dataset ÷ pass-through"), backlog, ""),
    ])
}

/// The validator's events/s ÷ those of a pass-through that has the one topic alone.
fn backlog(program: &Path, cluster: &Cluster) -> anyhow::Result<f64> {
    cluster.load_from(INPUT, cluster.new_entities(0)?, BACKLOG)?;
    let turns = Turns::new(BACKLOG, 1);
    let output = CopyTo { topic: "limit.validator".to_owned(), value_bytes: None, one_of: 1 };
    let limit = pass_through(cluster, INPUT, &[output], turns)?;
    let mut validator = Process::start(program, "validator", cluster, &[])?;
    validator.wait_until_ready(READY_LIMIT)?;
    let row = validator.work_off("backlog", "freshet_validator_records_total", turns.bounds())?;
    validator.stop();
    Ok(row.events_per_second / limit.events_per_second())
}
