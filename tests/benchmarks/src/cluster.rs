//! A broker with the benchmark's catalogue, loaded with licences, and a way to run a service beside the measuring.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use freshet_catalog_model::{Catalog, Entry, TopicSpec};
use freshet_core::headers;
use freshet_kafka::publisher::Publisher;
use freshet_kafka::{Connection, Record, admin, catalog};
use freshet_runtime::Context;
use freshet_testkit::{Broker, BrokerSettings};

use crate::catalogue::{self, Files};
use crate::licence::{Defect, Generator};

pub const INPUT: &str = "publish.licence";
pub const CANONICAL: &str = "dataset.licence";
/// Topics of the limit's own.
pub const LIMIT_TOPICS: &[&str] = &[
    "limit.validator",
    "limit.router.counter",
    "limit.router.tax",
    "limit.router.police",
    "limit.hop1",
    "limit.hop2",
    "limit.input",
    "limit.gateway",
    "limit.depth",
    "limit.depth.view",
];

/// Of values in one batch of the loading, which must have room in the client.
const BATCH_BYTES: usize = 8 << 20;

#[derive(Debug)]
pub struct Cluster {
    pub connection: Connection,
    pub catalog: Catalog,
    pub schema_id: u32,
    input: TopicSpec,
    pub runtime: tokio::runtime::Runtime,
    pub folder: tempfile::TempDir,
    // Dropped last: the broker ends when everything that talks to it has ended.
    broker: Broker,
}

impl Cluster {
    /// With the catalogue of the tables.
    pub fn start() -> anyhow::Result<Self> {
        Self::with(&catalogue::base())
    }

    /// With another catalogue, of which the licence dataset is a part.
    pub fn with(files: &Files) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut settings = BrokerSettings::new(folder.path().join("kafka"));
        settings.heap = "1g".to_owned();
        let broker = Broker::start(settings)?;
        let connection = Connection { bootstrap_servers: broker.bootstrap(), ..Connection::default() };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut cluster = Self {
            connection,
            catalog: Catalog::default(),
            schema_id: 0,
            input: TopicSpec { name: String::new(), partitions: 0, may_grow: false, settings: BTreeMap::new() },
            runtime,
            folder,
            broker,
        };
        cluster.change(files)?;
        cluster.schema_id = cluster.schema_of("licence")?;
        let topics = freshet_catalog_model::topic::topics_of(&cluster.catalog);
        cluster.input = topics.into_iter().find(|topic| topic.name == INPUT).context("no topic for publishers")?;
        let limits: Vec<TopicSpec> = LIMIT_TOPICS.iter().map(|name| cluster.topic_like_the_input(name)).collect();
        admin::ensure_topics(&cluster.connection, &limits)?;
        Ok(cluster)
    }

    /// Brings the live catalogue and its topics to what the files say.
    pub fn change(&mut self, files: &Files) -> anyhow::Result<()> {
        let changes = catalogue::changes(files, &self.catalog, self.folder.path())?;
        admin::ensure_topics(&self.connection, &changes.topics())?;
        catalog::write(&self.connection, &changes.puts(), &changes.removals())?;
        self.catalog = changes.into_after();
        Ok(())
    }

    pub fn broker_pid(&self) -> anyhow::Result<u32> {
        self.broker.pid_of(0).context("the broker has ended")
    }

    /// Publishes licences with their headers, as a department would.
    pub fn load(&self, records: u64) -> anyhow::Result<()> {
        let generator = Generator::new(20_170_415, self.schema_id, records.min(1_000_000));
        self.load_from(INPUT, generator, records)
    }

    /// The generator's next records to a dataset's publish topic.
    pub fn load_from(&self, topic: &str, mut generator: Generator, records: u64) -> anyhow::Result<()> {
        let publisher = Publisher::new(&self.connection, "bench", 100_000)?;
        let most = (BATCH_BYTES / generator.value_bytes()).clamp(1, 10_000);
        let mut left = records;
        while left > 0 {
            let size = left.min(most as u64);
            let batch: Vec<Record> = (0..size).map(|_| event(topic, &mut generator, None).0).collect();
            for result in self.runtime.block_on(publisher.publish_all(&batch)) {
                result?;
            }
            left -= size;
        }
        Ok(())
    }

    /// Newer than what was loaded, and than those of the turns before, of which each has fewer than ten millions.
    pub fn new_entities(&self, turn: u64) -> anyhow::Result<Generator> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        Ok(Generator::from(self.schema_id, u64::try_from(now)? + turn * 10_000_000))
    }

    /// Starts a service; it runs until the returned handle is stopped.
    pub fn start_service<F, E>(&self, run: impl FnOnce(Connection, Context) -> F) -> Running
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let context = Context::new();
        let task = run(self.connection.clone(), context.clone());
        let task = self.runtime.spawn(async move { task.await.map_err(|error| error.to_string()) });
        Running { context, task }
    }

    /// Adds an entry to the live catalogue.
    pub fn put(&self, entry: Entry) -> anyhow::Result<()> {
        Ok(catalog::write(&self.connection, &[entry], &[])?)
    }

    /// How many the topic that departments publish to has; so have those behind it, and those of the limit.
    pub fn partitions(&self) -> usize {
        self.input.partitions.unsigned_abs() as usize
    }

    /// A topic with the partitions and settings of the one that departments publish to.
    pub fn topic_like_the_input(&self, name: &str) -> TopicSpec {
        TopicSpec { name: name.to_owned(), ..self.input.clone() }
    }

    /// The schema that a dataset's new events are of.
    pub fn schema_of(&self, dataset: &str) -> anyhow::Result<u32> {
        let dataset = self.catalog.datasets.get(dataset).with_context(|| format!("no dataset {dataset}"))?;
        dataset.latest_schema_id().with_context(|| format!("dataset {} has no schema", dataset.id))
    }

    pub fn view_of(&self, grant: &str) -> anyhow::Result<String> {
        let grant = self.catalog.grants.get(grant).with_context(|| format!("no grant {grant}"))?;
        Ok(grant.view.clone())
    }
}

/// A service under measurement.
#[derive(Debug)]
pub struct Running {
    pub context: Context,
    task: tokio::task::JoinHandle<Result<(), String>>,
}

impl Running {
    /// The sum of a counter over its labels; an error where the service has ended.
    pub fn count(&self, name: &str) -> anyhow::Result<u64> {
        ensure!(!self.task.is_finished(), "the service has ended; its log says why");
        let families = self.context.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let sum: f64 = family
            .map_or(0.0, |family| family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum());
        Ok(sum as u64)
    }

    /// Every metric whose name begins so and that is not 0, a line each.
    pub fn counted(&self, prefix: &str) -> String {
        let mut lines =
            vec![if self.task.is_finished() { "the service has ended" } else { "the service runs" }.to_owned()];
        for family in self.context.registry.gather().iter().filter(|family| family.name().starts_with(prefix)) {
            for metric in family.get_metric() {
                let value = metric.get_counter().get_value() + metric.get_gauge().get_value();
                if value != 0.0 {
                    let labels: Vec<_> = metric.get_label().iter().map(|label| label.value().to_owned()).collect();
                    lines.push(format!("{} {labels:?} {value}", family.name()));
                }
            }
        }
        lines.join("\n")
    }

    pub fn stop(self, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
        self.context.stop.cancel();
        runtime.block_on(self.task)?.map_err(|error| anyhow::anyhow!(error))
    }
}

/// One event of the workload as a Kafka record with CloudEvents headers, and what is wrong with it.
pub fn event(topic: &str, generator: &mut Generator, published_at_us: Option<u64>) -> (Record, Defect) {
    let licence = generator.next_licence();
    let id = format!("{:016x}", licence.sequence);
    let mut list = vec![
        (headers::SPECVERSION, "1.0".to_owned()),
        (headers::ID, id),
        (headers::SOURCE, "urn:bench:licensing".to_owned()),
        (headers::TYPE, "gov.exchange.licence.changed.v1".to_owned()),
        (headers::SUBJECT, licence.key.clone()),
        (headers::TIME, "2026-01-15T08:00:00Z".to_owned()),
        (headers::SEQUENCE, format!("{:020}", licence.sequence)),
        (headers::CONTENT_TYPE, headers::AVRO.to_owned()),
    ];
    if let Some(at) = published_at_us {
        list.push((headers::PUBLISHED_AT, at.to_string()));
    }
    let record = Record {
        topic: topic.to_owned(),
        key: Some(licence.key.into_bytes()),
        value: Some(licence.value),
        headers: list.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
        ..Record::default()
    };
    (record, licence.defect)
}
