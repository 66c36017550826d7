//! What a run cost: wall time, CPU time of this process (all threads, librdkafka's among them), peak memory.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// How often a counter is looked at. A count is taken in the moment in which it moves.
const LOOK_EVERY: Duration = Duration::from_millis(4);
/// A counter that stands still for so long never arrives.
const STUCK_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self { wall: Instant::now(), cpu: cpu_time()? })
    }

    pub fn stop(self) -> anyhow::Result<Cost> {
        Ok(Cost { wall: self.wall.elapsed(), cpu: cpu_time()?.saturating_sub(self.cpu) })
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub wall: Duration,
    pub cpu: Duration,
}

/// One measured stretch of one program.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    pub events: u64,
    pub cost: Cost,
    /// Events in the second behind the first commit, where that was looked at.
    pub first_second: Option<u64>,
    /// Of the process while it ran.
    pub peak_memory_mib: u64,
}

impl Stretch {
    /// What the work cost that returns how many events it did.
    pub fn of(work: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<Self> {
        forget_peak_memory();
        let watch = Stopwatch::start()?;
        let events = work()?;
        let cost = watch.stop()?;
        Ok(Self { events, cost, first_second: None, peak_memory_mib: peak_memory_mib() })
    }

    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.cost.wall.as_secs_f64()
    }

    pub fn cpu_us_per_event(&self) -> f64 {
        self.cost.cpu.as_secs_f64() * 1e6 / self.events as f64
    }
}

/// Watches a counter that another thread moves: what comes before `from` warms up, what comes between `from` and `to`
/// is measured, from one move of the counter to another.
pub fn watch(count: &dyn Fn() -> anyhow::Result<u64>, from: u64, to: u64) -> anyhow::Result<Stretch> {
    forget_peak_memory();
    let (mut begun, mut first_second) = (None, None);
    let mut started: Option<(u64, Stopwatch)> = None;
    let mut seen = (Instant::now(), 0);
    loop {
        let now = count()?;
        if now > seen.1 {
            seen = (Instant::now(), now);
            let begun = *begun.get_or_insert_with(Instant::now);
            if begun.elapsed() >= Duration::from_secs(1) {
                first_second.get_or_insert(now);
            }
            match started {
                None if now >= from => started = Some((now, Stopwatch::start()?)),
                Some((at, stopwatch)) if now >= to => {
                    let cost = stopwatch.stop()?;
                    // Where all of it took less than a second, that is what the second had.
                    let first_second = Some(first_second.unwrap_or(now));
                    return Ok(Stretch { events: now - at, cost, first_second, peak_memory_mib: peak_memory_mib() });
                }
                _ => {}
            }
        }
        anyhow::ensure!(seen.0.elapsed() < STUCK_AFTER, "{now} of {to} events, and nothing moves for a minute");
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// User and system time of all threads of this process since it began.
fn cpu_time() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(microseconds)?))
}

/// The value at this share (0.5 = median) of a set of samples.
pub fn quantile(samples: &mut [u64], share: f64) -> u64 {
    if samples.is_empty() {
        return 0;
    }
    samples.sort_unstable();
    samples[((samples.len() - 1) as f64 * share).round() as usize]
}

/// The middle of some values, the lower of two; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The most memory that this process had since the peak was last forgotten, MiB; 0 where the system does not tell.
pub fn peak_memory_mib() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kib| kib / 1024)
}

/// Begins the peak anew (Linux: proc(5), `clear_refs`). Where that cannot be done, the peak is that of all before, too.
fn forget_peak_memory() {
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        tracing::debug!(%error, "the peak of memory counts from the start of the process");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(quantile(&mut [5, 1, 9], 0.5), 5);
    }

    #[test]
    fn a_stretch_begins_behind_the_warm_up() {
        let calls = std::cell::Cell::new(0);
        let count = || {
            calls.set(calls.get() + 1);
            Ok(calls.get() * 10)
        };
        let stretch = watch(&count, 25, 60).expect("counts on");
        assert_eq!(stretch.events, 60 - 30);
    }
}
