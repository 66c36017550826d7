//! One role as in production: a process of its own (`freshet run ROLE`), seen through its admin port and through `/proc`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use freshet_testkit::supervised::{Ending, Supervised};
use nix::sys::signal::Signal;

use crate::Row;
use crate::cluster::Cluster;

const ASK_LIMIT: Duration = Duration::from_secs(5);
/// How often a counter is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Nothing moves for so long: it will never arrive.
const STUCK_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Process {
    role: &'static str,
    admin: SocketAddr,
    started: Instant,
    child: Supervised,
}

impl Process {
    /// `settings` are those of `--set`.
    pub fn start(
        program: &Path,
        role: &'static str,
        cluster: &Cluster,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let admin = crate::gateway::free_address()?;
        let marker = format!("admin.listen={admin}");
        let mut command = Command::new(program);
        command.args(["run", role, "--kafka", &cluster.connection.bootstrap_servers, "--set", &marker]);
        command.args(["--set", "log.level=warn"]).stdout(Stdio::null());
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let ending = Ending { marker, signal: Signal::SIGTERM, limit: Duration::from_secs(30), remove: None };
        let child =
            Supervised::spawn(&mut command, ending).with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { role, admin, started: Instant::now(), child })
    }

    pub fn role(&self) -> &'static str {
        self.role
    }

    /// Waits until `/ready` says so; returns how long after the start that was.
    pub fn wait_until_ready(&mut self, limit: Duration) -> anyhow::Result<Duration> {
        loop {
            // Its port is not bound in the first moments, and then it waits for nothing until the service has begun.
            if self.ask("/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) && self.holds_its_partitions()
            {
                return Ok(self.started.elapsed());
            }
            self.must_run()?;
            ensure!(self.started.elapsed() < limit, "{} is not ready after {} s", self.role, limit.as_secs());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Of roles that have none: true.
    fn holds_its_partitions(&self) -> bool {
        let is_hop = matches!(self.role, "validator" | "router");
        !is_hop || self.count(&format!("freshet_{}_assigned", self.role)).is_ok_and(|holds| holds == 1)
    }

    /// The sum of a counter or gauge over its labels.
    pub fn count(&self, name: &str) -> anyhow::Result<u64> {
        Ok(sum_of(&self.ask("/metrics")?, name))
    }

    /// Waits until the counter has come so far, and returns how far it then is.
    pub fn wait_for(&mut self, counter: &str, count: u64) -> anyhow::Result<u64> {
        let mut seen = (Instant::now(), 0);
        loop {
            let now = self.count(counter)?;
            if now >= count {
                return Ok(now);
            }
            if now > seen.1 {
                seen = (Instant::now(), now);
            }
            self.must_run()?;
            ensure!(seen.0.elapsed() < STUCK_AFTER, "{counter} stands at {now} of {count} for a minute");
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// What the records between the two cost; what comes before them warms up.
    pub fn work_off(&mut self, what: &str, counter: &str, (from, to): (u64, u64)) -> anyhow::Result<Row> {
        let first = self.wait_for(counter, from)?;
        let (started, cpu) = (Instant::now(), self.cpu()?);
        let events = self.wait_for(counter, to)? - first;
        let (took, cpu) = (started.elapsed(), self.cpu()?.saturating_sub(cpu));
        Ok(Row {
            what: what.to_owned(),
            events,
            events_per_second: events as f64 / took.as_secs_f64(),
            cpu_us_per_event: cpu.as_secs_f64() * 1e6 / events as f64,
            peak_memory_mib: Some(self.memory_mib()?.1 as u64),
            ..Row::default()
        })
    }

    /// User and system time of all its threads, in steps of the system's clock tick.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_in(&std::fs::read_to_string(format!("/proc/{}/stat", self.child.pid()))?)
    }

    /// Now, and the most since the start.
    pub fn memory_mib(&self) -> anyhow::Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.pid()))?;
        let kib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        };
        Ok((kib("VmRSS:").context("no VmRSS")? / 1024.0, kib("VmHWM:").context("no VmHWM")? / 1024.0))
    }

    pub fn must_run(&mut self) -> anyhow::Result<()> {
        match self.child.ended() {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended with {status}", self.role),
        }
    }

    /// In good order.
    pub fn stop(mut self) {
        self.child.stop();
    }

    fn ask(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.admin, ASK_LIMIT)?;
        stream.set_read_timeout(Some(ASK_LIMIT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// The text form of Prometheus: `name{labels} value`.
fn sum_of(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next())??;
        value.parse::<f64>().ok()
    });
    values.sum::<f64>() as u64
}

/// User and system time, in steps of the system's clock tick, of a process or thread whose `stat` this is.
pub fn cpu_in(stat: &str) -> anyhow::Result<Duration> {
    let ticks = ticks_of(stat).context("/proc/PID/stat is not as proc(5) says")?;
    let a_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64(ticks as f64 / a_second as f64))
}

/// Fields 14 and 15 of proc(5), counted behind the name, which may hold blanks.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_its_labels_and_nothing_else() {
        let text =
            "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c d\"} 3\na_total{b=\"e\"} 4\na_total_more 9\n";
        assert_eq!(sum_of(text, "a_total"), 7);
    }

    #[test]
    fn cpu_time_stands_behind_the_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1000 0 0 0 250 50 0 0 20 0 9 0 100 1 2";
        assert_eq!(ticks_of(stat), Some(300));
    }
}
