//! `freshet up`: the whole bus on this machine. The roles run the same code as `freshet run`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use freshet_kafka::connection::Security;
use freshet_runtime::run::{Services, stop_on_signal};
use freshet_runtime::{CancellationToken, Context, Threads, admin};
use freshet_testkit::broker::Prepared;
use freshet_testkit::{Broker, BrokerSettings};

use crate::cli::{Globals, Role, UpArguments};
use crate::client::Bus;
use crate::exit::Exit;
use crate::settings::{self, Settings};
use crate::up::ports::{PORTS_OF_SERVICES, Ports, address};
use crate::up::secrets::Secrets;
use crate::up::{catalogue, secrets};
use crate::{roles, up};

/// Topics of a hundred views are made at the first start.
const READY_LIMIT: Duration = Duration::from_secs(120);

pub fn run(globals: &Globals, arguments: UpArguments) -> anyhow::Result<Exit> {
    let quiet = ("log.level".to_owned(), quiet_level(&arguments));
    settings::load(globals, &[quiet])?.value.start_log()?;
    secrets::private_folder(&globals.data)?;
    let threads = Threads::start().context("starting the threads")?;
    let stop = CancellationToken::new();
    // Listening begins before the broker starts, so that Ctrl-C during the start ends it in good order too.
    threads.block_on(async { stop_on_signal(stop.clone()) }).context("listening for signals")?;
    let begun = Instant::now();
    // What the machine lacks is said before anything is started.
    let broker = prepare_broker(globals, &arguments)?;
    let ports = Ports::choose(&globals.data, arguments.port_base)?;
    let mut broker = match broker {
        Some(broker) => {
            eprintln!("starting Apache Kafka in {}", globals.data.join("kafka").display());
            Some(broker.start()?)
        }
        None => None,
    };
    let ended = threads.block_on(serve(globals, &arguments, broker.as_mut(), ports, stop, begun));
    // The services are gone; nothing writes any more.
    if let Some(broker) = &mut broker {
        broker.stop();
    }
    ended
}

/// The demo's table and books are the output; the services' own log would tear it.
fn quiet_level(arguments: &UpArguments) -> String {
    let level = if arguments.demo { "error" } else { "info" };
    format!("{level},librdkafka=off,rdkafka=off")
}

fn prepare_broker(globals: &Globals, arguments: &UpArguments) -> anyhow::Result<Option<Prepared>> {
    if globals.kafka.is_some() {
        return Ok(None);
    }
    let brokers = arguments.brokers.parse().context("--brokers")?;
    let settings = BrokerSettings {
        brokers,
        heap: arguments.broker_heap.clone(),
        port_base: arguments.port_base.map(|base| base + PORTS_OF_SERVICES),
        ..BrokerSettings::new(globals.data.join("kafka"))
    };
    Ok(Some(Broker::prepare(settings)?))
}

async fn serve(
    globals: &Globals,
    arguments: &UpArguments,
    broker: Option<&mut Broker>,
    ports: Ports,
    stop: CancellationToken,
    begun: Instant,
) -> anyhow::Result<Exit> {
    let bootstrap = match (&broker, &globals.kafka) {
        (Some(broker), _) => broker.bootstrap(),
        (None, Some(kafka)) => kafka.clone(),
        (None, None) => bail!("neither a broker nor --kafka"),
    };
    let mut folder = catalogue::folder(&globals.data, arguments.catalog.as_deref())?;
    let demo = if arguments.demo {
        let world = freshet_demo::World::prepare(&globals.data, &folder, ports.webhook).await?;
        folder = world.catalogue().to_owned();
        Some(world)
    } else {
        None
    };
    let source = match freshet_catalog::validate(&folder) {
        Ok(source) => source,
        Err(freshet_catalog::Error::Refused(mistakes)) => {
            mistakes.iter().for_each(|mistake| eprintln!("{mistake}"));
            return Ok(Exit::Findings);
        }
        Err(error) => return Err(error.into()),
    };
    let secrets = Secrets::prepare(&globals.data, &source)?;
    let settings = settings::load(globals, &overrides(&bootstrap, ports, &secrets))?.value;
    for role in Role::ALL {
        let problems = roles::check(role, &settings);
        if !problems.is_empty() {
            bail!("{}", problems.join("\n"));
        }
    }
    if arguments.demo && settings.kafka.security != Security::default() {
        bail!(
            "--demo plays departments that log on nowhere: give it a cluster without TLS and passwords, or leave --demo out"
        );
    }
    apply(&settings, &folder).await?;

    let context = Context { stop: stop.clone(), ..Context::new() };
    let listener = admin::bind(settings.admin.listen).await?;
    let mut services = Services::new(context.readiness.clone());
    for role in Role::ALL {
        roles::start(role, &settings, &context, &mut services);
    }
    let stop_serving = CancellationToken::new();
    let probes = tokio::spawn(admin::serve(listener, context.clone(), stop_serving.clone()));
    let limit = Duration::from_secs(settings.admin.stop_limit_seconds);
    let finish = tokio::spawn({
        let stop = stop.clone();
        async move { services.finish(&stop, limit).await }
    });

    let mut exit = Exit::Done;
    if ready(&context, &stop).await? {
        let bus = addresses(&bootstrap, ports);
        std::fs::write(Bus::file(&globals.data), serde_json::to_vec_pretty(&bus)?).context("writing bus.json")?;
        up::greeting::print(&globals.data, &bus, &source, begun.elapsed());
        if let Some(world) = demo {
            exit = play(world, &bus, &secrets, &settings, globals, arguments, &stop).await?;
        } else if source.grants.contains_key("city-planning-short-term-rentals") {
            println!("{}", up::greeting::by_hand(&globals.data, &bus));
        }
        if !arguments.once {
            wait(&stop, broker).await;
        }
    }
    stop.cancel();
    let ending = finish.await.context("waiting for the services")?;
    stop_serving.cancel();
    let _ = probes.await;
    if ending.exit_code() != 0 {
        eprintln!("freshet: {ending}");
        return Ok(Exit::from_code(ending.exit_code()));
    }
    Ok(exit)
}

fn overrides(bootstrap: &str, ports: Ports, secrets: &Secrets) -> Vec<(String, String)> {
    let path = |path: &std::path::Path| path.display().to_string();
    [
        ("kafka.bootstrap_servers", bootstrap.to_owned()),
        ("admin.listen", address(ports.admin).to_string()),
        ("gateway.listen", address(ports.gateway).to_string()),
        ("gateway.credentials_file", path(&secrets.credentials_file)),
        ("gateway.pseudonym_key_file", path(&secrets.pseudonym_key_file)),
        ("validator.pseudonym_key_file", path(&secrets.pseudonym_key_file)),
        ("fanout.listen", address(ports.fanout).to_string()),
        ("fanout.credentials_file", path(&secrets.credentials_file)),
        ("fanout.secrets_dir", path(&secrets.secrets_dir)),
        // Everything is on this machine.
        ("fanout.allow_private_addresses", "127.0.0.0/8".to_owned()),
        ("catalog.listen", address(ports.catalog).to_string()),
        ("observer.listen", address(ports.observer).to_string()),
        ("observer.operators_file", path(&secrets.operators_file)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

async fn apply(settings: &Settings, folder: &std::path::Path) -> anyhow::Result<()> {
    let (connection, roles, folder) = (settings.kafka.clone(), settings.roles(), folder.to_owned());
    let report = tokio::task::spawn_blocking(move || freshet_catalog::apply(&connection, &roles, &folder, false))
        .await
        .context("applying the catalogue")??;
    if !report.changes.is_empty() {
        eprintln!(
            "applied the catalogue: {} changes, {} topics created",
            report.changes.changes.len(),
            report.created.len()
        );
    }
    Ok(())
}

/// False where it was stopped before it was ready.
async fn ready(context: &Context, stop: &CancellationToken) -> anyhow::Result<bool> {
    let deadline = Instant::now() + READY_LIMIT;
    // Services take their latches when they begin to run.
    let mut calm = 0;
    while calm < 5 {
        calm = if context.readiness.is_ready() { calm + 1 } else { 0 };
        if stop.is_cancelled() {
            return Ok(false);
        }
        if Instant::now() > deadline {
            let waiting = context.readiness.waiting_for().join(", ");
            bail!("not ready after {} s; still waiting for: {waiting}", READY_LIMIT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(true)
}

fn addresses(bootstrap: &str, ports: Ports) -> Bus {
    let url = |port| format!("http://{}", address(port));
    Bus {
        kafka: bootstrap.to_owned(),
        gateway: url(ports.gateway),
        catalog: url(ports.catalog),
        fanout: url(ports.fanout),
        admin: url(ports.admin),
    }
}

async fn play(
    world: freshet_demo::World,
    bus: &Bus,
    secrets: &Secrets,
    settings: &Settings,
    globals: &Globals,
    arguments: &UpArguments,
    stop: &CancellationToken,
) -> anyhow::Result<Exit> {
    let connection = settings.kafka.clone();
    let catalog = tokio::task::spawn_blocking(move || freshet_kafka::catalog::read_once(&connection)).await??;
    let reach = freshet_demo::Reach {
        kafka: bus.kafka.clone(),
        gateway: bus.gateway.clone(),
        registry: bus.catalog.clone(),
        pull: bus.fanout.clone(),
        tokens_dir: secrets.tokens_dir.clone(),
        secrets_dir: secrets.secrets_dir.clone(),
        run: jiff::Timestamp::now().as_microsecond().to_string(),
    };
    let epilogue = up::greeting::by_hand(&globals.data, bus);
    let options = freshet_demo::Options { rate: arguments.rate, once: arguments.once, epilogue, ..Default::default() };
    Ok(match freshet_demo::play(world, reach, &catalog, options, stop.clone()).await? {
        freshet_demo::Outcome::Balanced => Exit::Done,
        freshet_demo::Outcome::Unbalanced => Exit::Findings,
        // Ctrl-C is how one ends a bus that runs on.
        freshet_demo::Outcome::Stopped if !arguments.once => {
            // Below the `^C` that a terminal shows.
            eprintln!("\nfreshet: stopping; the same command goes on from here");
            Exit::Done
        }
        freshet_demo::Outcome::Stopped => {
            eprintln!("freshet: stopped before the books were closed; the same command goes on from here");
            Exit::Failed
        }
    })
}

/// Until somebody stops us, or the broker is gone.
async fn wait(stop: &CancellationToken, broker: Option<&mut Broker>) {
    let Some(broker) = broker else { return stop.cancelled().await };
    while stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_some() {
        if !broker.is_running() {
            eprintln!("freshet: the broker has ended by itself; its log is in {}", broker.data_dir().display());
            return;
        }
    }
}
