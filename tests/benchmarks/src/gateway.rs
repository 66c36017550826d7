//! The gateway, batches of 100 over HTTP, against a bare axum handler that only produces: it looks at nothing of what it is
//! sent and writes as many ready-made records, of the bytes that the gateway writes.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use freshet_avro::{framing, json};
use freshet_catalog_model::compiled::CompiledDataset;
use freshet_kafka::Record;
use freshet_kafka::publisher::Publisher;
use freshet_runtime::credentials::hash_of;
use futures::StreamExt as _;
use reqwest::Client;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

use crate::Row;
use crate::cluster::{Cluster, event};
use crate::delivery::private;
use crate::licence::{Defect, Generator};
use crate::measure::Stretch;
use crate::turns::in_turns;

const BATCH: usize = 100;
/// Different batches; each is sent several times, for the gateway does not look at ids.
const BATCHES: usize = 64;
/// Requests open at once.
const CONCURRENCY: usize = 16;
/// A topic that nobody reads.
const LIMIT_TOPIC: &str = "limit.gateway";
const TOKEN: &str = "the token of the benchmark's licensing department";

pub fn gateway(cluster: &Cluster, events: u64, rounds: u32) -> anyhow::Result<Vec<Row>> {
    let requests = usize::try_from(events)? / BATCH;
    let (bodies, records) = batches(cluster)?;
    let bare = bare_handler(cluster, records)?;
    let folder = tempfile::tempdir()?;
    let credentials = folder.path().join("credentials.toml");
    private(&credentials, &format!("[tokens]\nlicensing = [\"{}\"]\n", hash_of(TOKEN)))?;
    let listen = free_address()?;
    let config = freshet_gateway::Config {
        listen,
        credentials_file: Some(credentials),
        // A department may send 5,000 events a second; the limits are looked at all the same.
        rate_per_second: 10_000_000,
        burst: 10_000_000,
        ..freshet_gateway::Config::default()
    };
    let service = cluster.start_service(|connection, context| freshet_gateway::run(config, connection, context));
    let started = std::time::Instant::now();
    while !service.context.readiness.is_ready() {
        ensure!(started.elapsed().as_secs() < 60, "the gateway is not ready after a minute");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    let to_gateway = Target { url: format!("http://{listen}/v1/datasets/licence/events"), bodies: &bodies };
    let to_bare = Target { url: format!("http://{bare}/"), bodies: &bodies };
    let rows = in_turns(
        ("limit: an HTTP handler that only produces, batches of 100", &|| to_bare.measure(cluster, requests)),
        ("gateway, batches of 100", &|| to_gateway.measure(cluster, requests)),
        rounds,
    );
    service.stop(&cluster.runtime)?;
    rows
}

struct Target<'a> {
    url: String,
    bodies: &'a [Bytes],
}

impl Target<'_> {
    fn measure(&self, cluster: &Cluster, requests: usize) -> anyhow::Result<Stretch> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {TOKEN}").parse()?);
        headers.insert("content-type", "application/cloudevents-batch+json".parse()?);
        let client = Client::builder().default_headers(headers).no_proxy().build()?;
        // Connections, the producer's metadata, caches.
        cluster.runtime.block_on(self.send(&client, requests / 4))?;
        Stretch::of(|| {
            cluster.runtime.block_on(self.send(&client, requests))?;
            Ok((requests * BATCH) as u64)
        })
    }

    async fn send(&self, client: &Client, requests: usize) -> anyhow::Result<()> {
        let posts = futures::stream::iter(self.bodies.iter().cycle().take(requests)).map(|body| {
            let request = client.post(&self.url).body(body.clone());
            async move { anyhow::Ok(request.send().await?.error_for_status()?.bytes().await?) }
        });
        let mut answers = posts.buffer_unordered(CONCURRENCY);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    }
}

/// The bodies as a department sends them, and the records that are to be written for one of them.
fn batches(cluster: &Cluster) -> anyhow::Result<(Vec<Bytes>, Vec<Record>)> {
    let dataset = CompiledDataset::compile(&cluster.catalog, "licence")?;
    let plan = &dataset.latest().plan;
    // Beyond the entities of the other rows, so that they stay the newest of theirs.
    let mut generator = Generator::from(cluster.schema_id, 50_000_000);
    let (mut bodies, mut records) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        let (mut members, mut record_batch) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        while members.len() < BATCH {
            let (record, defect) = event(LIMIT_TOPIC, &mut generator, Some(1_760_000_000_000_000));
            if defect != Defect::None {
                continue;
            }
            let (_, datum) = framing::split(record.value.as_deref().unwrap_or_default())?;
            let data = json::decode(plan, datum).map_err(|violations| anyhow::anyhow!("{violations:?}"))?;
            members.push(cloudevent(&record, data)?);
            record_batch.push(record);
        }
        bodies.push(Bytes::from(serde_json::to_vec(&Value::Array(members))?));
        records = record_batch;
    }
    Ok((bodies, records))
}

fn cloudevent(record: &Record, data: Value) -> anyhow::Result<Value> {
    let mut event = Map::new();
    for (name, value) in record.headers.iter() {
        if let Some(attribute) = name.strip_prefix("ce_") {
            event.insert(attribute.to_owned(), String::from_utf8(value.to_vec())?.into());
        }
    }
    event.insert("data".to_owned(), data);
    Ok(Value::Object(event))
}

fn bare_handler(cluster: &Cluster, records: Vec<Record>) -> anyhow::Result<SocketAddr> {
    let publisher = Publisher::new(&cluster.connection, "bench", 100_000)?;
    let records = Arc::new(records);
    let router = Router::new().route(
        "/",
        post(move |_body: Bytes| {
            let (publisher, records) = (publisher.clone(), Arc::clone(&records));
            async move {
                match publisher.publish_all(&records).await.into_iter().find_map(Result::err) {
                    None => Ok("written"),
                    Some(error) => Err((axum::http::StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
                }
            }
        }),
    );
    let listener = cluster.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    cluster.runtime.spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// A port that nobody has at this moment.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("choosing a port")
}
