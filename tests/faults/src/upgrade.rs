//! A rolling upgrade under load: every process is replaced by one of another program, one after the other, and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::runtime::Handle;

use crate::bus::{Bus, INSTANCES};
use crate::ledger::now;
use crate::nemesis::Injected;

/// How long one process may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(180);

#[derive(Debug, Clone)]
pub struct Programs {
    pub old: PathBuf,
    pub new: PathBuf,
}

/// Load on the old, change, load on the new, change back, load on the old again. Blocking.
pub fn play(bus: &Arc<Bus>, programs: &Programs, length: Duration, catalogue: &Path, handle: &Handle) -> Vec<Injected> {
    let begun = Instant::now();
    let rest_until = |share: f64| {
        std::thread::sleep((begun + length.mul_f64(share)).saturating_duration_since(Instant::now()));
    };
    let mut done = Vec::new();
    for (share, kind, program) in [(0.2, "upgraded", &programs.new), (0.6, "taken back", &programs.old)] {
        rest_until(share);
        for id in INSTANCES {
            let began = now();
            let failed = replace(bus, id, program, handle).err().map(|error| format!("{error:#}"));
            done.push(Injected {
                kind: format!("{kind}: {id}"),
                what: program.display().to_string(),
                began,
                healed: now(),
                failed,
            });
        }
        let began = now();
        // What the other program wrote, this one must find to be the same catalogue.
        let failed = bus.apply(catalogue).err().map(|error| format!("{error:#}"));
        done.push(Injected {
            kind: format!("{kind}: catalog apply"),
            what: String::new(),
            began,
            healed: now(),
            failed,
        });
    }
    rest_until(1.0);
    done
}

fn replace(bus: &Arc<Bus>, id: &'static str, program: &Path, handle: &Handle) -> anyhow::Result<()> {
    bus.use_program(program);
    let mut role = bus.role(id);
    role.stop();
    role.spawn(bus)?;
    drop(role);
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let waiting = handle.block_on(bus.not_ready(&client));
        let Some((_, said)) = waiting.into_iter().find(|(other, _)| other == id) else { return Ok(()) };
        if Instant::now() > deadline {
            bail!("{id} is not ready after {} s: {said}", READY_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
