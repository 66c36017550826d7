//! Does what was planned, each fault in a thread of its own, and undoes it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use freshet_catalog_model::TopicSpec;
use freshet_core::topics;
use freshet_testkit::postgres::Server;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Act, Fault};
use crate::bus::{BROKERS, Bus};
use crate::catalogue::{Folder, SuspendOrRemove};
use crate::history::Millis;
use crate::ledger::now;
use crate::proxy::Condition;
use crate::subscribers::Subscribers;
use crate::workload::database;
use crate::workload::webhook::{Behaviour, Receiver};

/// How long a change of the catalogue is tried while the brokers are hurt.
const APPLY_LIMIT: Duration = Duration::from_secs(120);
/// How long after the last fault of the plan one may begin that waited for its turn.
const LATE_LIMIT: Duration = Duration::from_secs(60);
/// How long a fault of brokers waits for the one before it to be over.
const BROKERS_LIMIT: Duration = Duration::from_secs(60);
/// The broker whose disk is small.
pub const SMALL_DISK: usize = BROKERS - 1;

/// A fault that was done.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Injected {
    pub kind: String,
    pub what: String,
    pub began: Millis,
    pub healed: Millis,
    /// Why it could not be done.
    pub failed: Option<String>,
}

/// Everything that can be hurt.
#[derive(Debug)]
pub struct Nemesis {
    pub bus: Arc<Bus>,
    pub database: Arc<Mutex<Server>>,
    pub receiver: Arc<Receiver>,
    pub folder: Arc<Mutex<Folder>>,
    pub subscribers: Arc<Subscribers>,
    /// Grants whose webhooks, and tables, are there from the start.
    pub webhooks: Vec<String>,
    pub tables: Vec<String>,
    /// Where the small disk is mounted, if it could be.
    pub small_disk: Option<PathBuf>,
    /// Latecomers that live.
    pub late: Mutex<Vec<(String, Instant)>>,
    /// Held by the fault that brokers suffer.
    pub brokers: Mutex<()>,
    /// No further one may begin.
    pub is_over: AtomicBool,
    pub handle: tokio::runtime::Handle,
}

impl Nemesis {
    /// Plays the plan, as far as it comes before it is told that it is `enough`. Blocking. Afterwards everything is healed.
    pub fn play(self: &Arc<Self>, faults: &[Fault], enough: &mpsc::Receiver<()>) -> Vec<Injected> {
        let begun = Instant::now();
        let mut threads = Vec::new();
        for fault in faults {
            let wait = (begun + fault.at).saturating_duration_since(Instant::now());
            if enough.recv_timeout(wait) != Err(mpsc::RecvTimeoutError::Timeout) {
                self.is_over.store(true, Ordering::Relaxed);
                break;
            }
            let (own, fault) = (Arc::clone(self), fault.clone());
            threads.push(std::thread::spawn(move || own.one(&fault)));
        }
        // On a slow machine dozens may wait for their turn, each for as long as brokers take to come back.
        let limit = Instant::now() + LATE_LIMIT;
        while Instant::now() < limit && threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.is_over.store(true, Ordering::Relaxed);
        let injected = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        self.heal();
        injected
    }

    /// Undoes whatever may still be.
    fn heal(&self) {
        self.bus.network.heal();
        self.receiver.behave_well();
        for id in crate::bus::INSTANCES {
            if let Some(clocks) = self.bus.clocks()
                && let Err(error) = clocks.set(id, 0)
            {
                eprintln!("{error:#}");
            }
            let mut role = self.bus.role(id);
            role.signal(Signal::SIGCONT);
            if let Err(error) = role.spawn(&self.bus) {
                eprintln!("{id}: {error:#}");
            }
        }
        for broker in 0..BROKERS {
            self.signal_broker(broker, Signal::SIGCONT);
            self.start_broker(broker);
        }
    }

    fn one(&self, fault: &Fault) -> Injected {
        // The cluster is hurt again only when it serves again: a slow machine must not turn into one long outage.
        let alone = fault.act.concerns_brokers().then(|| self.brokers.lock().unwrap_or_else(PoisonError::into_inner));
        let is_too_late = alone.is_some() && self.is_over.load(Ordering::Relaxed);
        if alone.is_some() && !is_too_late {
            self.wait_for_brokers();
        }
        let began = now();
        let failed = match is_too_late {
            true => Some("brokers had not come back from those before when the run was over".to_owned()),
            false => self.act(fault).err().map(|error| format!("{error:#}")),
        };
        let what = format!("{:?} for {} ms", fault.act, fault.lasts.as_millis());
        Injected { kind: fault.act.kind(), what, began, healed: now(), failed }
    }

    fn wait_for_brokers(&self) {
        let deadline = Instant::now() + BROKERS_LIMIT;
        while !self.bus.broker().serves() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn act(&self, fault: &Fault) -> anyhow::Result<()> {
        let wait = || std::thread::sleep(fault.lasts);
        match fault.act {
            Act::Kill(id) => {
                self.bus.role(id).kill();
                wait();
                self.bus.role(id).spawn(&self.bus)?;
            }
            Act::Freeze(id) => {
                self.bus.role(id).signal(Signal::SIGSTOP);
                wait();
                self.bus.role(id).signal(Signal::SIGCONT);
            }
            Act::Restart(id) => {
                let mut role = self.bus.role(id);
                // One that is frozen cannot end in good order.
                role.signal(Signal::SIGCONT);
                role.stop();
                role.spawn(&self.bus)?;
            }
            Act::KillBroker(broker) => {
                self.bus.broker().kill_one(broker);
                wait();
                self.start_broker(broker);
            }
            Act::FreezeBroker(broker) => {
                self.signal_broker(broker, Signal::SIGSTOP);
                wait();
                self.signal_broker(broker, Signal::SIGCONT);
            }
            Act::RestartBroker(broker) => {
                self.bus.broker().stop_one(broker);
                self.start_broker(broker);
            }
            Act::KillAllBrokers => {
                (0..BROKERS).for_each(|broker| self.bus.broker().kill_one(broker));
                wait();
                (0..BROKERS).for_each(|broker| self.start_broker(broker));
            }
            Act::FillDisk => self.fill_disk(fault.lasts)?,
            Act::ToBrokers { who, broker, condition } => {
                self.bus.network.set_to_brokers(who, broker, condition);
                wait();
                self.bus.network.set_to_brokers(who, broker, Condition::Open);
            }
            Act::Way { way, condition } => {
                self.bus.network.set_other(way, condition);
                wait();
                self.bus.network.set_other(way, Condition::Open);
            }
            Act::KillDatabase | Act::RestartDatabase => {
                let mut server = self.database.lock().unwrap_or_else(PoisonError::into_inner);
                if fault.act == Act::KillDatabase {
                    server.kill()
                } else {
                    server.stop()
                }
                wait();
                server.restart()?;
            }
            Act::LockTable(number) => {
                let url = self.database.lock().unwrap_or_else(PoisonError::into_inner).url();
                let table = &self.tables[number % self.tables.len().max(1)];
                self.handle.block_on(database::lock(&url, table, fault.lasts))?;
            }
            Act::Webhook { grant, behaviour } => {
                let grant = &self.webhooks[grant % self.webhooks.len().max(1)];
                self.receiver.behave(grant, behaviour);
                wait();
                self.receiver.behave(grant, Behaviour::Good);
            }
            Act::AddGrant { number, way } => self.add_grant(number, way)?,
            Act::EndGrant(how) => self.end_grant(how)?,
            Act::AddPartitions => self.add_partitions()?,
            Act::SetClock { who, seconds } => {
                let clocks = self.bus.clocks().context("no clock can be set: apt-get install faketime gcc")?;
                clocks.set(who, seconds)?;
                wait();
                clocks.set(who, 0)?;
            }
        }
        Ok(())
    }

    fn add_grant(&self, number: usize, way: &str) -> anyhow::Result<()> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let id = folder.add_grant(number, way)?;
        let grant = folder.read()?.grants.get(&id).cloned().context("the new grant")?;
        // The database may be down just now. Without the department's own table nothing would be seen of the grant.
        if let Err(error) = patiently(|| self.subscribers.prepare(&grant)) {
            folder.end_grant(&id, SuspendOrRemove::Remove)?;
            return Err(error);
        }
        self.apply(folder.path())?;
        self.subscribers.start(&grant);
        self.late.lock().unwrap_or_else(PoisonError::into_inner).push((id, Instant::now()));
        Ok(())
    }

    /// The grant that came first of those that are some seconds old.
    fn end_grant(&self, how: SuspendOrRemove) -> anyhow::Result<()> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let id = {
            let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
            let place = late.iter().position(|(_, since)| since.elapsed() > Duration::from_secs(10));
            let Some(place) = place else { bail!("no grant is old enough to be ended") };
            late.remove(place).0
        };
        folder.end_grant(&id, how)?;
        self.apply(folder.path())?;
        self.subscribers.ended(&id, now());
        Ok(())
    }

    fn apply(&self, folder: &Path) -> anyhow::Result<()> {
        patiently(|| self.bus.apply(folder))
    }

    /// To the topics whose partitions carry no order.
    fn add_partitions(&self) -> anyhow::Result<()> {
        let connection = freshet_kafka::Connection::to(self.bus.bootstrap());
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let specs = freshet_catalog_model::topic::topics_of(&folder.read()?);
        let mut grown: Vec<TopicSpec> = specs.into_iter().filter(|spec| spec.name.starts_with("reject.")).collect();
        grown.truncate(2);
        debug_assert!(grown.iter().all(|spec| spec.may_grow && spec.name != topics::VIEW_POSITIONS));
        grown.iter_mut().for_each(|spec| spec.partitions += 2);
        freshet_kafka::admin::ensure_topics(&connection, &grown)?;
        Ok(())
    }

    fn fill_disk(&self, lasts: Duration) -> anyhow::Result<()> {
        let Some(disk) = &self.small_disk else { bail!("no small disk: mounting one needs root") };
        let ballast = disk.join("ballast");
        // What is left, and then what is left of that.
        let fill = || {
            let name = ballast.display().to_string();
            let _ = Command::new("dd").args(["if=/dev/zero", "bs=64k", &format!("of={name}")]).output();
        };
        fill();
        std::thread::sleep(lasts);
        std::fs::remove_file(&ballast).context("making room again")?;
        // A broker that cannot write ends itself.
        self.start_broker(SMALL_DISK);
        Ok(())
    }

    fn start_broker(&self, broker: usize) {
        if let Err(error) = self.bus.broker().start_one(broker) {
            eprintln!("broker {broker}: {error}");
        }
    }

    fn signal_broker(&self, broker: usize, signal: Signal) {
        if let Some(pid) = self.bus.broker().pid_of(broker) {
            // A process that has just ended needs no signal.
            let _ = kill(Pid::from_raw(pid as i32), signal);
        }
    }
}

/// Again until it succeeds, since other faults go on meanwhile.
fn patiently(mut act: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let deadline = Instant::now() + APPLY_LIMIT;
    loop {
        match act() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}
