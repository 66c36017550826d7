//! One run, from the brokers' start to the verdict.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use freshet_catalog_model::{Catalog, Delivery, Grant};
use freshet_demo::registers;
use freshet_testkit::postgres::Server;
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, DATABASE, Exit, Files, GATEWAY, Network, PULL, Processes, REGISTRY, WEBHOOKS, program};
use crate::catalogue::{Folder, secrets};
use crate::checker::{self, Kind};
use crate::history::{History, Millis};
use crate::ledger::{Ledger, now};
use crate::nemesis::{self, Nemesis};
use crate::probes::Probes;
use crate::report::Report;
use crate::subscribers::Subscribers;
use crate::upgrade::{self, Programs};
use crate::workload::webhook::Receiver;
use crate::workload::{BUSINESS, Desk, FILES, LICENCES, RENTALS, authority, database, file, http, kafka_in};

#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    pub length: Duration,
    /// Events per second of all publishers.
    pub rate: f64,
    /// How long everything may take to arrive after the last fault.
    pub drain_limit: Duration,
    /// Keep logs and data where they are.
    pub keep: bool,
    /// What each process may hold.
    pub limit_mib: u64,
    pub script: Script,
}

/// What is done to the bus.
#[derive(Debug, Clone)]
pub enum Script {
    /// What the seed says: of these kinds, of all where none is named.
    Faults(Vec<nemesis::Kind>),
    Upgrade(Programs),
}

impl Options {
    pub fn new(seed: u64, length: Duration) -> Self {
        Self {
            seed,
            length,
            rate: 120.0,
            drain_limit: Duration::from_secs(300),
            keep: false,
            limit_mib: 256,
            script: Script::Faults(Vec::new()),
        }
    }
}

/// Shares of the rate.
const RENTALS_SHARE: f64 = 0.2;
const LICENCES_SHARE: f64 = 0.25;
const BUSINESS_SHARE: f64 = 0.15;
const FILES_SHARE: f64 = 0.4;
const READY_LIMIT: Duration = Duration::from_secs(240);
/// How long everything must stay complete: what comes twice comes late.
const CALM: Duration = Duration::from_secs(4);
/// How often it is looked whether everything is there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Plays a run. An error where the bus could not even be started. Unless every promise was kept, logs and data stay.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let home = tempfile::Builder::new().prefix("freshet-faults-").tempdir()?;
    if options.keep {
        eprintln!("everything is kept in {}", home.path().display());
    }
    let small_disk = SmallDisk::mount(&home.path().join("kafka/node-3"));
    let report = in_folder(options, home.path(), small_disk.as_ref()).await;
    if options.keep || !report.as_ref().is_ok_and(Report::is_good) {
        let folder = home.keep();
        small_disk.iter().for_each(|disk| disk.save(&folder.join("node-3")));
        eprintln!("logs and data are kept in {}", folder.display());
    }
    report
}

async fn in_folder(options: &Options, folder: &Path, small_disk: Option<&SmallDisk>) -> anyhow::Result<Report> {
    let server = tokio::task::spawn_blocking(Server::start_private).await??;
    let ledger = Arc::new(Ledger::default());
    let receiver = Arc::new(Receiver::start(ledger.clone()).await?);
    let network = Network::start(server.port(), receiver.port).await?;
    let catalogue = Folder::write(&folder.join("catalogue"), network.port(WEBHOOKS))?;
    let catalog = catalogue.read()?;
    let grants = played(&catalog);
    let database_url = |port: u16| format!("postgres://freshet@127.0.0.1:{port}/postgres");
    let secrets = secrets(catalog.grants.values(), &database_url(network.port(DATABASE)));
    let files = Files::write(folder, catalog.departments.keys().map(String::as_str), &secrets)?;
    for grant in &grants {
        if let Delivery::Postgres { table, .. } = &grant.delivery {
            database::prepare(&server.url(), table).await?;
        }
        ledger.add_grant(grant)?;
    }
    let (own, path) = (folder.to_owned(), catalogue.path().to_owned());
    let program = match &options.script {
        Script::Faults(_) => program()?,
        Script::Upgrade(programs) => programs.old.clone(),
    };
    let processes = Processes { program, limit_mib: options.limit_mib };
    let bus = tokio::task::spawn_blocking(move || Bus::start(network, &own, (&path, &files), &processes)).await??;
    let bus = Arc::new(bus);
    let supervisor = Supervisor::start(bus.clone());
    let not_ready = still_not_ready(&bus).await?;
    if !not_ready.is_empty() {
        bail!("not ready before any fault: {not_ready:?}");
    }

    let desk = Desk {
        ledger: ledger.clone(),
        kafka: bus.bootstrap().to_owned(),
        gateway: bus.network.address(GATEWAY),
        registry: bus.network.address(REGISTRY),
        pull: bus.network.address(PULL),
        stop_publishing: CancellationToken::new(),
        stop: CancellationToken::new(),
    };
    let datasets = [RENTALS, LICENCES, BUSINESS].into_iter().chain(FILES.iter().map(|(name, _)| *name));
    datasets.clone().for_each(|dataset| ledger.add_dataset(dataset));
    let publishing = catalog.departments.values().filter(|department| !department.sources.is_empty());
    let topics = authority::topics(datasets, publishing.map(|department| department.id.as_str()));
    let subscribers = Subscribers::start_all(desk.clone(), server.url(), &grants, topics)?;
    let publishers = publish(&desk, options)?;

    let nemesis = Arc::new(Nemesis {
        bus: bus.clone(),
        database: Arc::new(Mutex::new(server)),
        receiver: receiver.clone(),
        folder: Arc::new(Mutex::new(catalogue)),
        subscribers,
        webhooks: of_way(&grants, |delivery| matches!(delivery, Delivery::Webhook { .. }).then(String::new)),
        tables: grants.iter().filter_map(table).collect(),
        small_disk: small_disk.map(|disk| disk.folder.clone()),
        late: Mutex::default(),
        brokers: Mutex::default(),
        is_over: AtomicBool::default(),
        handle: tokio::runtime::Handle::current(),
    });
    let probes = Probes::start(bus.clone())?;
    let begun = now();
    let injected = match options.script.clone() {
        Script::Faults(only) => {
            let (playing, plan) = (nemesis.clone(), nemesis::plan(options.seed, options.length, &only));
            let enough = interrupted()?;
            tokio::task::spawn_blocking(move || playing.play(&plan, &enough)).await?
        }
        Script::Upgrade(programs) => {
            let (bus, length, handle) = (bus.clone(), options.length, tokio::runtime::Handle::current());
            let files = folder.join("catalogue");
            tokio::task::spawn_blocking(move || upgrade::play(&bus, &programs, length, &files, &handle)).await?
        }
    };
    let healed = now();
    desk.stop_publishing.cancel();
    let drained = drain(&ledger, publishers, (healed, options.drain_limit)).await?;
    let not_ready = still_not_ready(&bus).await?;
    desk.stop.cancel();
    let unresponsive = probes.stop().await;
    let exits = supervisor.stop().await;
    let violations = ledger.look(checker::check);
    let memory = bus.memory();
    Ok(ledger.look(|history| {
        Report::new(crate::report::Parts {
            options,
            history,
            injected,
            violations,
            begun,
            healed,
            drained,
            not_ready,
            exits,
            unresponsive,
            memory,
            held: bus.held(),
            troubles: ledger.troubles(),
        })
    }))
}

/// Told when the run was sent SIGINT: no further fault, but the report of what was.
fn interrupted() -> anyhow::Result<mpsc::Receiver<()>> {
    let (told, enough) = mpsc::channel();
    let mut signals = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            eprintln!("no further faults; the report follows when everything has arrived");
            // Who played may have come to the end already.
            let _ = told.send(());
        }
    });
    Ok(enough)
}

/// The grants of datasets that somebody publishes.
fn played(catalog: &Catalog) -> Vec<Grant> {
    let files = FILES.iter().map(|(name, _)| *name);
    let datasets: Vec<&str> = [RENTALS, LICENCES, BUSINESS].into_iter().chain(files).collect();
    catalog.grants.values().filter(|grant| datasets.contains(&grant.dataset.as_str())).cloned().collect()
}

fn of_way(grants: &[Grant], is: impl Fn(&Delivery) -> Option<String>) -> Vec<String> {
    grants.iter().filter(|grant| is(&grant.delivery).is_some()).map(|grant| grant.id.clone()).collect()
}

fn table(grant: &Grant) -> Option<String> {
    match &grant.delivery {
        Delivery::Postgres { table, .. } => Some(table.clone()),
        Delivery::Kafka | Delivery::Pull | Delivery::Webhook { .. } => None,
    }
}

type Publishers = tokio::task::JoinSet<anyhow::Result<()>>;

fn publish(desk: &Desk, options: &Options) -> anyhow::Result<Publishers> {
    let mut registers = registers::read()?;
    let mut publishers = Publishers::new();
    let rate = |share: f64| options.rate * share;
    let rentals = registers.remove(RENTALS).unwrap_or_default();
    publishers.spawn(kafka_in::rentals(desk.clone(), rate(RENTALS_SHARE), rentals));
    publishers.spawn(kafka_in::licences(desk.clone(), rate(LICENCES_SHARE), options.seed));
    // Enough for the whole time; each bureau has about half.
    let count = (rate(BUSINESS_SHARE) * options.length.as_secs_f64() * 1.2) as usize + 500;
    for source in http::SOURCES {
        let seed = (options.seed, count);
        publishers.spawn(http::publish(desk.clone(), rate(BUSINESS_SHARE) / 2.0, source, seed));
    }
    for (dataset, department) in FILES {
        let lines = registers.remove(dataset).unwrap_or_default();
        let rate = rate(FILES_SHARE) / FILES.len() as f64;
        publishers.spawn(file::publish(desk.clone(), rate, (dataset, department), lines));
    }
    Ok(publishers)
}

fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?)
}

/// Waits for everybody to be ready. Gives those that are not within the limit.
async fn still_not_ready(bus: &Bus) -> anyhow::Result<Vec<(String, String)>> {
    let (client, deadline) = (client()?, Instant::now() + READY_LIMIT);
    loop {
        let not_ready = bus.not_ready(&client).await;
        if not_ready.is_empty() || Instant::now() > deadline {
            return Ok(not_ready);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How long something may be missing of which a later one was delivered.
const SKIPPED_FOR: Duration = Duration::from_secs(20);

/// Until nothing is missing any more. How long after the last fault the last delivery was made, or None where the limit came
/// first.
async fn drain(
    ledger: &Ledger,
    mut publishers: Publishers,
    (healed, limit): (Millis, Duration),
) -> anyhow::Result<Option<Duration>> {
    let deadline = Instant::now() + limit;
    while let Ok(ended) = tokio::time::timeout_at(deadline.into(), publishers.join_next()).await {
        let Some(ended) = ended else { break };
        ended.context("a publisher")??;
    }
    let (mut complete, mut skipped): (Option<Instant>, Option<Instant>) = (None, None);
    while Instant::now() < deadline {
        let looked = Instant::now();
        let found = checker::count(&ledger.look(checker::check));
        let took = looked.elapsed();
        // Waiting does not bring it; a short wait shows whether it was only on its way.
        skipped = if found[&Kind::Skipped] > 0 { skipped.or(Some(looked)) } else { None };
        if skipped.is_some_and(|since| since.elapsed() > SKIPPED_FOR) {
            return Ok(None);
        }
        let is_complete = publishers.is_empty() && found[&Kind::Lost] == 0 && skipped.is_none();
        complete = if is_complete { complete.or(Some(Instant::now())) } else { None };
        if complete.is_some_and(|since| since.elapsed() >= CALM) {
            let last = ledger.look(History::last_delivery).unwrap_or(healed);
            return Ok(Some(Duration::from_millis(u64::try_from(last - healed).unwrap_or(0))));
        }
        // After an hour a look takes a second or more, in which nobody can note a delivery.
        tokio::time::sleep(LOOK_EVERY.max(3 * took)).await;
    }
    Ok(None)
}

/// Starts again whoever ends by himself.
struct Supervisor {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Vec<Exit>>,
}

impl Supervisor {
    fn start(bus: Arc<Bus>) -> Self {
        let stop = CancellationToken::new();
        let ended = stop.clone();
        let task = tokio::spawn(async move {
            let mut exits = Vec::new();
            while ended.run_until_cancelled(tokio::time::sleep(Duration::from_millis(500))).await.is_some() {
                exits.extend(bus.supervise());
                bus.memory();
            }
            exits
        });
        Self { stop, task }
    }

    async fn stop(self) -> Vec<Exit> {
        self.stop.cancel();
        self.task.await.unwrap_or_default()
    }
}

/// A file system of its own for one broker, small enough to be filled. Only root can mount one.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).ok()?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=700m", "tmpfs"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self { folder: folder.to_owned() })
    }

    /// What is on it goes with it.
    fn save(&self, to: &Path) {
        let copied = Command::new("cp").arg("-a").arg(&self.folder).arg(to).status();
        if !copied.is_ok_and(|status| status.success()) {
            eprintln!("the data of the small disk could not be copied to {}", to.display());
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
    }
}
