//! Fanout by webhook, against the same HTTP client posting the same bytes to the same receivers without us.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, Request, Uri};
use axum::routing::post;
use freshet_catalog_model::{Delivery, Entry};
use futures::StreamExt;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::Row;
use crate::cluster::{Cluster, Running};
use crate::measure::{Stretch, watch};
use crate::turns::in_turns;

const CLOUDEVENTS_JSON: HeaderValue = HeaderValue::from_static("application/cloudevents+json");

/// Has the views filled with so many records at least, where neither the validator nor the router was measured before.
pub fn fill(cluster: &Cluster, records: u64) -> anyhow::Result<()> {
    validate(cluster, records + records / 50)?;
    route(cluster, records)
}

/// Has the router work off so many records at least.
pub fn route(cluster: &Cluster, records: u64) -> anyhow::Result<()> {
    route_until(cluster, ("freshet_router_records_total", records))
}

/// Has the router write so many records at least to the views of whatever dataset.
pub fn fill_views(cluster: &Cluster, records: u64) -> anyhow::Result<()> {
    route_until(cluster, ("freshet_router_view_records_total", records))
}

fn route_until(cluster: &Cluster, (counter, count): (&str, u64)) -> anyhow::Result<()> {
    let router = cluster.start_service(|connection, context| {
        freshet_router::run(freshet_router::Config::default(), connection, context)
    });
    let worked_off = watch(&|| router.count(counter), 1, count);
    router.stop(&cluster.runtime)?;
    worked_off.map(drop)
}

/// Has the validator work off so many records at least.
pub fn validate(cluster: &Cluster, records: u64) -> anyhow::Result<()> {
    let validator = cluster.start_service(|connection, context| {
        freshet_validator::run(freshet_validator::Config::default(), connection, context)
    });
    let worked_off = watch(&|| validator.count("freshet_validator_records_total"), 1, records);
    validator.stop(&cluster.runtime)?;
    worked_off.map(drop)
}

/// Deliveries of the counter's view to so many receivers, so many to each in a round.
#[derive(Debug, Clone, Copy)]
pub struct Webhooks {
    pub receivers: usize,
    pub events_each: u64,
    pub rounds: u32,
}

/// One view by webhook. The view must hold what all rounds deliver.
pub fn webhooks(cluster: &Cluster, webhooks: Webhooks) -> anyhow::Result<Vec<Row>> {
    let Webhooks { receivers, events_each, rounds } = webhooks;
    let receiver = Receiver::start(cluster, receivers)?;
    let secrets = tempfile::tempdir()?;
    private(&secrets.path().join("bench"), "whsec_YmVuY2htYXJrLXNlY3JldC1vZi0zMi1ieXRlcyEhISE=\n")?;
    let mut ids = Vec::new();
    for (number, url) in receiver.urls.iter().enumerate() {
        let mut grant = cluster.catalog.grants.get("counter").context("no grant counter")?.clone();
        // A new grant: its subscriber begins at the view's beginning.
        grant.id = format!("webhook-{receivers}-{number}");
        grant.subscriber = "webhook-subscriber".to_owned();
        grant.delivery = Delivery::Webhook { url: url.clone(), secret: "bench".to_owned() };
        ids.push(grant.id.clone());
        cluster.put(Entry::Grant(Box::new(grant)))?;
    }
    let concurrency = freshet_fanout::Config::default().webhook.max_in_flight;
    let turn = |events_each: u64| {
        let config = freshet_fanout::Config {
            listen: crate::gateway::free_address()?,
            secrets_dir: secrets.path().to_owned(),
            allow_private_addresses: vec!["127.0.0.0/8".to_owned()],
            ..freshet_fanout::Config::default()
        };
        let service = cluster.start_service(|connection, context| freshet_fanout::run(config, connection, context));
        receiver.wait_until_all_have(events_each / 4 + 1, &service)?;
        let stretch = Stretch::of(|| {
            let first = receiver.total();
            receiver.wait_for(first + events_each * receivers as u64, &service)?;
            Ok(receiver.total() - first)
        });
        service.stop(&cluster.runtime)?;
        receiver.forget();
        stretch
    };
    let clients = receiver.urls.iter().map(|url| Ok((client(), url.parse()?))).collect::<anyhow::Result<Vec<_>>>()?;
    let limit = || {
        let count = events_each * 2;
        Stretch::of(|| {
            cluster.runtime.block_on(post_all(&clients, receiver.last_body(), count, concurrency))?;
            Ok(count * receivers as u64)
        })
    };
    let (limit_name, own_name) = match receivers {
        1 => ("limit: the HTTP client alone".to_owned(), "fanout, one webhook".to_owned()),
        _ => (
            format!("limit: the HTTP client alone, to {receivers} receivers"),
            format!("fanout, webhooks of {receivers} subscribers"),
        ),
    };
    // Ours once before the limit, which posts what ours sent.
    turn(events_each / 5)?;
    let own = || turn(events_each);
    let rows = in_turns((&limit_name, &limit), (&own_name, &own), rounds);
    let removals: Vec<String> = ids.iter().map(|id| format!("grant/{id}")).collect();
    freshet_kafka::catalog::write(&cluster.connection, &[], &removals)?;
    rows
}

pub fn private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// The client that the service has, without TLS and without its look at addresses.
fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)
}

/// So many to each of the URLs, at all of them at once, so many at a time to each. Each has a client of its own, with its own
/// connections, as each subscriber of ours has.
async fn post_all(receivers: &[(HttpClient, Uri)], body: Bytes, count: u64, concurrency: usize) -> anyhow::Result<()> {
    let to_one = |(client, url): &(HttpClient, Uri)| {
        let (client, url, body) = (client.clone(), url.clone(), body.clone());
        tokio::spawn(async move {
            let posts = futures::stream::iter(0..count).map(|_| {
                let mut request = Request::new(Full::new(body.clone()));
                *request.method_mut() = Method::POST;
                *request.uri_mut() = url.clone();
                request.headers_mut().insert(CONTENT_TYPE, CLOUDEVENTS_JSON);
                let answer = client.request(request);
                async move {
                    let answer = answer.await?;
                    anyhow::ensure!(answer.status().is_success(), "the receiver answered {}", answer.status());
                    answer.into_body().collect().await?;
                    Ok(())
                }
            });
            let mut done = posts.buffer_unordered(concurrency);
            while let Some(result) = done.next().await {
                result?;
            }
            anyhow::Ok(())
        })
    };
    let tasks: Vec<_> = receivers.iter().map(to_one).collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Connections that wait to be taken: fifty clients open all of theirs at once, and for which there is no room is tried again
/// a second later.
const BACKLOG: u32 = 4_096;

/// Counts what arrives at each of its paths and answers 204.
struct Receiver {
    urls: Vec<String>,
    state: Arc<State>,
}

struct State {
    counts: Vec<AtomicU64>,
    body: std::sync::Mutex<Bytes>,
}

impl Receiver {
    fn start(cluster: &Cluster, receivers: usize) -> anyhow::Result<Self> {
        let counts = (0..receivers).map(|_| AtomicU64::new(0)).collect();
        let state = Arc::new(State { counts, body: std::sync::Mutex::default() });
        let shared = Arc::clone(&state);
        let router = Router::new().route(
            "/hook/{number}",
            post(move |axum::extract::Path(number): axum::extract::Path<usize>, body: Bytes| async move {
                let Some(count) = shared.counts.get(number) else { return axum::http::StatusCode::NOT_FOUND };
                if count.fetch_add(1, Ordering::Relaxed) % 100 == 0
                    && let Ok(mut last) = shared.body.lock()
                {
                    *last = body;
                }
                axum::http::StatusCode::NO_CONTENT
            }),
        );
        let listener = cluster.runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((std::net::Ipv4Addr::LOCALHOST, 0).into())?;
            socket.listen(BACKLOG)
        })?;
        let address = listener.local_addr()?;
        let urls = (0..receivers).map(|number| format!("http://{address}/hook/{number}")).collect();
        cluster.runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { urls, state })
    }

    fn total(&self) -> u64 {
        self.state.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn least(&self) -> u64 {
        self.state.counts.iter().map(|count| count.load(Ordering::Relaxed)).min().unwrap_or_default()
    }

    /// What was counted of an earlier turn, and what came of it behind its end.
    fn forget(&self) {
        self.state.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    fn last_body(&self) -> Bytes {
        self.state.body.lock().map(|body| body.clone()).unwrap_or_default()
    }

    fn wait_for(&self, total: u64, service: &Running) -> anyhow::Result<()> {
        self.wait_until(&|| self.total() >= total, service)
    }

    fn wait_until_all_have(&self, least: u64, service: &Running) -> anyhow::Result<()> {
        self.wait_until(&|| self.least() >= least, service)
    }

    /// Where it takes too long, the error says what the service counted meanwhile.
    fn wait_until(&self, enough: &dyn Fn() -> bool, service: &Running) -> anyhow::Result<()> {
        let started = std::time::Instant::now();
        while !enough() {
            anyhow::ensure!(
                started.elapsed().as_secs() < 120,
                "{} deliveries in 2 minutes, the least to one receiver {}\n{}",
                self.total(),
                self.least(),
                service.counted("freshet_fanout")
            );
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        Ok(())
    }
}
