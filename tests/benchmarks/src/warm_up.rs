//! A broker compiles what it runs while it runs it. In its first two minutes under load its compiler has a third of a core,
//! and on two cores everything that is measured waits for that.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::cluster::Cluster;
use crate::{latency, process};

/// Of a core.
const QUIET: f64 = 0.2;
/// Some eight seconds each.
const MOST_TURNS: u32 = 10;

/// Has the broker do what all rows ask of it until its compiler is quiet. Nothing of that is counted.
pub fn until_compiled(cluster: &Cluster) -> anyhow::Result<()> {
    for turn in 1..=MOST_TURNS {
        let (before, began) = (compiler_cpu(cluster.broker_pid()?)?, Instant::now());
        latency::not_counted(cluster)?;
        let took = compiler_cpu(cluster.broker_pid()?)?.saturating_sub(before);
        let share = took.as_secs_f64() / began.elapsed().as_secs_f64();
        eprintln!("  turn {turn}, not counted: the broker's compiler had {:.0} % of a core", share * 100.0);
        if share < QUIET {
            break;
        }
    }
    Ok(())
}

/// What the threads took that compile, of those that are there: HotSpot calls them `C1 CompilerThread0` and so on, of which
/// the system keeps 15 bytes. An error where there is none: that would look like a compiler that is quiet.
fn compiler_cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut all = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that ended meanwhile has none.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else { continue };
        if stat.contains("(C1 CompilerThre)") || stat.contains("(C2 CompilerThre)") {
            all.push(process::cpu_in(&stat)?);
        }
    }
    ensure!(!all.is_empty(), "no thread of the broker, process {pid}, is called as HotSpot calls those that compile");
    Ok(all.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_compile_are_found_by_their_names() {
        let own = std::process::id();
        assert!(compiler_cpu(own).is_err(), "none is quiet, not compiled");
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let busy = std::thread::Builder::new().name("C2 CompilerThread0".to_owned());
        let busy = busy.spawn(move || while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {});
        // It names itself when it runs, and the system counts in ticks.
        while !compiler_cpu(own).is_ok_and(|took| !took.is_zero()) {
            std::thread::yield_now();
        }
        drop(stop);
        busy.expect("a thread").join().expect("no panic");
    }
}
