//! One broker, and the roles that an event from the gateway passes, each a process of its own with the settings as shipped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use freshet_catalog_model::{Catalog, plan, yaml};
use freshet_core::topics;
use freshet_testkit::broker::Life;
use freshet_testkit::ports::free_port;
use freshet_testkit::supervised::{Ending, Supervised};
use freshet_testkit::{Broker, BrokerSettings};
use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use crate::bus::{Files, program, tail};

const CATALOGUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/overload");
const ROLES: [&str; 3] = ["gateway", "validator", "router"];
const READY_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct Bus {
    pub gateway: String,
    pub bootstrap: String,
    /// Of the flooding department, and of the other.
    pub views: [String; 2],
    processes: Vec<Process>,
    _broker: Broker,
    _folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Process {
    role: &'static str,
    admin_port: u16,
    child: Supervised,
    log: PathBuf,
}

impl Bus {
    /// Blocking.
    pub fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-overload-").tempdir()?;
        let broker = BrokerSettings { life: Life::Throwaway, ..BrokerSettings::new(folder.path().join("kafka")) };
        let broker = Broker::start(broker)?;
        let (program, bootstrap) = (program()?, broker.bootstrap());
        let mut apply = Command::new(&program);
        apply.args(["catalog", "apply", CATALOGUE, "--kafka", &bootstrap]).current_dir(folder.path());
        let applied = apply.stdin(Stdio::null()).output().context("starting freshet")?;
        if !applied.status.success() {
            bail!("catalog apply: {}", String::from_utf8_lossy(&applied.stderr));
        }
        let files = Files::write(folder.path(), ["crowd", "calm"].into_iter(), &[])?;
        let gateway = format!("127.0.0.1:{}", free_port()?);
        let mut processes = Vec::new();
        for role in ROLES {
            let settings = [format!("gateway.listen={gateway}")].into_iter().chain(files.settings());
            processes.push(Process::start(role, &program, (&bootstrap, folder.path()), settings)?);
        }
        let views = views()?;
        Ok(Self { gateway: format!("http://{gateway}"), bootstrap, views, processes, _broker: broker, _folder: folder })
    }

    pub async fn ready(&self) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let deadline = Instant::now() + READY_LIMIT;
        for process in &self.processes {
            let url = format!("http://127.0.0.1:{}/ready", process.admin_port);
            while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                if Instant::now() > deadline {
                    bail!("{} is not ready: {}", process.role, tail(&process.log));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Resident memory of the gateway, KiB, each second until it is stopped.
    pub fn watch_memory(&self) -> MemoryWatch {
        let stop = CancellationToken::new();
        let pid = self.processes.iter().find(|process| process.role == "gateway").map(|process| process.child.pid());
        let (ended, mut samples) = (stop.clone(), Vec::new());
        let task = tokio::spawn(async move {
            while ended.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_some() {
                samples.extend(pid.and_then(resident_kib));
            }
            samples
        });
        MemoryWatch { stop, task: Some(task) }
    }
}

#[derive(Debug)]
pub struct MemoryWatch {
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<Vec<u64>>>,
}

impl MemoryWatch {
    pub async fn stop(&mut self) -> Vec<u64> {
        self.stop.cancel();
        match self.task.take() {
            Some(task) => task.await.unwrap_or_default(),
            None => Vec::new(),
        }
    }
}

impl Process {
    fn start(
        role: &'static str,
        program: &Path,
        (bootstrap, folder): (&str, &Path),
        settings: impl Iterator<Item = String>,
    ) -> anyhow::Result<Self> {
        let admin_port = free_port()?;
        let admin = format!("admin.listen=127.0.0.1:{admin_port}");
        let log = folder.join(format!("{role}.log"));
        let file = File::create(&log).context("a log file")?;
        let mut command = Command::new(program);
        command.arg("run").arg(role).args(["--kafka", bootstrap, "--set", &admin]).current_dir(folder);
        for setting in settings {
            command.args(["--set", &setting]);
        }
        command.stdin(Stdio::null()).stdout(file.try_clone().context("a log file")?).stderr(file);
        let ending = Ending { marker: admin, signal: Signal::SIGTERM, limit: Duration::from_secs(30), remove: None };
        let child = Supervised::spawn(&mut command, ending).with_context(|| format!("starting {role}"))?;
        Ok(Self { role, admin_port, child, log })
    }
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

fn views() -> anyhow::Result<[String; 2]> {
    let problems = |all: Vec<freshet_catalog_model::Diagnostic>| {
        anyhow::anyhow!(all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    let source = yaml::load(Path::new(CATALOGUE)).map_err(problems)?;
    let changes = plan::diff(&source, &Catalog::default()).map_err(problems)?;
    let view = |grant: &str| {
        let grant = changes.after().grants.get(grant).with_context(|| format!("no grant {grant}"))?;
        anyhow::Ok(topics::view(&grant.view))
    };
    Ok([view("reader-crowd")?, view("reader-calm")?])
}
