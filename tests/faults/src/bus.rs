//! The bus as in production: three brokers, one process a role and several of those that share work, and a proxy on every
//! way between a role and a broker, between brokers, and between departments and the bus.

mod clocks;
mod files;
mod network;
mod program;
mod role;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use freshet_testkit::broker::Life;
use freshet_testkit::{Broker, BrokerSettings};

use crate::limit::Cell;

pub use clocks::Clocks;
pub use files::{Files, token};
pub use network::{BETWEEN_BROKERS, DATABASE, GATEWAY, Network, PULL, REGISTRY, TO_CONTROLLERS, WAYS, WEBHOOKS};
pub use program::program;
pub use role::{Exit, Role, tail};

pub const BROKERS: usize = 3;
/// Every process of a role. Two of each that shares its work with others.
pub const INSTANCES: [&str; 9] = [
    "catalog-0",
    "validator-0",
    "validator-1",
    "router-0",
    "router-1",
    "fanout-0",
    "fanout-1",
    "gateway-0",
    "observer-0",
];

/// What an operator would set so that a subscriber that was away is tried again within seconds.
const SETTINGS: [&str; 8] = [
    "fanout.allow_private_addresses=127.0.0.0/8",
    "fanout.webhook.request_timeout_ms=5000",
    "fanout.webhook.retry_max_ms=2000",
    "fanout.webhook.resume_after_ms=3000",
    "fanout.postgres.connect_timeout_ms=5000",
    "fanout.postgres.statement_timeout_ms=8000",
    "fanout.postgres.retry_max_ms=2000",
    "fanout.postgres.resume_after_ms=3000",
];

pub struct Bus {
    pub network: Network,
    roles: BTreeMap<&'static str, Mutex<Role>>,
    broker: Mutex<Broker>,
    bootstrap: String,
    /// What the next process is started from.
    program: Mutex<PathBuf>,
    settings: Vec<String>,
    folder: PathBuf,
    clocks: Option<Clocks>,
    /// What holds each process to its memory.
    cells: BTreeMap<&'static str, Cell>,
}

/// What runs, and in how much memory.
#[derive(Debug, Clone)]
pub struct Processes {
    pub program: PathBuf,
    pub limit_mib: u64,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Bus {
    /// Brokers, catalogue, every process.
    pub fn start(
        network: Network,
        folder: &Path,
        (catalogue, files): (&Path, &Files),
        processes: &Processes,
    ) -> anyhow::Result<Self> {
        let broker = BrokerSettings {
            brokers: BROKERS as u8,
            heap: "320m".to_owned(),
            life: Life::Brief,
            listeners: network.listeners(),
            ..BrokerSettings::new(folder.join("kafka"))
        };
        let broker = Broker::start(broker)?;
        let mut settings: Vec<String> = SETTINGS.map(str::to_owned).into();
        settings.extend(files.settings());
        let mut bus = Self {
            bootstrap: broker.bootstrap(),
            broker: Mutex::new(broker),
            roles: BTreeMap::new(),
            network,
            program: Mutex::new(processes.program.clone()),
            settings,
            folder: folder.to_owned(),
            clocks: Clocks::find(folder),
            cells: INSTANCES.iter().map(|id| (*id, Cell::new(id, processes.limit_mib))).collect(),
        };
        bus.apply(catalogue)?;
        for id in INSTANCES {
            let role = Role::start(id, &bus)?;
            bus.roles.insert(id, Mutex::new(role));
        }
        Ok(bus)
    }

    /// Of the brokers themselves, around every proxy: for departments, whose own network is not what is tested.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn role(&self, id: &str) -> MutexGuard<'_, Role> {
        self.roles[id].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None while somebody starts or ends it.
    pub fn try_role(&self, id: &str) -> Option<MutexGuard<'_, Role>> {
        self.roles[id].try_lock().ok()
    }

    pub fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `freshet catalog apply`: an error where it does not succeed.
    pub fn apply(&self, catalogue: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(self.program());
        command.args(["catalog", "apply"]).arg(catalogue).args(["--kafka", &self.bootstrap]);
        let output = command.current_dir(&self.folder).stdin(Stdio::null()).output().context("starting freshet")?;
        if !output.status.success() {
            bail!("catalog apply: {}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Starts again whoever ended by himself, as a Deployment does. Gives their ends.
    pub fn supervise(&self) -> Vec<Exit> {
        // One that is being stopped is locked by whoever stops it.
        self.roles.values().filter_map(|role| role.try_lock().ok()?.revive(self)).collect()
    }

    /// Those that do not say that they are ready, with what they say.
    pub async fn not_ready(&self, client: &reqwest::Client) -> Vec<(String, String)> {
        let ports: Vec<(&str, u16)> = self.roles.keys().map(|id| (*id, self.role(id).admin_port)).collect();
        let mut not_ready = Vec::new();
        for (id, port) in ports {
            match client.get(format!("http://127.0.0.1:{port}/ready")).send().await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => not_ready.push((id.to_owned(), answer.text().await.unwrap_or_default())),
                Err(error) => not_ready.push((id.to_owned(), error.to_string())),
            }
        }
        not_ready
    }

    /// The most memory that each role's processes held so far, KiB.
    pub fn memory(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for role in self.roles.values().filter_map(|role| role.try_lock().ok()) {
            let mut role = role;
            role.note_memory();
            all.insert(role.id.to_owned(), role.peak_kib);
        }
        all
    }

    fn command(&self, id: &str) -> Command {
        let mut command = Command::new(self.program());
        command.arg("run").arg(role::name(id)).args(["--kafka", &self.network.bootstrap(id)]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.current_dir(&self.folder);
        if let Some(clocks) = &self.clocks {
            clocks.give_to(id, &mut command);
        }
        self.cells[id].wrap(command)
    }

    fn program(&self) -> PathBuf {
        self.program.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every process that is started from now on is one of this program.
    pub fn use_program(&self, program: &Path) {
        program.clone_into(&mut self.program.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Each process's own clock, where this machine has what it takes.
    pub fn clocks(&self) -> Option<&Clocks> {
        self.clocks.as_ref()
    }

    /// What holds the processes to their memory, and who was killed for it.
    pub fn held(&self) -> (String, Vec<&'static str>) {
        let held = self.cells.values().next().map(|cell| cell.held.to_string()).unwrap_or_default();
        (held, self.cells.iter().filter(|(_, cell)| cell.kills() > 0).map(|(id, _)| *id).collect())
    }
}

impl Drop for Bus {
    /// All at a time, and while their brokers are there: each may take its whole limit otherwise.
    fn drop(&mut self) {
        let roles = || self.roles.values().map(|role| role.lock().unwrap_or_else(PoisonError::into_inner));
        roles().for_each(|mut role| role.ask());
        roles().for_each(|mut role| role.stop());
    }
}
