//! Apache Kafka in KRaft mode as a child process: the same program as in production, on loopback, on free ports, with a
//! data folder that the next start continues.

mod checks;
mod cluster;
mod jars;
mod properties;
mod secured;
mod shared;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};

pub use checks::Missing;
use cluster::Cluster;
pub use secured::{MECHANISMS, Secured};

/// A broker that is alive and does not answer: three of them on a busy machine with two cores take a minute and a half.
const START_LIMIT: Duration = Duration::from_secs(240);

/// How the broker is started. Everything has a default except the folder.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// Configuration, log and data. Made where it does not exist; continued where it does.
    pub data_dir: PathBuf,
    /// 1 or 3. Fixed at the first start of a data folder.
    pub brokers: u8,
    /// `-Xmx` of each broker.
    pub heap: String,
    /// The first of `2 × brokers` ports; free ones are chosen where none is given.
    pub port_base: Option<u16>,
    pub life: Life,
    /// Listeners beside the usual one, for clients that reach the brokers by other addresses.
    pub listeners: Vec<Listener>,
    /// A further listener with TLS and passwords, and an authorizer; for one broker.
    pub secured: Option<Secured>,
}

/// What a broker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Work. It is ended in good order.
    Long,
    /// A test: compiles less eagerly (starts faster, runs slower), is killed at the end. Whoever made its folder removes it.
    Brief,
    /// The same, and its folder goes with it.
    Throwaway,
}

/// One more listener of every broker. Clients that begin there are sent to its advertised ports: a proxy between them and
/// the brokers sees all that they say.
#[derive(Debug, Clone)]
pub struct Listener {
    /// In capitals, as Kafka writes listeners.
    pub name: String,
    /// (where it listens, where clients are told to connect) for each broker, both on loopback.
    pub ports: Vec<(u16, u16)>,
    pub serves: Serves,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    Clients,
    /// The brokers replicate through it.
    Brokers,
    /// Instead of the listener of each node's controller: what controllers and brokers say to it goes there.
    Controllers,
}

impl BrokerSettings {
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            brokers: 1,
            heap: "512m".to_owned(),
            port_base: None,
            life: Life::Long,
            listeners: Vec::new(),
            secured: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("the data folder {} is in use by another freshet; stop that one or give --data another folder", .0.display())]
    InUse(PathBuf),
    #[error("the data folder {} was made with {made} broker(s), not {asked}; use --brokers {made} or another folder", folder.display())]
    Count { folder: PathBuf, made: u8, asked: u8 },
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("could not get Apache Kafka through mvn: {0}")]
    Resolve(String),
    #[error(
        "the data folder {} was written by a newer Apache Kafka than this one; start that one (KAFKA_HOME) or give --data \
         another folder (the broker's log: {})",
        folder.display(),
        log.display()
    )]
    Newer { folder: PathBuf, log: PathBuf },
    #[error("the broker did not start: {reason} (its log: {})", log.display())]
    Start { reason: String, log: PathBuf },
}

/// Everything is there that a start needs, and the data folder is ours; nothing runs yet.
#[derive(Debug)]
pub struct Prepared {
    cluster: Cluster,
}

impl Prepared {
    /// Starts, and waits until clients are served. Blocking.
    pub fn start(self) -> Result<Broker, BrokerError> {
        let mut broker = Broker { cluster: self.cluster };
        broker.launch()?;
        Ok(broker)
    }
}

/// A running cluster of one or three brokers. Ended when dropped, and also when this process ends in any other way.
#[derive(Debug)]
pub struct Broker {
    cluster: Cluster,
}

impl Broker {
    /// Checks what is needed, resolves the jars and formats the folder at the first time. Blocking.
    pub fn prepare(settings: BrokerSettings) -> Result<Prepared, BrokerError> {
        Ok(Prepared { cluster: Cluster::prepare(settings)? })
    }

    /// [`Self::prepare`] and [`Prepared::start`].
    pub fn start(settings: BrokerSettings) -> Result<Self, BrokerError> {
        Self::prepare(settings)?.start()
    }

    /// One broker for all tests of a process, ended with the process. Panics where it cannot be started: a test cannot
    /// go on without it, and must not pass without it.
    pub fn shared() -> &'static Broker {
        shared::shared()
    }

    /// `host:port`, separated by commas.
    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap()
    }

    pub fn brokers(&self) -> u8 {
        self.cluster.settings().brokers
    }

    pub fn data_dir(&self) -> &std::path::Path {
        &self.cluster.settings().data_dir
    }

    /// The process ids, for measuring.
    pub fn pids(&self) -> Vec<u32> {
        self.cluster.pids()
    }

    /// True while every broker's process runs.
    pub fn is_running(&mut self) -> bool {
        self.cluster.is_running()
    }

    /// In good order: SIGTERM, then SIGKILL after a limit.
    pub fn stop(&mut self) {
        self.cluster.stop();
    }

    /// SIGKILL to all brokers.
    pub fn kill(&mut self) {
        self.cluster.kill();
    }

    /// SIGKILL to one broker, counted from 0.
    pub fn kill_one(&mut self, index: usize) {
        self.cluster.kill_one(index);
    }

    /// One broker in good order, counted from 0.
    pub fn stop_one(&mut self, index: usize) {
        self.cluster.stop_one(index);
    }

    /// Starts one broker that was stopped or killed, and does not wait for it.
    pub fn start_one(&mut self, index: usize) -> Result<(), BrokerError> {
        self.cluster.start_one(index)
    }

    /// The process of one broker, while there is one.
    pub fn pid_of(&self, index: usize) -> Option<u32> {
        self.cluster.pid_of(index)
    }

    /// True while the process of this broker runs.
    pub fn runs(&mut self, index: usize) -> bool {
        self.cluster.runs(index)
    }

    /// True where every broker takes connections and is a member of the cluster. Takes up to seconds where not.
    pub fn serves(&self) -> bool {
        self.cluster.answers() && self.members() == usize::from(self.brokers())
    }

    /// Starts what was stopped or killed, on the same ports and data.
    pub fn restart(&mut self) -> Result<(), BrokerError> {
        self.launch()
    }

    fn launch(&mut self) -> Result<(), BrokerError> {
        self.cluster.spawn_missing()?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(reason) = self.cluster.failure() {
                self.cluster.kill();
                return Err(reason);
            }
            if self.serves() {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.cluster.kill();
                return Err(BrokerError::Start {
                    reason: format!("no answer for {} s", START_LIMIT.as_secs()),
                    log: self.cluster.log_file(0),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// How many brokers the cluster says it has that serve clients.
    fn members(&self) -> usize {
        let consumer: Result<BaseConsumer, _> = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create();
        let Ok(consumer) = consumer else { return 0 };
        consumer.fetch_metadata(None, Duration::from_secs(2)).map_or(0, |metadata| metadata.brokers().len())
    }
}
