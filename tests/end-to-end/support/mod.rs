//! The bus as in production: a real broker and one process a role (`freshet run ROLE`), which a test may kill.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use freshet_testkit::broker::{Life, Secured};
use freshet_testkit::{Broker, BrokerSettings};
use sha2::{Digest, Sha256};

pub const ROLES: [&str; 6] = ["catalog", "validator", "router", "fanout", "observer", "gateway"];
const PROGRAM: &str = env!("CARGO_BIN_EXE_freshet");

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A process of one role.
struct Role {
    name: &'static str,
    admin_port: u16,
    child: Option<Child>,
    starts: usize,
}

pub struct Bus {
    roles: BTreeMap<String, Role>,
    pub gateway: String,
    pub pull: String,
    pub registry: String,
    pub folder: tempfile::TempDir,
    settings: Vec<String>,
    pub broker: Broker,
    logon: Option<Logon>,
}

/// A cluster that asks everybody who they are, and allows what it was told to. Each role is the user `freshet-<role>`, each
/// command `freshet-operator`.
pub struct Logon {
    pub secured: Secured,
    /// Of `MECHANISMS`, for a user.
    pub mechanism: fn(user: &str) -> &'static str,
    pub superuser: &'static str,
}

impl Logon {
    pub const OPERATOR: &'static str = "freshet-operator";

    /// The password of every user that a bus knows.
    pub fn password(user: &str) -> String {
        format!("password-of-{user}")
    }

    fn settings(&self, folder: &Path, user: &str) -> Vec<String> {
        let password = folder.join(format!("{user}.password"));
        std::fs::write(&password, Self::password(user)).expect("a password");
        let mechanism = (self.mechanism)(user).to_lowercase().replace("sha-", "sha").replace('-', "_");
        let kafka = [
            ("security.protocol", "sasl_tls".to_owned()),
            ("security.sasl.mechanism", mechanism),
            ("security.sasl.username", user.to_owned()),
            ("security.sasl.password_file", password.display().to_string()),
            ("security.tls.ca_file", self.secured.ca_file.display().to_string()),
        ];
        let access = ROLES.iter().copied().chain(["operator"]).map(|role| format!("access.{role}=User:freshet-{role}"));
        kafka.into_iter().map(|(key, value)| format!("kafka.{key}={value}")).chain(access).collect()
    }
}

/// What the bus is started with.
pub struct Options<'a> {
    pub catalogue: &'a Path,
    /// Department and token.
    pub tokens: &'a [(&'a str, &'a str)],
    /// File name and contents, for webhooks and databases.
    pub secrets: &'a [(&'a str, &'a str)],
    /// Further instances beside the six roles: `("validator", "1")`.
    pub extra_instances: &'a [(&'static str, &'static str)],
}

impl Bus {
    /// Broker, catalogue, all roles, and everything ready.
    pub fn start(options: &Options<'_>) -> Self {
        Self::start_on(options, None)
    }

    /// The same on a cluster that asks who one is: the first apply is the superuser's.
    pub fn start_on(options: &Options<'_>, logon: Option<Logon>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secured = logon.as_ref().map(|logon| logon.secured.clone());
        let broker =
            BrokerSettings { life: Life::Throwaway, secured, ..BrokerSettings::new(folder.path().join("kafka")) };
        let broker = Broker::start(broker).unwrap_or_else(|error| panic!("the broker: {error}"));
        let [gateway, pull, registry, observer] = [(); 4].map(|()| free_port());
        let files = Files::write(folder.path(), options);
        let mut settings = files.settings;
        for (key, port) in [
            ("gateway.listen", gateway),
            ("fanout.listen", pull),
            ("catalog.listen", registry),
            ("observer.listen", observer),
        ] {
            settings.push(format!("{key}=127.0.0.1:{port}"));
        }
        let mut bus = Self {
            roles: BTreeMap::new(),
            gateway: format!("http://127.0.0.1:{gateway}"),
            pull: format!("http://127.0.0.1:{pull}"),
            registry: format!("http://127.0.0.1:{registry}"),
            folder,
            settings,
            broker,
            logon,
        };
        let first = bus.logon.as_ref().map_or(Logon::OPERATOR, |logon| logon.superuser);
        let apply = ["catalog", "apply", &options.catalogue.to_string_lossy()];
        finished(&mut bus.command_as(first, &apply));
        for role in ROLES {
            bus.add(role, "0");
        }
        for (role, instance) in options.extra_instances {
            bus.add(role, instance);
        }
        bus.wait_ready();
        bus
    }

    pub fn bootstrap(&self) -> String {
        self.logon.as_ref().map_or_else(|| self.broker.bootstrap(), |logon| logon.secured.bootstrap())
    }

    /// Runs a command of the program to its end and returns what it printed. Panics where it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        finished(&mut self.command(arguments))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_as(Logon::OPERATOR, arguments)
    }

    /// As this user of the cluster, where it knows users.
    pub fn command_as(&self, user: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        let logon = self.logon.as_ref().map(|logon| logon.settings(self.folder.path(), user)).unwrap_or_default();
        command.args(arguments).args(["--kafka", &self.bootstrap()]);
        for setting in self.settings.iter().chain(&logon) {
            command.args(["--set", setting]);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts one more instance of a role.
    pub fn add(&mut self, name: &'static str, instance: &str) {
        let role = Role { name, admin_port: free_port(), child: None, starts: 0 };
        let id = format!("{name}-{instance}");
        self.roles.insert(id.clone(), role);
        self.respawn(&id);
    }

    /// SIGKILL, as the kernel would, and a new process in its place.
    pub fn kill(&mut self, id: &str) {
        self.end(id);
        self.respawn(id);
    }

    /// SIGKILL.
    pub fn end(&mut self, id: &str) {
        let role = self.roles.get_mut(id).unwrap_or_else(|| panic!("no role {id}"));
        if let Some(mut child) = role.child.take() {
            child.kill().expect("the process can be killed");
            child.wait().expect("the process ended");
        }
    }

    pub fn respawn(&mut self, id: &str) {
        let (name, instance) = id.split_once('-').expect("role-instance");
        let role = &self.roles[id];
        let admin = format!("admin.listen=127.0.0.1:{}", role.admin_port);
        let slot = format!("{name}.instance={instance}");
        let mut arguments = vec!["run", name, "--set", &admin];
        if ["validator", "router"].contains(&name) {
            arguments.extend(["--set", &slot]);
        }
        let log = self.folder.path().join(format!("{id}.{}.log", role.starts));
        let log = File::create(log).expect("a log file");
        let mut command = self.command_as(&format!("freshet-{name}"), &arguments);
        command.stdout(log.try_clone().expect("a log file")).stderr(log);
        let child = command.spawn().expect("the role starts");
        let role = self.roles.get_mut(id).expect("the role");
        role.child = Some(child);
        role.starts += 1;
    }

    /// Waits until every role says that it is ready.
    pub fn wait_ready(&mut self) {
        let client = reqwest::blocking::Client::new();
        for (id, role) in &mut self.roles {
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let url = format!("http://127.0.0.1:{}/ready", role.admin_port);
                let answer = client.get(&url).timeout(Duration::from_secs(2)).send();
                if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                let ended = role.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
                if ended.is_some() || Instant::now() > deadline {
                    let said = answer.and_then(reqwest::blocking::Response::text);
                    let log = self.folder.path().join(format!("{id}.{}.log", role.starts - 1));
                    panic!("{id} is not ready: {said:?}, ended: {ended:?}\n{}", tail(&log));
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    }

    /// How one process ended by itself, with the end of its log; None while it runs.
    pub fn ended(&mut self, id: &str) -> Option<(ExitStatus, String)> {
        let role = self.roles.get_mut(id).expect("the role");
        let status = role.child.as_mut()?.try_wait().expect("a status")?;
        Some((status, tail(&self.folder.path().join(format!("{id}.{}.log", role.starts - 1)))))
    }

    /// What `/ready` answers.
    pub fn readiness(&self, id: &str) -> String {
        let url = format!("http://127.0.0.1:{}/ready", self.roles[id].admin_port);
        reqwest::blocking::get(url).and_then(reqwest::blocking::Response::text).unwrap_or_default()
    }

    /// Whether one process says that it is ready.
    pub fn is_ready(&self, id: &str) -> bool {
        let url = format!("http://127.0.0.1:{}/ready", self.roles[id].admin_port);
        reqwest::blocking::get(url).is_ok_and(|answer| answer.status().is_success())
    }

    /// The metrics of one process.
    pub fn metrics(&self, id: &str) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.roles[id].admin_port);
        reqwest::blocking::get(url).and_then(reqwest::blocking::Response::text).expect("metrics")
    }

    /// Waits until a process is ready; where it is not in time, the logs of all say why.
    pub fn wait_until_ready(&self, id: &str, limit: Duration) {
        let is_ready = || self.is_ready(id).then_some(());
        eventually_or(limit, is_ready, || format!("{id} is not ready\n{}", self.logs()));
    }

    /// The ends of all logs, for a test that failed.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for (id, role) in &self.roles {
            let log = self.folder.path().join(format!("{id}.{}.log", role.starts.saturating_sub(1)));
            text.push_str(&format!("--- {id}\n{}\n", tail(&log)));
        }
        text
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        for role in self.roles.values_mut() {
            if let Some(child) = &mut role.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Runs a command to its end and returns what it printed. Panics where it fails.
fn finished(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{printed}{errors}", output.status);
    printed.into_owned()
}

/// The files beside the settings: tokens, secrets, the pseudonym key.
struct Files {
    settings: Vec<String>,
}

impl Files {
    fn write(folder: &Path, options: &Options<'_>) -> Self {
        let mut tokens = "[tokens]\n".to_owned();
        for (department, token) in options.tokens {
            let hash: String = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            tokens.push_str(&format!("{department} = [\"{hash}\"]\n"));
        }
        let credentials = private(folder, "credentials.toml", &tokens);
        let key = private(folder, "pseudonym.key", "a-pseudonym-key-for-tests-of-32-bytes-or-more");
        let secrets = folder.join("secrets");
        std::fs::create_dir(&secrets).expect("a folder for secrets");
        for (name, text) in options.secrets {
            private(&secrets, name, text);
        }
        let settings = vec![
            format!("gateway.credentials_file={}", credentials.display()),
            format!("fanout.credentials_file={}", credentials.display()),
            format!("gateway.pseudonym_key_file={}", key.display()),
            format!("validator.pseudonym_key_file={}", key.display()),
            format!("fanout.secrets_dir={}", secrets.display()),
            "fanout.allow_private_addresses=127.0.0.0/8".to_owned(),
        ];
        Self { settings }
    }
}

fn private(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = folder.join(name);
    let mut file =
        std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).expect("a private file");
    file.write_all(text.as_bytes()).expect("written");
    path
}

/// Copies a folder with all that is in it into another, which may exist.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

pub fn free_port() -> u16 {
    freshet_testkit::ports::free_port().expect("a free port")
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// Waits until `check` gives something, or panics with `what` after the limit.
pub fn eventually<T>(what: &str, limit: Duration, check: impl FnMut() -> Option<T>) -> T {
    eventually_or(limit, check, || what.to_owned())
}

fn eventually_or<T>(limit: Duration, mut check: impl FnMut() -> Option<T>, what: impl FnOnce() -> String) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {}", limit.as_secs(), what());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
