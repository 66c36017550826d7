//! A private PostgreSQL server, where the machine has one installed: loopback, a free port, trust for local clients.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::ports;
use crate::supervised::{Ending, Supervised, end_orphans};

#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("PostgreSQL is not installed: apt-get install postgresql")]
    NotInstalled,
    #[error("PostgreSQL refuses to run as root, and setpriv is missing: apt-get install util-linux")]
    NoSetpriv,
    #[error("{doing}: {reason}")]
    Start { doing: &'static str, reason: String },
}

/// A server that is alive and does not answer.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running server; ended when dropped, and when this process ends in any other way.
#[derive(Debug)]
pub struct Server {
    process: Supervised,
    port: u16,
    folder: PathBuf,
    bin: PathBuf,
    /// Folders that nobody needs afterwards.
    throwaway: Vec<PathBuf>,
}

impl Server {
    /// Makes a cluster in `folder/postgres` where there is none, and starts it. Blocking.
    pub fn start(folder: &Path) -> Result<Self, PostgresError> {
        Self::start_with(folder, false)
    }

    /// In a temporary folder that is removed when the process ends.
    pub fn start_private() -> Result<Self, PostgresError> {
        let folder =
            tempfile::Builder::new().prefix("freshet-postgres-").tempdir().map_err(fail("temporary folder"))?;
        Self::start_with(&folder.keep(), true)
    }

    fn start_with(folder: &Path, throwaway: bool) -> Result<Self, PostgresError> {
        let bin = binaries().ok_or(PostgresError::NotInstalled)?;
        fs::create_dir_all(folder).map_err(fail("making the folder"))?;
        let home = folder.canonicalize().map_err(fail("finding the folder"))?;
        let folder = cluster_folder(&home)?;
        let marker = folder.display().to_string();
        end_orphans(Signal::SIGINT, Duration::from_secs(10), |args| {
            args.windows(2).any(|pair| pair[0] == "-D" && pair[1] == marker)
        });
        if !folder.join("PG_VERSION").exists() {
            let output = as_ordinary_user(&bin.join("initdb"))?
                .args(["-D", &marker, "-U", "freshet", "-E", "UTF8", "--locale=C", "-A", "trust", "--no-sync"])
                .current_dir("/")
                .output()
                .map_err(fail("starting initdb"))?;
            if !output.status.success() {
                return Err(fail("initdb")(String::from_utf8_lossy(&output.stderr)));
            }
        }
        let port = choose_port(&home)?;
        let log = fs::File::create(home.join("postgres.log")).map_err(fail("writing its log"))?;
        let errors = log.try_clone().map_err(fail("writing its log"))?;
        let mut command = as_ordinary_user(&bin.join("postgres"))?;
        command
            .args(["-D", &marker, "-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "max_connections=50", "-c", "wal_level=logical"])
            .current_dir("/")
            .stdout(log)
            .stderr(errors);
        // SIGINT is its "fast" end: connections are closed, the data is whole.
        let ending = Ending {
            marker,
            signal: Signal::SIGINT,
            limit: Duration::from_secs(10),
            remove: throwaway.then(|| folder.clone()),
        };
        let process = Supervised::spawn(&mut command, ending).map_err(fail("starting postgres"))?;
        let throwaway = if throwaway { vec![folder.clone(), home.clone()] } else { Vec::new() };
        let mut server = Self { process, port, folder, bin, throwaway };
        server.wait(&home)?;
        Ok(server)
    }

    /// Of the database `postgres`, user `freshet`.
    pub fn url(&self) -> String {
        format!("postgres://freshet@127.0.0.1:{}/postgres", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// In good order.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after `stop` or `kill`, on the same port and data.
    pub fn restart(&mut self) -> Result<(), PostgresError> {
        self.process.stop();
        let marker = self.folder.display().to_string();
        let mut command = as_ordinary_user(&self.bin.join("postgres"))?;
        command
            .args(["-D", &marker, "-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "max_connections=50", "-c", "wal_level=logical"])
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let ending = Ending {
            marker,
            signal: Signal::SIGINT,
            limit: Duration::from_secs(10),
            remove: self.throwaway.first().cloned(),
        };
        self.process = Supervised::spawn(&mut command, ending).map_err(fail("starting postgres"))?;
        let home = self.folder.clone();
        self.wait(&home)
    }

    fn wait(&mut self, home: &Path) -> Result<(), PostgresError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let deadline = Instant::now() + START_LIMIT;
        // A server that is still recovering takes a connection and refuses the session: ask it a question.
        loop {
            if let Some(status) = self.process.ended() {
                let log = home.join("postgres.log");
                return Err(fail("postgres")(format!("it ended with {status} (its log: {})", log.display())));
            }
            let answers = TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
                && fs::read_to_string(self.folder.join("postmaster.pid"))
                    .is_ok_and(|text| text.lines().nth(7).is_some_and(|line| line.trim() == "ready"));
            if answers {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(fail("postgres")(format!("no answer for {} s", START_LIMIT.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.stop();
        for folder in &self.throwaway {
            // A temporary folder that stays behind does no harm.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// On PATH, or where Debian puts them (newest first).
fn binaries() -> Option<PathBuf> {
    let whole = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let on_path = std::env::var_os("PATH").and_then(|path| std::env::split_paths(&path).find(whole));
    on_path.or_else(|| {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .filter(|(_, folder)| whole(folder))
            .collect();
        versions.sort();
        versions.pop().map(|(_, folder)| folder)
    })
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// PostgreSQL refuses root; then it runs as `nobody`, whom the cluster's folder belongs to.
fn as_ordinary_user(program: &Path) -> Result<Command, PostgresError> {
    if !is_root() {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    let found = Command::new("setpriv").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.map_err(|_| PostgresError::NoSetpriv)?;
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
    Ok(command)
}

/// `home/postgres`; as root the folder must be reachable for `nobody`, which a private data folder is not, so there it
/// is a folder of `/var/tmp` whose name stands in the data folder: a data folder that is made anew has a new database.
fn cluster_folder(home: &Path) -> Result<PathBuf, PostgresError> {
    if !is_root() {
        return Ok(home.join("postgres"));
    }
    let note = home.join("postgres.folder");
    if let Ok(kept) = fs::read_to_string(&note)
        && Path::new(kept.trim()).is_dir()
    {
        return Ok(PathBuf::from(kept.trim()));
    }
    let folder = tempfile::Builder::new().prefix("freshet-postgres-").tempdir_in("/var/tmp");
    let folder = folder.map_err(fail("making the cluster's folder"))?.keep();
    let nobody = nix::unistd::User::from_name("nobody").map_err(fail("looking up nobody"))?;
    let group = nix::unistd::Group::from_name("nogroup").map_err(fail("looking up nogroup"))?;
    nix::unistd::chown(&folder, nobody.map(|user| user.uid), group.map(|group| group.gid))
        .map_err(fail("giving the cluster's folder to nobody"))?;
    fs::write(&note, folder.display().to_string()).map_err(fail("noting the cluster's folder"))?;
    Ok(folder)
}

/// The port of the last run where it is free.
fn choose_port(home: &Path) -> Result<u16, PostgresError> {
    let file = home.join("postgres.port");
    let kept = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let free = kept.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let port = match free {
        Some(port) => port,
        None => ports::free_port().map_err(fail("choosing a port"))?,
    };
    fs::write(&file, port.to_string()).map_err(fail("keeping the port"))?;
    Ok(port)
}

fn fail<T: std::fmt::Display>(doing: &'static str) -> impl Fn(T) -> PostgresError {
    move |reason| PostgresError::Start { doing, reason: reason.to_string().trim().to_owned() }
}
