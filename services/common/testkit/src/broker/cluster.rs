//! The processes and files of one data folder.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::checks::{self, Missing};
use super::properties::{self, Ports};
use super::{BrokerError, BrokerSettings, Life, Secured, jars};
use crate::ports::free_ports;
use crate::supervised::{Ending, Supervised, end_orphans};

const STOP_LIMIT: Duration = Duration::from_secs(20);
const FENCE_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// How a broker says that it does not know what is written in its folder: 4.2.2 on a folder of 4.3.0, and a level of the
/// metadata that it does not know.
const NEWER: &[&str] = &["MetadataParseException", "No MetadataVersion with feature level"];

/// `cluster.json`: what a restart on the same folder must keep.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    cluster_id: String,
    nodes: Vec<Ports>,
}

#[derive(Debug)]
pub(super) struct Cluster {
    settings: BrokerSettings,
    java: PathBuf,
    class_path: String,
    ports: Vec<Ports>,
    nodes: Vec<Option<Supervised>>,
    /// Held as long as we live; the system releases it however we end.
    _lock: File,
}

impl Cluster {
    /// Everything up to the start of the processes.
    pub(super) fn prepare(mut settings: BrokerSettings) -> Result<Self, BrokerError> {
        let java = checks::java()?;
        let class_path = jars::class_path()?;
        fs::create_dir_all(&settings.data_dir).map_err(io("making the data folder", &settings.data_dir))?;
        // The folder's full name is what an orphan is known by.
        settings.data_dir = settings.data_dir.canonicalize().map_err(io("finding", &settings.data_dir))?;
        checks::disk(&settings.data_dir)?;
        let lock = lock(&settings.data_dir)?;
        end_own_orphans(&settings);
        let (state, is_new) = read_or_make_state(&settings)?;
        let nodes = state.nodes.iter().map(|_| None).collect();
        let cluster = Self { java, class_path, ports: state.nodes.clone(), nodes, _lock: lock, settings };
        for index in 0..cluster.ports.len() {
            cluster.write_files(index)?;
        }
        if is_new {
            cluster.format(&state.cluster_id)?;
            // Written last: a folder without it is formatted anew.
            write_state(&cluster.settings.data_dir, &state)?;
        } else {
            write_state(&cluster.settings.data_dir, &state)?;
        }
        Ok(cluster)
    }

    pub(super) fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    pub(super) fn bootstrap(&self) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|ports| format!("127.0.0.1:{}", ports.broker)).collect();
        hosts.join(",")
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().flatten().map(Supervised::pid).collect()
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.nodes.iter_mut().all(|node| node.as_mut().is_some_and(|node| node.ended().is_none()))
    }

    pub(super) fn spawn_missing(&mut self) -> Result<(), BrokerError> {
        let all_died = (0..self.nodes.len()).all(|index| !self.runs(index) && self.died(index));
        if all_died {
            self.fence_the_dead()?;
        }
        for index in 0..self.nodes.len() {
            if self.nodes[index].as_mut().is_none_or(|node| node.ended().is_some()) {
                self.nodes[index] = Some(self.spawn(index)?);
            }
        }
        Ok(())
    }

    pub(super) fn start_one(&mut self, index: usize) -> Result<(), BrokerError> {
        if !self.runs(index) {
            self.nodes[index] = Some(self.spawn(index)?);
        }
        Ok(())
    }

    /// True where it has run and did not stop in good order; Kafka leaves a file behind where it did.
    fn died(&self, index: usize) -> bool {
        let data = self.folder(index).join("data");
        data.join("__cluster_metadata-0").exists() && !data.join(".kafka_cleanshutdown").exists()
    }

    /// Lets the registrations of brokers that all were killed run out, before any of them starts again. A broker that starts
    /// while it is still registered works at once as the leader that it was; then its old registration runs out, its
    /// partitions have no leader, and the markers of a transaction that it ends in this moment are skipped for good
    /// (`docs/decisions/0009-recovery.md`). The controllers alone take a moment for it; the brokers would have to wait for
    /// the same, 9 s, before they may register again.
    fn fence_the_dead(&self) -> Result<(), BrokerError> {
        let begun: Vec<usize> = (0..self.ports.len()).map(|index| self.log(index).len()).collect();
        let controllers: Vec<Supervised> = (0..self.ports.len())
            .map(|index| self.spawn_as(index, "controller.properties"))
            .collect::<Result<_, _>>()?;
        let mut waited = Duration::ZERO;
        let mut active = None;
        let mut written: Option<Vec<Growth>> = None;
        while waited < FENCE_LIMIT {
            let news: String =
                begun.iter().enumerate().filter_map(|(i, from)| Some(self.log(i).get(*from..)?.to_owned())).collect();
            if active.is_none() && news.contains("Becoming the active controller") {
                active = Some(waited);
            }
            let fenced = news.matches("because its session has timed out").count();
            // Some may have been fenced before they died; nothing tells of those.
            if fenced >= begun.len() || active.is_some_and(|since| waited > since + 4 * properties::FENCE_AFTER) {
                let written = written.get_or_insert_with(|| {
                    (0..self.ports.len()).map(|index| Growth::of(self.metadata(index))).collect()
                });
                if written.iter_mut().all(Growth::is_twice) {
                    break;
                }
            }
            std::thread::sleep(POLL);
            waited += POLL;
        }
        for mut controller in controllers {
            controller.stop();
        }
        Ok(())
    }

    /// Where the controller writes what it decided.
    fn metadata(&self, index: usize) -> PathBuf {
        self.folder(index).join("data/__cluster_metadata-0")
    }

    fn log(&self, index: usize) -> String {
        fs::read_to_string(self.log_file(index)).unwrap_or_default()
    }

    pub(super) fn runs(&mut self, index: usize) -> bool {
        self.nodes.get_mut(index).and_then(Option::as_mut).is_some_and(|node| node.ended().is_none())
    }

    pub(super) fn pid_of(&self, index: usize) -> Option<u32> {
        self.nodes.get(index).and_then(Option::as_ref).map(Supervised::pid)
    }

    pub(super) fn stop(&mut self) {
        if self.settings.life != Life::Long {
            return self.kill();
        }
        for node in self.nodes.iter_mut().flatten() {
            node.ask();
        }
        for node in &mut self.nodes {
            if let Some(mut node) = node.take() {
                node.wait_or_kill();
            }
        }
    }

    pub(super) fn kill(&mut self) {
        for index in 0..self.nodes.len() {
            self.kill_one(index);
        }
    }

    pub(super) fn kill_one(&mut self, index: usize) {
        if let Some(mut node) = self.nodes.get_mut(index).and_then(Option::take) {
            node.kill();
        }
    }

    pub(super) fn stop_one(&mut self, index: usize) {
        if let Some(mut node) = self.nodes.get_mut(index).and_then(Option::take) {
            node.stop_with(Signal::SIGTERM);
        }
    }

    /// True where every broker's port takes a connection.
    pub(super) fn answers(&self) -> bool {
        self.ports.iter().all(|ports| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.broker));
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
        })
    }

    /// Why a broker that was started has ended by itself.
    pub(super) fn failure(&mut self) -> Option<BrokerError> {
        for index in 0..self.nodes.len() {
            let Some(status) = self.nodes[index].as_mut().and_then(Supervised::ended) else { continue };
            let log = self.log_file(index);
            let last = fs::read_to_string(&log).ok().and_then(|text| last_error(&text));
            let reason = last.unwrap_or_else(|| format!("it ended with {status}"));
            return Some(if NEWER.iter().any(|sign| reason.contains(sign)) {
                BrokerError::Newer { folder: self.settings.data_dir.clone(), log }
            } else {
                BrokerError::Start { reason, log }
            });
        }
        None
    }

    pub(super) fn log_file(&self, index: usize) -> PathBuf {
        self.folder(index).join("log/server.log")
    }

    fn folder(&self, index: usize) -> PathBuf {
        node_folder(&self.settings.data_dir, index)
    }

    fn write_files(&self, index: usize) -> Result<(), BrokerError> {
        let folder = self.folder(index);
        let log = folder.join("log");
        fs::create_dir_all(&log).map_err(io("making", &log))?;
        let mut server = properties::server(index, &self.ports, &self.settings.listeners, &folder);
        if let Some(secured) = &self.settings.secured {
            server.push_str(&secured.properties(self.ports[index]));
        }
        for (name, text) in [
            ("server.properties", server),
            ("controller.properties", properties::controller(index, &self.ports, &self.settings.listeners, &folder)),
            ("log4j2.properties", properties::log4j(&folder)),
        ] {
            let path = folder.join(name);
            fs::write(&path, text).map_err(io("writing", &path))?;
        }
        Ok(())
    }

    /// `kafka.tools.StorageTool format`, on all nodes at a time.
    fn format(&self, cluster_id: &str) -> Result<(), BrokerError> {
        let start = |index: usize| {
            let data = self.folder(index).join("data");
            if data.exists() {
                fs::remove_dir_all(&data).map_err(io("clearing a half-made", &data))?;
            }
            self.java(index, "64m")
                .args(["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c"])
                .arg(self.folder(index).join("server.properties"))
                .args(self.settings.secured.as_ref().map(Secured::format_arguments).unwrap_or_default())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(io("starting", &self.java))
        };
        let running: Vec<_> = (0..self.ports.len()).map(start).collect::<Result<_, _>>()?;
        for (index, child) in running.into_iter().enumerate() {
            let output = child.wait_with_output().map_err(io("waiting for", &self.java))?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                let reason = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("format failed").to_owned();
                return Err(BrokerError::Start { reason, log: self.log_file(index) });
            }
        }
        Ok(())
    }

    fn removes(&self) -> bool {
        self.settings.life == Life::Throwaway
    }

    fn spawn(&self, index: usize) -> Result<Supervised, BrokerError> {
        self.spawn_as(index, "server.properties")
    }

    fn spawn_as(&self, index: usize, properties: &str) -> Result<Supervised, BrokerError> {
        let folder = self.folder(index);
        let console_path = folder.join("log/console.log");
        let console = File::create(&console_path).map_err(io("writing", &console_path))?;
        let errors = console.try_clone().map_err(io("writing", &console_path))?;
        let properties = folder.join(properties);
        let mut command = self.java(index, &self.settings.heap);
        command.arg("kafka.Kafka").arg(&properties).stdout(console).stderr(errors);
        let ending = Ending {
            marker: properties.display().to_string(),
            signal: if self.settings.life == Life::Long { Signal::SIGTERM } else { Signal::SIGKILL },
            limit: STOP_LIMIT,
            remove: self.removes().then(|| self.settings.data_dir.clone()),
        };
        Supervised::spawn(&mut command, ending).map_err(io("starting", &self.java))
    }

    fn java(&self, index: usize, heap: &str) -> Command {
        let folder = self.folder(index);
        let mut command = Command::new(&self.java);
        command
            .arg(format!("-Xmx{heap}"))
            .args([
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:+ExitOnOutOfMemoryError",
                "-Djava.awt.headless=true",
            ])
            .arg(format!("-Dlog4j2.configurationFile={}", folder.join("log4j2.properties").display()))
            .arg(format!("-Dkafka.logs.dir={}", folder.join("log").display()))
            .args(["-cp", &self.class_path]);
        if self.settings.life != Life::Long {
            command.arg("-XX:TieredStopAtLevel=1");
        }
        command
    }
}

/// A controller says what it decides a moment before it writes it, and writes in order, if only every half second that
/// nothing happened: what was said before the first look is on disk when the log has grown twice since.
struct Growth {
    folder: PathBuf,
    bytes: u64,
    times: usize,
}

impl Growth {
    fn of(folder: PathBuf) -> Self {
        let bytes = log_bytes(&folder);
        Self { folder, bytes, times: 0 }
    }

    fn is_twice(&mut self) -> bool {
        let bytes = log_bytes(&self.folder);
        if bytes > self.bytes {
            self.bytes = bytes;
            self.times += 1;
        }
        self.times >= 2
    }
}

/// Of all segments of a partition.
fn log_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
    segments.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        if self.removes() {
            // A temporary folder that stays behind does no harm.
            let _ = fs::remove_dir_all(&self.settings.data_dir);
        }
    }
}

/// The last error of a broker's log, with the exception below it, which says what was wrong.
fn last_error(log: &str) -> Option<String> {
    let mut below = "";
    for line in log.lines().rev() {
        if line.contains(" ERROR ") || line.contains(" FATAL ") {
            return Some(if below.is_empty() { line.to_owned() } else { format!("{line}: {below}") });
        }
        let is_trace = line.starts_with(char::is_whitespace) || line.starts_with("Caused by");
        below = if is_trace { below } else { line };
    }
    None
}

fn node_folder(data_dir: &Path, index: usize) -> PathBuf {
    data_dir.join(format!("node-{}", index + 1))
}

fn lock(data_dir: &Path) -> Result<File, BrokerError> {
    let path = data_dir.join("lock");
    let file = File::create(&path).map_err(io("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(BrokerError::InUse(data_dir.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(BrokerError::Io { doing: "locking", path, source }),
    }
}

/// We hold the lock, so whatever still runs on this folder lost its parent and its watchdog.
fn end_own_orphans(settings: &BrokerSettings) {
    let own: Vec<String> = (0..16)
        .map(|index| node_folder(&settings.data_dir, index).join("server.properties").display().to_string())
        .collect();
    let ended = end_orphans(Signal::SIGTERM, STOP_LIMIT, |args| {
        args.windows(2).any(|pair| pair[0] == "kafka.Kafka" && own.contains(&pair[1]))
    });
    for pid in ended {
        tracing::warn!(pid, "ended a broker that an earlier run had left behind");
    }
}

fn read_or_make_state(settings: &BrokerSettings) -> Result<(State, bool), BrokerError> {
    let path = settings.data_dir.join("cluster.json");
    let (cluster_id, kept) = match fs::read_to_string(&path) {
        Ok(text) => {
            let state: State = serde_json::from_str(&text).map_err(|error| io("reading", &path)(error.into()))?;
            (Some(state.cluster_id), state.nodes)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, Vec::new()),
        Err(error) => return Err(io("reading", &path)(error)),
    };
    let is_new = cluster_id.is_none();
    if !is_new && kept.len() != usize::from(settings.brokers) {
        let made = u8::try_from(kept.len()).unwrap_or(u8::MAX);
        return Err(BrokerError::Count { folder: settings.data_dir.clone(), made, asked: settings.brokers });
    }
    let nodes = choose_ports(settings, kept)?;
    Ok((State { cluster_id: cluster_id.unwrap_or_else(new_cluster_id), nodes }, is_new))
}

/// The ports of the last run where they are free, so that clients find the bus again; otherwise others.
fn choose_ports(settings: &BrokerSettings, kept: Vec<Ports>) -> Result<Vec<Ports>, BrokerError> {
    let count = usize::from(settings.brokers);
    if let Some(base) = settings.port_base {
        let chosen: Vec<u16> = (0..2 * u16::from(settings.brokers)).map(|offset| base.saturating_add(offset)).collect();
        if let Some(taken) = chosen.iter().find(|port| !checks::port_is_free(**port)) {
            return Err(Missing::Port(*taken).into());
        }
        return Ok(pairs(&chosen));
    }
    let free = |ports: &Ports| checks::port_is_free(ports.broker) && checks::port_is_free(ports.controller);
    if kept.len() == count && kept.iter().all(free) {
        return Ok(kept);
    }
    let chosen = free_ports(2 * count).map_err(io("choosing ports for", &settings.data_dir))?;
    Ok(pairs(&chosen))
}

fn pairs(ports: &[u16]) -> Vec<Ports> {
    ports.chunks_exact(2).map(|pair| Ports { broker: pair[0], controller: pair[1] }).collect()
}

fn write_state(data_dir: &Path, state: &State) -> Result<(), BrokerError> {
    let path = data_dir.join("cluster.json");
    let text = serde_json::to_string_pretty(state).map_err(|error| io("writing", &path)(error.into()))?;
    fs::write(&path, text).map_err(io("writing", &path))
}

/// 16 random bytes as base64url: 22 characters. Kafka refuses one that begins with `-`.
fn new_cluster_id() -> String {
    let mut bytes = [0u8; 16];
    fastrand::fill(&mut bytes);
    bytes[0] &= 0x7f;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BrokerError + use<> {
    let path = path.to_owned();
    move |source| BrokerError::Io { doing, path, source }
}
