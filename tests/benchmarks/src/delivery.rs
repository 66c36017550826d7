//! Fanout by webhook, against the same HTTP client posting the same bytes to the same receiver without us.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use freshet_catalog_model::{Delivery, Entry};
use futures::StreamExt;

use crate::Row;
use crate::cluster::{Cluster, Running};
use crate::hops::row;
use crate::measure::Stopwatch;

/// Has the views filled with so many records at least, where neither the validator nor the router was measured before.
pub fn fill(cluster: &Cluster, records: u64) -> anyhow::Result<()> {
    let validator = cluster.start_service(|connection, context| {
        freshet_validator::run(freshet_validator::Config::default(), connection, context)
    });
    let router = cluster.start_service(|connection, context| {
        freshet_router::run(freshet_router::Config::default(), connection, context)
    });
    let started = std::time::Instant::now();
    while router.count("freshet_router_records_total")? < records {
        validator.count("freshet_validator_records_total")?;
        anyhow::ensure!(started.elapsed().as_secs() < 300, "the views are not filled after 5 minutes");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    validator.stop(&cluster.runtime)?;
    router.stop(&cluster.runtime)
}

pub fn webhook(cluster: &Cluster, events: u64) -> anyhow::Result<Vec<Row>> {
    let receiver = Receiver::start(cluster)?;
    let secrets = tempfile::tempdir()?;
    private(&secrets.path().join("bench"), "whsec_YmVuY2htYXJrLXNlY3JldC1vZi0zMi1ieXRlcyEhISE=\n")?;
    let mut grant = cluster.catalog.grants.get("counter").context("no grant counter")?.clone();
    grant.id = "webhook".to_owned();
    grant.subscriber = "webhook-subscriber".to_owned();
    grant.delivery = Delivery::Webhook { url: receiver.url.clone(), secret: "bench".to_owned() };
    cluster.put(Entry::Grant(Box::new(grant)))?;

    let config = freshet_fanout::Config {
        secrets_dir: secrets.path().to_owned(),
        allow_private_addresses: vec!["127.0.0.0/8".to_owned()],
        ..freshet_fanout::Config::default()
    };
    let concurrency = config.webhook.max_in_flight;
    let service = cluster.start_service(|connection, context| freshet_fanout::run(config, connection, context));
    receiver.wait_for(1, &service)?;
    let watch = Stopwatch::start()?;
    let first = receiver.count();
    receiver.wait_for(first + events, &service)?;
    let last = receiver.count();
    let own = watch.stop()?;
    service.stop(&cluster.runtime)?;

    let limit_events = events * 2;
    let body = receiver.last_body();
    let watch = Stopwatch::start()?;
    cluster.runtime.block_on(post_all(&receiver.url, body, limit_events, concurrency))?;
    let limit = watch.stop()?;
    Ok(vec![
        row("limit: the HTTP client alone", limit_events, limit, None),
        row("fanout, one webhook", last - first, own, Some((limit_events, limit))),
    ])
}

pub fn private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

async fn post_all(url: &str, body: Bytes, count: u64, concurrency: usize) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let posts = futures::stream::iter(0..count).map(|_| {
        let request = client.post(url).header("content-type", "application/cloudevents+json").body(body.clone());
        async move { request.send().await?.error_for_status()?.bytes().await.map(drop) }
    });
    let mut done = posts.buffer_unordered(concurrency);
    while let Some(result) = done.next().await {
        result?;
    }
    Ok(())
}

/// Counts what arrives and answers 204.
struct Receiver {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    count: AtomicU64,
    body: std::sync::Mutex<Bytes>,
}

impl Receiver {
    fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let router = Router::new().route(
            "/hook",
            post(move |body: Bytes| async move {
                if shared.count.fetch_add(1, Ordering::Relaxed) % 100 == 0
                    && let Ok(mut last) = shared.body.lock()
                {
                    *last = body;
                }
                axum::http::StatusCode::NO_CONTENT
            }),
        );
        let listener = cluster.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        cluster.runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, state })
    }

    fn count(&self) -> u64 {
        self.state.count.load(Ordering::Relaxed)
    }

    fn last_body(&self) -> Bytes {
        self.state.body.lock().map(|body| body.clone()).unwrap_or_default()
    }

    /// Where it takes too long, the error says what the service counted meanwhile.
    fn wait_for(&self, at_least: u64, service: &Running) -> anyhow::Result<()> {
        let started = std::time::Instant::now();
        while self.count() < at_least {
            anyhow::ensure!(
                started.elapsed().as_secs() < 120,
                "{} of {at_least} deliveries in 2 minutes\n{}",
                self.count(),
                service.counted("freshet_fanout")
            );
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        Ok(())
    }
}
