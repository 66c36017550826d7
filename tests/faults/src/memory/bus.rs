//! One broker and one process a role, each in its own control group.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use freshet_testkit::broker::Life;
use freshet_testkit::ports::free_port;
use freshet_testkit::supervised::{Ending, Supervised};
use freshet_testkit::{Broker, BrokerSettings};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::runtime::Handle;

use super::load::World;
use super::{Options, catalogue};
use crate::bus::{Files, program, tail};
use crate::catalogue::WEBHOOK_SECRET;
use crate::limit::{Cell, peak_kib};

/// What makes records of nearly a megabyte pass, as an operator would set it.
const SETTINGS: [&str; 4] = [
    "validator.max_event_bytes=1000000",
    "gateway.max_event_bytes=900000",
    "fanout.allow_private_addresses=127.0.0.0/8",
    "fanout.webhook.request_timeout_ms=60000",
];

#[derive(Debug)]
pub struct Process {
    id: &'static str,
    admin_port: u16,
    child: Supervised,
    cell: Cell,
    log: PathBuf,
    peak_kib: u64,
}

#[derive(Debug)]
pub struct SmallBus {
    pub registry: String,
    pub pull: String,
    processes: Vec<Process>,
    broker: Broker,
    program: PathBuf,
    settings: Vec<String>,
    folder: tempfile::TempDir,
    limit_mib: u64,
    client: reqwest::Client,
    handle: Handle,
}

impl SmallBus {
    pub fn start(options: &Options, world: &World, handle: &Handle) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-memory-").tempdir()?;
        let broker = BrokerSettings {
            heap: "1g".to_owned(),
            life: Life::Throwaway,
            ..BrokerSettings::new(folder.path().join("kafka"))
        };
        let broker = Broker::start(broker)?;
        let secrets = [("hook".to_owned(), WEBHOOK_SECRET.to_owned()), ("database".to_owned(), world.database_url())];
        let departments = catalogue::departments();
        let files = Files::write(folder.path(), departments.iter().map(String::as_str), &secrets)?;
        let mut settings: Vec<String> = SETTINGS.map(str::to_owned).into();
        settings.extend(files.settings());
        let mut address = |key: &str| {
            let port = free_port()?;
            settings.push(format!("{key}=127.0.0.1:{port}"));
            anyhow::Ok(format!("http://127.0.0.1:{port}"))
        };
        let (registry, pull) = (address("catalog.listen")?, address("fanout.listen")?);
        for key in ["gateway.listen", "observer.listen"] {
            address(key)?;
        }
        let bus = Self {
            registry,
            pull,
            processes: Vec::new(),
            broker,
            program: program()?,
            settings,
            limit_mib: options.limit_mib,
            folder,
            client: reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?,
            handle: handle.clone(),
        };
        let files = bus.folder.path().join("catalogue");
        catalogue::write(&files, options.partitions, world.webhook_port())?;
        let output = bus.command(&["catalog", "apply", "catalogue"]).output().context("starting freshet")?;
        if !output.status.success() {
            bail!("catalog apply: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(bus)
    }

    pub fn bootstrap(&self) -> String {
        self.broker.bootstrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--kafka", &self.bootstrap()]).current_dir(self.folder.path());
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.stdin(Stdio::null());
        command
    }

    pub fn spawn(&mut self, role: &'static str) -> anyhow::Result<()> {
        let admin_port = free_port()?;
        let admin = format!("admin.listen=127.0.0.1:{admin_port}");
        let cell = Cell::new(role, self.limit_mib);
        let log = self.folder.path().join(format!("{role}.log"));
        let file = File::create(&log).context("a log file")?;
        let mut command = cell.wrap(self.command(&["run", role, "--set", &admin]));
        command.stdout(file.try_clone().context("a log file")?).stderr(file);
        let ending = Ending { marker: admin, signal: Signal::SIGTERM, limit: Duration::from_secs(30), remove: None };
        let child = Supervised::spawn(&mut command, ending).with_context(|| format!("starting {role}"))?;
        self.processes.push(Process { id: role, admin_port, child, cell, log, peak_kib: 0 });
        Ok(())
    }

    pub fn signal(&self, role: &str, signal: Signal) -> anyhow::Result<()> {
        let process = self.processes.iter().find(|process| process.id == role).context("no such process")?;
        nix::sys::signal::kill(Pid::from_raw(process.child.pid().try_into()?), signal).context("a signal")
    }

    /// Reads what each process holds. An error where one has ended.
    pub fn look(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.peak_kib = process.peak_kib.max(peak_kib(process.child.pid()).unwrap_or(0));
            if let Some(status) = process.child.ended() {
                bail!(
                    "{} {status}, killed for its memory {} times\n{}",
                    process.id,
                    process.cell.kills(),
                    tail(&process.log)
                );
            }
        }
        Ok(())
    }

    fn ask(&self, role: &str, path: &str) -> Option<String> {
        let process = self.processes.iter().find(|process| process.id == role)?;
        let url = format!("http://127.0.0.1:{}{path}", process.admin_port);
        let asking = async {
            let answer = self.client.get(&url).send().await.ok()?;
            if answer.status().is_success() { answer.text().await.ok() } else { None }
        };
        self.handle.block_on(asking)
    }

    pub fn wait_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            self.look()?;
            let waiting: Vec<&str> = self.processes.iter().map(|process| process.id).collect();
            let waiting: Vec<&str> = waiting.into_iter().filter(|id| self.ask(id, "/ready").is_none()).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("not ready: {}", waiting.join(", "));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Until this many records of the router's input have an outcome.
    pub fn wait_until_routed(&mut self, count: usize, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            self.look()?;
            let text = self.ask("router", "/metrics").unwrap_or_default();
            let lines = text.lines().filter(|line| line.starts_with("freshet_router_records_total{"));
            let done: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
            if done as usize >= count {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("only {done} of {count} routed");
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Who held the processes, what each held, and who was killed.
    pub fn finish(mut self) -> (String, Vec<(String, u64)>, Vec<String>) {
        let mut ended = Vec::new();
        if let Err(error) = self.look() {
            ended.push(format!("{error:#}"));
        }
        let killed = self.processes.iter().filter(|process| process.cell.kills() > 0);
        ended.extend(killed.map(|process| format!("{} was killed for its memory", process.id)));
        let held = self.processes.first().map(|process| process.cell.held.to_string()).unwrap_or_default();
        let peaks = self.processes.iter().map(|process| (process.id.to_owned(), process.peak_kib.div_ceil(1024)));
        (held, peaks.collect(), ended)
    }
}
