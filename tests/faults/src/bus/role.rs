//! One process of a role, which may be killed, stopped for a while, and started again.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use freshet_testkit::ports::free_port;
use freshet_testkit::supervised::{Ending, Supervised};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Bus;
use crate::limit::peak_kib;

/// `validator-1` → `validator`.
pub fn name(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}

/// A process that ended by itself.
#[derive(Debug, Clone)]
pub struct Exit {
    pub id: &'static str,
    pub status: String,
    /// The last lines of its log.
    pub said: String,
}

#[derive(Debug)]
pub struct Role {
    pub id: &'static str,
    pub admin_port: u16,
    child: Option<Supervised>,
    starts: usize,
    log: PathBuf,
    /// The most memory that any of its processes held, KiB.
    pub peak_kib: u64,
}

impl Role {
    pub(super) fn start(id: &'static str, bus: &Bus) -> anyhow::Result<Self> {
        let mut role = Self { id, admin_port: free_port()?, child: None, starts: 0, log: PathBuf::new(), peak_kib: 0 };
        role.spawn(bus)?;
        Ok(role)
    }

    /// Where there is no process, starts one.
    pub fn spawn(&mut self, bus: &Bus) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let (id, network) = (self.id, &bus.network);
        let (name, instance) = id.split_once('-').context("role-instance")?;
        let admin = format!("admin.listen=127.0.0.1:{}", self.admin_port);
        let listen = match name {
            "gateway" => format!("gateway.listen=127.0.0.1:{}", network.gateway_port),
            "catalog" => format!("catalog.listen=127.0.0.1:{}", network.registry_port),
            "fanout" => format!("fanout.listen=127.0.0.1:{}", network.pull_ports[id]),
            "observer" => format!("observer.listen=127.0.0.1:{}", free_port()?),
            _ => format!("{name}.instance={instance}"),
        };
        self.log = bus.folder.join(format!("{id}.{}.log", self.starts));
        let log = File::create(&self.log).context("a log file")?;
        let mut command = bus.command(id);
        command.args(["--set", &admin, "--set", &listen]);
        command.stdout(log.try_clone().context("a log file")?).stderr(log);
        let ending = Ending { marker: admin, signal: Signal::SIGTERM, limit: Duration::from_secs(30), remove: None };
        self.child = Some(Supervised::spawn(&mut command, ending).with_context(|| format!("starting {id}"))?);
        self.starts += 1;
        Ok(())
    }

    /// SIGKILL, as the kernel would. Nobody is started in its place.
    pub fn kill(&mut self) {
        self.note_memory();
        if let Some(mut child) = self.child.take() {
            child.kill();
        }
    }

    /// SIGKILL. The supervisor finds that it has ended, and starts it again.
    pub fn end_unasked(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Supervised::pid)
    }

    /// Asks it to end.
    pub(super) fn ask(&mut self) {
        if let Some(child) = &mut self.child {
            child.ask();
        }
    }

    /// Asks it to end and waits.
    pub fn stop(&mut self) {
        self.note_memory();
        if let Some(mut child) = self.child.take() {
            child.stop();
        }
    }

    /// SIGSTOP or SIGCONT.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            // A process that has just ended needs no signal.
            let _ = kill(Pid::from_raw(child.pid() as i32), signal);
        }
    }

    /// Starts it again where it ended by itself.
    pub(super) fn revive(&mut self, bus: &Bus) -> Option<Exit> {
        let status = self.child.as_mut()?.ended()?;
        let said = tail(&self.log);
        self.child = None;
        let exit = Exit { id: self.id, status: status.to_string(), said };
        // Where the program cannot be started the run is at its end anyhow, and will say so by not draining.
        let _ = self.spawn(bus);
        Some(exit)
    }

    /// Reads what the kernel says of the largest resident size so far.
    pub fn note_memory(&mut self) {
        let peak = self.child.as_ref().and_then(|child| peak_kib(child.pid()));
        self.peak_kib = self.peak_kib.max(peak.unwrap_or(0));
    }
}

pub fn tail(path: &std::path::Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(4)..].join("\n")
}
