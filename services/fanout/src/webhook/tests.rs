//! Deliveries to a real receiver on 127.0.0.1.

use std::collections::VecDeque;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use freshet_core::{Receipt, ReceiptOutcome};
use freshet_kafka::window::Places;
use freshet_runtime::{CancellationToken, Readiness};
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

use super::*;
use crate::Config;
use crate::event::tests::{record, schemas};
use crate::receipts::AuditLog;
use crate::receipts::tests::{Memory, grant};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A subscriber's endpoint: answers as it is told to, then 200, and keeps what it got.
#[derive(Clone, Default)]
pub(super) struct Receiver(Arc<ReceiverState>);

/// Status and headers.
type Answer = (u16, Vec<(&'static str, String)>);

#[derive(Default)]
struct ReceiverState {
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<(Instant, HeaderMap, Bytes)>>,
    arrived: Notify,
    /// While set, requests are taken and never answered.
    hangs: AtomicBool,
}

impl Receiver {
    async fn start() -> (Self, SocketAddr) {
        let receiver = Self::default();
        let app = Router::new().route("/hook", post(take)).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, address)
    }

    fn answer(&self, status: u16, headers: &[(&'static str, &str)]) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.0.answers.lock().expect("answers").push_back((status, headers));
    }

    pub(super) fn requests(&self) -> Vec<(Instant, HeaderMap, Bytes)> {
        self.0.requests.lock().expect("requests").clone()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    receiver.0.requests.lock().expect("requests").push((Instant::now(), headers, body));
    receiver.0.arrived.notify_one();
    if receiver.0.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let Some((status, headers)) = receiver.0.answers.lock().expect("answers").pop_front() else {
        return StatusCode::OK.into_response();
    };
    let mut response = StatusCode::from_u16(status).expect("a status").into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().expect("a header"));
    }
    response
}

fn write_secret(folder: &std::path::Path, text: &str) {
    std::fs::write(folder.join("hook"), text).expect("written");
    std::fs::set_permissions(folder.join("hook"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("private");
}

pub(super) struct Fixture {
    pub(super) webhook: Webhook,
    subscription: Arc<Subscription>,
    log: Arc<Memory>,
    pub(super) receiver: Receiver,
    secrets: tempfile::TempDir,
    places: Places,
}

impl Fixture {
    async fn new(allowed: &[&str]) -> Self {
        Self::with(allowed, |_| {}, |url| url).await
    }

    pub(super) async fn with(
        allowed: &[&str],
        set: impl FnOnce(&mut WebhookConfig),
        url: impl FnOnce(String) -> String,
    ) -> Self {
        let (receiver, address) = Receiver::start().await;
        let secrets = tempfile::tempdir().expect("a folder");
        write_secret(secrets.path(), SECRET);
        let log = Arc::new(Memory::default());
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
        let mut config = WebhookConfig { retry_initial_ms: 1, retry_max_ms: 5, ..Config::default().webhook };
        set(&mut config);
        let places = Places::new(config.max_in_flight);
        let url = url(format!("http://{address}/hook"));
        let delivery = freshet_catalog_model::Delivery::Webhook { url: url.clone(), secret: "hook".to_owned() };
        let subscription = Subscription::new(grant(delivery), &CancellationToken::new());
        let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        let parts = WebhookParts {
            config,
            policy: Arc::new(AddressPolicy::new(&allowed).expect("entries")),
            schemas: Arc::new(schemas()),
            receipts: Receipts::new(Arc::clone(&log) as Arc<dyn AuditLog>, Readiness::default(), metrics.clone(), 100),
            metrics,
            secret: SecretFile::named(secrets.path(), "hook").expect("a name"),
            trust: Trust::default(),
        };
        let webhook = Webhook::new(parts, Arc::clone(&subscription), &url).expect("a webhook");
        Self { webhook, subscription, log, receiver, secrets, places }
    }

    pub(super) async fn deliver(&self, offset: i64) -> Attempt {
        self.take(&record(offset, false)).await
    }

    /// All that the window does with a record.
    pub(super) async fn take(&self, record: &OwnedRecord) -> Attempt {
        let one = std::slice::from_ref(record);
        let taken = async {
            self.webhook.release(one).await?;
            match self.webhook.deliver(record, self.places.take().await).await {
                Attempt::Delivered => self.webhook.confirm(one).await,
                Attempt::Park { reason } => Err(reason),
            }
        };
        taken.await.map_or_else(|reason| Attempt::Park { reason }, |()| Attempt::Delivered)
    }

    pub(super) fn receipts(&self) -> Vec<Receipt> {
        self.log.receipts.lock().expect("receipts").clone()
    }
}

pub(super) fn outcomes(receipts: &[Receipt]) -> Vec<ReceiptOutcome> {
    receipts.iter().map(|receipt| receipt.outcome).collect()
}

fn reason(attempt: Attempt) -> String {
    match attempt {
        Attempt::Park { reason } => reason,
        Attempt::Delivered => "delivered".to_owned(),
    }
}

fn verify(secret: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    standardwebhooks::Webhook::new(secret).expect("a secret").verify(body, headers).is_ok()
}

#[tokio::test]
async fn an_event_is_signed_delivered_and_receipted() {
    let fixture = Fixture::new(&["127.0.0.0/8"]).await;
    assert_eq!(fixture.deliver(3).await, Attempt::Delivered);
    let requests = fixture.receiver.requests();
    let (_, headers, body) = &requests[0];
    assert!(verify(SECRET, headers, body));
    assert_eq!(headers["content-type"], event::CLOUDEVENTS_JSON);
    let event: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!((&event["id"], &event["data"]["number"]), (&"e-3".into(), &"p-1".into()));
    let receipts = fixture.receipts();
    assert_eq!(outcomes(&receipts), [ReceiptOutcome::Released, ReceiptOutcome::Delivered]);
    assert!(receipts.iter().all(|one| one.covers(0, 3) && one.purpose == "assessment"), "{receipts:?}");
}

#[tokio::test]
async fn every_attempt_has_the_same_id_and_a_fresh_signature() {
    let fixture = Fixture::new(&["127.0.0.0/8"]).await;
    for status in [500, 404, 503] {
        fixture.receiver.answer(status, &[]);
    }
    assert_eq!(fixture.deliver(3).await, Attempt::Delivered);
    let requests = fixture.receiver.requests();
    assert_eq!(requests.len(), 4);
    for (_, headers, body) in &requests {
        assert_eq!(headers["webhook-id"], requests[0].1["webhook-id"]);
        assert!(verify(SECRET, headers, body));
    }
    assert_eq!(fixture.webhook.parts.metrics.retries.with_label_values(&["tax-permits"]).get(), 3);
    assert_eq!(fixture.subscription.state(), crate::subscription::State::Running);
}

#[tokio::test]
async fn retry_after_is_obeyed_up_to_its_bound_and_for_all_events_of_the_subscriber() {
    let fixture = Fixture::with(&["127.0.0.0/8"], |config| config.retry_after_max_ms = 300, |url| url).await;
    fixture.receiver.answer(429, &[("retry-after", "86400")]);
    let first = fixture.deliver(3);
    let second = async {
        fixture.receiver.0.arrived.notified().await;
        while fixture.webhook.not_before.lock().expect("a time").is_none() {
            tokio::task::yield_now().await;
        }
        fixture.deliver(4).await
    };
    assert_eq!(tokio::join!(first, second), (Attempt::Delivered, Attempt::Delivered));
    let requests = fixture.receiver.requests();
    assert_eq!(requests.len(), 3);
    for (at, ..) in &requests[1..] {
        let waited = *at - requests[0].0;
        assert!(waited >= Duration::from_millis(290) && waited < Duration::from_secs(20), "{waited:?}");
    }
}

#[tokio::test]
async fn gone_parks_at_once() {
    let fixture = Fixture::new(&["127.0.0.0/8"]).await;
    fixture.receiver.answer(410, &[]);
    assert_eq!(reason(fixture.deliver(3).await), "the subscriber answered 410 Gone");
    assert_eq!(fixture.receiver.requests().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let fixture = Fixture::new(&["127.0.0.0/8"]).await;
    let (elsewhere, address) = Receiver::start().await;
    fixture.receiver.answer(307, &[("location", &format!("http://{address}/hook"))]);
    assert_eq!(fixture.deliver(3).await, Attempt::Delivered);
    assert_eq!((fixture.receiver.requests().len(), elsewhere.requests().len()), (2, 0));
}

#[tokio::test]
async fn a_private_address_is_refused_as_a_number_and_as_a_name() {
    let fixture = Fixture::new(&["10.0.0.0/8"]).await;
    assert!(reason(fixture.deliver(3).await).contains("127.0.0.1, which is not a public address"));
    let by_name = Fixture::with(&[], |_| {}, |url| url.replace("127.0.0.1", "localhost")).await;
    let refused = reason(by_name.deliver(3).await);
    assert!(refused.contains("localhost is ") && refused.contains("not a public address"), "{refused}");
    assert!(fixture.receiver.requests().is_empty() && by_name.receiver.requests().is_empty());
    for fixture in [&fixture, &by_name] {
        assert_eq!(outcomes(&fixture.receipts()), [ReceiptOutcome::Released]);
    }
}

#[tokio::test]
async fn a_name_that_is_allowed_is_connected_to_where_it_was_checked() {
    let (receiver, address) = Receiver::start().await;
    let allowed = format!("localhost:{}", address.port());
    let url = format!("http://localhost:{}/hook", address.port());
    let fixture = Fixture::with(&[&allowed], |_| {}, |_| url).await;
    assert_eq!(fixture.deliver(3).await, Attempt::Delivered);
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn the_limit_parks_with_the_last_answer_and_the_event_counts_as_perhaps_seen() {
    let fixture = Fixture::with(&["127.0.0.0/8"], |config| config.give_up_after_ms = 30, |url| url).await;
    for _ in 0..1000 {
        fixture.receiver.answer(500, &[]);
    }
    let reason = reason(fixture.deliver(3).await);
    assert!(reason.starts_with("the subscriber answered 500; tried "), "{reason}");
    while fixture.receipts().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(outcomes(&fixture.receipts()), [ReceiptOutcome::Released, ReceiptOutcome::Unconfirmed]);
}

#[tokio::test]
async fn a_dead_endpoint_parks_and_nothing_was_disclosed() {
    let url = format!("http://127.0.0.1:{}/hook", freshet_testkit::ports::free_port().expect("a port"));
    let fixture = Fixture::with(&["127.0.0.0/8"], |config| config.give_up_after_ms = 30, |_| url).await;
    let reason = reason(fixture.deliver(3).await);
    assert!(reason.contains("no answer (connect)"), "{reason}");
    assert_eq!(outcomes(&fixture.receipts()), [ReceiptOutcome::Released]);
}

#[tokio::test]
async fn a_new_secret_is_used_from_the_next_attempt_on() {
    let fixture = Fixture::new(&["127.0.0.0/8"]).await;
    assert_eq!(fixture.deliver(3).await, Attempt::Delivered);
    let second = "whsec_c2Vjb25kLXNlY3JldC1vZi0zMi1ieXRlcy1sb25nISE=";
    write_secret(fixture.secrets.path(), &format!("{SECRET}\n{second}\n"));
    assert_eq!(fixture.deliver(4).await, Attempt::Delivered);
    let requests = fixture.receiver.requests();
    assert!(!verify(second, &requests[0].1, &requests[0].2));
    assert!(verify(SECRET, &requests[1].1, &requests[1].2) && verify(second, &requests[1].1, &requests[1].2));
}

#[tokio::test]
async fn revocation_breaks_off_a_hanging_request_and_leaves_a_receipt() {
    let fixture = Fixture::new(&["127.0.0.0/8"]).await;
    fixture.receiver.0.hangs.store(true, Ordering::SeqCst);
    let revoke = async {
        fixture.receiver.0.arrived.notified().await;
        fixture.subscription.revoke();
    };
    let began = Instant::now();
    let (attempt, ()) = tokio::join!(fixture.deliver(3), revoke);
    assert_eq!(reason(attempt), "stopped");
    assert!(began.elapsed() < Duration::from_secs(5));
    while fixture.receipts().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(outcomes(&fixture.receipts()), [ReceiptOutcome::Released, ReceiptOutcome::Unconfirmed]);
}

/// The process dies between the answer and the confirmation (P8): what the subscriber got is in the trail already.
#[tokio::test]
async fn whatever_has_left_is_in_the_trail_before_it_leaves() {
    let fixture = Fixture::new(&["127.0.0.0/8"]).await;
    fixture.receiver.0.hangs.store(true, Ordering::SeqCst);
    let one = record(3, false);
    let mut delivery = Box::pin(fixture.take(&one));
    tokio::select! {
        _ = &mut delivery => panic!("nobody answers"),
        () = fixture.receiver.0.arrived.notified() => {}
    }
    // Dropped as a killed process drops it: no code of ours runs after this.
    drop(delivery);
    let receipts = fixture.receipts();
    assert!(receipts[0].covers(0, 3), "{receipts:?}");
    assert_eq!(outcomes(&receipts), [ReceiptOutcome::Released]);
}

#[tokio::test]
async fn an_event_that_waits_to_be_tried_again_leaves_its_place_to_another() {
    let set = |config: &mut WebhookConfig| {
        (config.max_in_flight, config.retry_initial_ms, config.retry_max_ms) = (1, 600_000, 600_000);
    };
    let fixture = Fixture::with(&["127.0.0.0/8"], set, |url| url).await;
    fixture.receiver.answer(500, &[]);
    let first = record(3, false);
    let mut first = std::pin::pin!(fixture.take(&first));
    tokio::select! {
        _ = &mut first => panic!("it is tried again in five minutes at the soonest"),
        second = async {
            fixture.receiver.0.arrived.notified().await;
            fixture.deliver(4).await
        } => assert_eq!(second, Attempt::Delivered),
    }
}

#[tokio::test]
async fn nothing_is_sent_while_the_audit_topic_cannot_be_written() {
    let fixture = Fixture::new(&["127.0.0.0/8"]).await;
    fixture.log.failing.store(true, Ordering::SeqCst);
    let (first, second) = (record(3, false), record(4, false));
    let mut first = std::pin::pin!(fixture.take(&first));
    let mut second = std::pin::pin!(fixture.take(&second));
    // The first is how the failure is found out, before anything is sent.
    while fixture.webhook.parts.metrics.receipt_failures.with_label_values(&["webhook"]).get() == 0 {
        assert!(futures::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    for _ in 0..50 {
        assert!(futures::poll!(&mut second).is_pending());
        tokio::task::yield_now().await;
    }
    assert!(fixture.receiver.requests().is_empty());
    fixture.log.failing.store(false, Ordering::SeqCst);
    assert_eq!(tokio::join!(first, second), (Attempt::Delivered, Attempt::Delivered));
}
