//! What goes in and who takes it: one publisher, webhook receivers that only count, tables that are counted, pullers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use apache_avro::types::Value;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::post;
use freshet_core::{headers, topics};
use freshet_testkit::departments::{Consumer, Producer, Pull, Registry, Sent, acknowledged, encode};
use freshet_testkit::postgres::Server;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::NoTls;

use super::Options;
use super::bus::SmallBus;
use super::catalogue::{LARGE, SOURCE, SUBSCRIBERS, VIEWS, WIDE, Way, id, table, token, way};

const SMALL_BYTES: usize = 500;
const LARGE_BYTES: usize = 900_000;
/// What bombs are compressed by, and what they become. The last are some 1 KiB each: all of them come in one answer.
pub const BOMBS: [(&str, usize); 3] = [("lz4", 10 << 20), ("gzip", 30 << 20), ("zstd", 30 << 20)];
/// Records that are on their way at a time.
const UNDERWAY: usize = 500;
const PULL_PAGE: usize = 1_000;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Everything outside of the bus.
#[derive(Debug)]
pub struct World {
    database: Server,
    hooks: Hooks,
}

impl World {
    pub async fn new() -> anyhow::Result<Self> {
        let database = tokio::task::spawn_blocking(Server::start_private).await??;
        Ok(Self { database, hooks: Hooks::start().await? })
    }

    pub fn database_url(&self) -> String {
        self.database.url()
    }

    pub fn webhook_port(&self) -> u16 {
        self.hooks.port
    }

    /// Until each subscriber of the large register has this many entities.
    pub async fn receive(&self, bus: &mut SmallBus, count: usize, limit: Duration) -> anyhow::Result<()> {
        self.receive_all(bus, (LARGE, SUBSCRIBERS), count, limit).await
    }

    pub async fn receive_wide(&self, bus: &mut SmallBus, count: usize, limit: Duration) -> anyhow::Result<()> {
        self.receive_all(bus, (WIDE, 3), count, limit).await
    }

    async fn receive_all(
        &self,
        bus: &mut SmallBus,
        (dataset, subscribers): (&str, usize),
        count: usize,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        let mut pulling = JoinSet::new();
        let of = |wanted: Way| (0..subscribers).filter(move |number| way(*number) == wanted);
        for number in of(Way::Pull) {
            let grant = id(dataset, number);
            let pull = Pull::new(&bus.pull, &grant, token(&grant));
            pulling.spawn(pull_all(pull, count, deadline));
        }
        while !pulling.is_empty() {
            bus.look()?;
            if let Ok(Some(pulled)) = tokio::time::timeout(PAUSE, pulling.join_next()).await {
                pulled??;
            }
        }
        for number in of(Way::Webhook) {
            let grant = id(dataset, number);
            while self.hooks.count(&grant) < count {
                bus.look()?;
                if Instant::now() > deadline {
                    bail!("webhook {grant} has {} of {count}", self.hooks.count(&grant));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        let (client, connection) = tokio_postgres::connect(&self.database.url(), NoTls).await?;
        tokio::spawn(connection);
        for number in of(Way::Postgres) {
            let sql = format!("SELECT count(*) FROM public.{}", table(&id(dataset, number)));
            loop {
                // The table is made by the sink.
                let found: i64 = client.query_one(&sql, &[]).await.map_or(0, |row| row.get(0));
                if found as usize >= count {
                    break;
                }
                bus.look()?;
                if Instant::now() > deadline {
                    bail!("{sql}: {found} of {count}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}

async fn pull_all(mut pull: Pull, count: usize, deadline: Instant) -> anyhow::Result<()> {
    let mut has = 0;
    while has < count {
        if Instant::now() > deadline {
            bail!("a puller has {has} of {count}");
        }
        match tokio::time::timeout(Duration::from_secs(60), pull.next(PULL_PAGE, 500)).await {
            Ok(Ok((events, _))) => has += events.len(),
            // All readers may be busy.
            Ok(Err(_)) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(())
}

/// `POST /<grant>`: counts.
#[derive(Debug)]
struct Hooks {
    port: u16,
    counts: Counts,
    task: JoinHandle<()>,
}

type Counts = Arc<Mutex<BTreeMap<String, Arc<AtomicUsize>>>>;

impl Hooks {
    async fn start() -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let counts = Counts::default();
        let take = |State(counts): State<Counts>, Path(grant): Path<String>, _body: Bytes| async move {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.entry(grant).or_default().fetch_add(1, Ordering::Relaxed);
        };
        let limit = axum::extract::DefaultBodyLimit::disable();
        let router = Router::new().route("/{grant}", post(take)).layer(limit).with_state(counts.clone());
        let task = tokio::spawn(async move {
            // Serving loopback ends only with us.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { port, counts, task })
    }

    fn count(&self, grant: &str) -> usize {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(grant).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One register's publisher.
struct Publisher {
    producer: Producer,
    topic: String,
    schema: (u32, Arc<apache_avro::Schema>),
    random: fastrand::Rng,
    underway: Vec<Sent>,
}

impl Publisher {
    async fn new(bus: &SmallBus, dataset: &str) -> anyhow::Result<Self> {
        Self::compressing(bus, dataset, "lz4").await
    }

    async fn compressing(bus: &SmallBus, dataset: &str, codec: &str) -> anyhow::Result<Self> {
        let topic = topics::publish(dataset);
        let schema = Registry::new(&bus.registry, None).latest(&format!("{topic}-value")).await?;
        // The client takes what the topic takes, and more, so that it is the broker who refuses.
        let settings =
            [("message.max.bytes", "100000000"), ("message.timeout.ms", "60000"), ("compression.type", codec)];
        let producer = Producer::new(&bus.bootstrap(), &settings)?;
        Ok(Self { producer, topic, schema, random: fastrand::Rng::with_seed(7), underway: Vec::new() })
    }

    /// Letters that do not compress much, or one letter that does.
    fn text(&mut self, bytes: usize, is_random: bool) -> String {
        if is_random { (0..bytes).map(|_| self.random.alphanumeric()).collect() } else { "x".repeat(bytes) }
    }

    async fn send(&mut self, number: usize, text: String) -> anyhow::Result<()> {
        let key = format!("n-{number}");
        let record = [("number", key.clone()), ("text", text)];
        let record = Value::Record(record.map(|(name, text)| (name.to_owned(), Value::String(text))).into());
        let value = encode(self.schema.0, &self.schema.1, record).map_err(anyhow::Error::msg)?;
        let event = format!("e-{number}");
        let attributes = [
            (headers::SPECVERSION, "1.0"),
            (headers::ID, event.as_str()),
            (headers::SOURCE, SOURCE),
            (headers::TYPE, "example.changed"),
            (headers::TIME, "2026-01-15T08:00:00Z"),
            (headers::SEQUENCE, "1"),
            (headers::CONTENT_TYPE, headers::AVRO),
        ];
        self.underway.push(self.producer.send(&self.topic, key.as_bytes(), Some(&value), &attributes).await?);
        if self.underway.len() >= UNDERWAY { self.acknowledged().await } else { Ok(()) }
    }

    async fn acknowledged(&mut self) -> anyhow::Result<()> {
        for sent in self.underway.drain(..) {
            acknowledged(sent).await?;
        }
        Ok(())
    }
}

/// Gives how many events there are for the router.
pub async fn publish_backlog(bus: &SmallBus, options: &Options) -> anyhow::Result<usize> {
    let mut publisher = Publisher::new(bus, LARGE).await?;
    let mut number = 0;
    for (count, bytes) in [(options.small_events, SMALL_BYTES), (options.large_events, LARGE_BYTES)] {
        for _ in 0..count {
            let text = publisher.text(bytes, true);
            publisher.send(number, text).await?;
            number += 1;
        }
    }
    publisher.acknowledged().await?;
    Ok(number)
}

/// Publishes records that are much too large: uncompressed the broker refuses them, compressed they come in. Gives the
/// broker's refusal.
pub async fn publish_bombs(bus: &SmallBus, options: &Options) -> anyhow::Result<String> {
    let mut publisher = Publisher::new(bus, LARGE).await?;
    let text = publisher.text(10 << 20, true);
    let refused = match publisher.send(9_000_000, text).await {
        Ok(()) => publisher.acknowledged().await,
        Err(error) => Err(error),
    };
    let refused = refused.err().context("the broker took 10 MiB that do not compress")?;
    let mut number = 8_000_000;
    for (codec, bytes) in BOMBS {
        let mut publisher = Publisher::compressing(bus, LARGE, codec).await?;
        for _ in 0..options.bombs {
            let text = publisher.text(bytes, false);
            publisher.send(number, text).await?;
            publisher.acknowledged().await?;
            number += 1;
        }
    }
    Ok(refused.to_string())
}

/// Waits until so many records were refused for their size. Blocking.
pub fn wait_until_refused(bus: &mut SmallBus, count: usize) -> anyhow::Result<()> {
    let topics = [topics::REJECT_UNASSIGNED.to_owned(), topics::reject("register")];
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let settings = [("fetch.message.max.bytes", "1048576"), ("receive.message.max.bytes", "200000000")];
    let consumer = Consumer::with(&bus.bootstrap(), "memory.refusals", &names, &settings)?;
    let deadline = Instant::now() + super::LIMIT;
    let (mut found, mut reason) = (std::collections::BTreeSet::new(), String::new());
    while found.len() < count {
        bus.look()?;
        if Instant::now() > deadline {
            bail!("only {} of {count} records of 10 and 30 MiB were refused", found.len());
        }
        let Some(record) = consumer.next(Duration::from_millis(500))? else { continue };
        found.insert(record.key.clone());
        reason = record.header(headers::VIOLATIONS).unwrap_or_default().to_owned();
    }
    if !reason.contains("envelope.size") {
        bail!("refused for another reason: {reason}");
    }
    Ok(())
}

pub async fn publish_wide(bus: &SmallBus, options: &Options) -> anyhow::Result<()> {
    let mut publisher = Publisher::new(bus, WIDE).await?;
    for number in 0..options.wide_events {
        let text = publisher.text(SMALL_BYTES, true);
        publisher.send(number, text).await?;
    }
    publisher.acknowledged().await
}

const _: () = assert!(VIEWS <= SUBSCRIBERS);
