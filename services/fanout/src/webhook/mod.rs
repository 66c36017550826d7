//! Delivery to a webhook: one POST per event, signed as Standard Webhooks 1.0.0 says, retried until the subscriber takes
//! it or its limit is reached. At least once: an answer that is lost leads to the same event with the same id again.

pub mod address;
pub mod retry;
pub mod signature;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use freshet_catalog_model::Grant;
use freshet_core::{Fault, ReceiptOutcome, Way};
use freshet_kafka::OwnedRecord;
use freshet_kafka::window::{self, Attempt, Deliver, Start, WindowEnd, WindowSettings};
use freshet_runtime::CancellationToken;
use http::{HeaderValue, header};
use tokio::sync::Semaphore;

use crate::Shared;
use crate::config::WebhookConfig;
use crate::event::{self, EventError, Schemas};
use crate::metrics::{Counted, Metrics};
use crate::receipts::{Receipts, Unwritten};
use crate::secrets::{SecretFile, Stamp};
use crate::subscription::Subscription;
use address::{AddressPolicy, CheckedResolver, Refused, Target};
use retry::{Backoff, Verdict, judge};
use signature::Secrets;

/// How long the rest of an answer may take whose status is known.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// How long a process that stops waits for the receipt of what a subscriber has just taken.
const RECEIPT_GRACE: Duration = Duration::from_secs(5);

/// Records in the window of one subscriber, beside those that are being posted: they wait for a receipt, a free place, or
/// their key's turn. So many because two receipts are waited for, and a receipt takes longer than an answer.
const WINDOW_RECORDS: usize = 1024;
/// There are as many windows as subscribers.
const WINDOW_BYTES: usize = 1 << 20;

/// Delivers until the subscription stops or parks.
pub(crate) async fn run(
    shared: &Shared,
    subscription: &Arc<Subscription>,
    (url, secret): (&str, &SecretFile),
) -> Result<WindowEnd, Fault> {
    let webhook = Webhook::new(
        WebhookParts {
            config: shared.config.webhook.clone(),
            policy: Arc::clone(&shared.policy),
            schemas: Arc::clone(&shared.schemas),
            receipts: shared.receipts.clone(),
            metrics: shared.metrics.clone(),
            secret: secret.clone(),
            trust: shared.trust.clone(),
        },
        Arc::clone(subscription),
        url,
    )
    .map_err(|reason| Fault::fatal("webhook", reason))?;
    let settings = WindowSettings {
        group: freshet_core::clients::fanout_group(&subscription.grant.id),
        topic: freshet_core::topics::view(&subscription.grant.view),
        start: Start::Earliest,
        max_in_flight: shared.config.webhook.max_in_flight.max(WINDOW_RECORDS),
        max_in_flight_bytes: WINDOW_BYTES,
    };
    window::run(&shared.connection, &settings, Arc::new(webhook), &shared.window_metrics, &subscription.stop).await
}

/// What a webhook needs of the service.
#[derive(Debug)]
pub(crate) struct WebhookParts {
    pub config: WebhookConfig,
    pub policy: Arc<AddressPolicy>,
    pub schemas: Arc<Schemas>,
    pub receipts: Receipts,
    pub metrics: Metrics,
    pub secret: SecretFile,
    pub trust: Trust,
}

/// The system's trusted certificates, read at the first webhook and shared by all: reading them takes some 85 ms and 0.9 MiB.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust(Arc<OnceLock<native_tls::TlsConnector>>);

impl Trust {
    fn connector(&self) -> Result<native_tls::TlsConnector, String> {
        if let Some(connector) = self.0.get() {
            return Ok(connector.clone());
        }
        let connector = native_tls::TlsConnector::new().map_err(|error| format!("TLS: {error}"))?;
        Ok(self.0.get_or_init(|| connector).clone())
    }
}

/// One subscriber's endpoint.
#[derive(Debug)]
pub(crate) struct Webhook {
    parts: WebhookParts,
    subscription: Arc<Subscription>,
    url: reqwest::Url,
    target: Target,
    client: reqwest::Client,
    backoff: Backoff,
    /// For receipts that outlive this.
    grant: Arc<Grant>,
    /// Requests that may be open at once.
    places: Semaphore,
    secrets: Mutex<Option<(Stamp, Arc<Secrets>)>>,
    counted: Counted,
    /// Set with the subscription's stop, and when one delivery parks: the others then wait for nothing more.
    halted: CancellationToken,
    /// Why, where one parked.
    parked: OnceLock<String>,
    /// Set by `Retry-After`: it speaks for the subscriber, not for one event.
    not_before: Mutex<Option<Instant>>,
}

/// What one attempt came to.
#[derive(Debug)]
pub(crate) enum Tried {
    Delivered,
    Retry { kind: &'static str, reason: String, not_before: Option<Duration> },
    Park { kind: &'static str, reason: String },
}

impl Webhook {
    pub(crate) fn new(parts: WebhookParts, subscription: Arc<Subscription>, url: &str) -> Result<Self, String> {
        let url: reqwest::Url = url.parse().map_err(|error| format!("url: {error}"))?;
        let target = Target::of(&url).map_err(|refused| refused.to_string())?;
        let resolver = CheckedResolver { policy: Arc::clone(&parts.policy), target: target.clone() };
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(parts.trust.connector()?)
            .dns_resolver(Arc::new(resolver))
            .connect_timeout(Duration::from_millis(parts.config.connect_timeout_ms))
            .timeout(Duration::from_millis(parts.config.request_timeout_ms))
            .pool_max_idle_per_host(parts.config.max_in_flight)
            .user_agent(concat!("freshet/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("HTTP client: {error}"))?;
        let grant = Arc::new(subscription.grant.clone());
        let backoff = parts.config.backoff();
        let halted = subscription.stop.child_token();
        let places = Semaphore::new(parts.config.max_in_flight);
        let counted = parts.metrics.of(&subscription.grant.id, Way::Webhook);
        Ok(Self {
            parts,
            subscription,
            url,
            target,
            client,
            backoff,
            grant,
            places,
            secrets: Mutex::new(None),
            counted,
            halted,
            parked: OnceLock::new(),
            not_before: Mutex::new(None),
        })
    }

    /// One POST. Everything that can change between attempts (secret, time stamp, address) is taken anew.
    pub(crate) async fn attempt(&self, id: &str, body: &Bytes) -> Tried {
        let secrets = match self.secrets() {
            Ok(secrets) => secrets,
            Err(reason) => return Tried::Retry { kind: "secret", reason, not_before: None },
        };
        // A literal address never reaches the resolver.
        if let Ok(address) = self.target.host.parse::<IpAddr>()
            && let Err(refused) = self.parts.policy.check(&self.target, address)
        {
            return Tried::Park { kind: "address", reason: refused.to_string() };
        }
        let now = jiff::Timestamp::now();
        let timestamp = now.as_second();
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, HeaderValue::from_static(event::CLOUDEVENTS_JSON))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", secrets.sign(id, timestamp, body))
            .body(body.clone());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failed(&error),
        };
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let _ = tokio::time::timeout(DRAIN_LIMIT, self.drain(response)).await;
        match judge(status, retry_after.as_deref(), now) {
            Verdict::Delivered => Tried::Delivered,
            Verdict::Gone => Tried::Park { kind: "gone", reason: "the subscriber answered 410 Gone".to_owned() },
            Verdict::Retry { kind, not_before } => {
                Tried::Retry { kind, reason: format!("the subscriber answered {status}"), not_before }
            }
        }
    }

    /// As the file is now. It is read again only when it has changed.
    fn secrets(&self) -> Result<Arc<Secrets>, String> {
        let stamp = self.parts.secret.stamp();
        let mut kept = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, secrets)) = &*kept
            && *of == stamp
            && stamp.is_present()
        {
            return Ok(Arc::clone(secrets));
        }
        let text = self.parts.secret.read().map_err(|error| error.to_string())?;
        let secrets = Secrets::parse(&text)
            .map_err(|error| format!("secret file {}: {error}", self.parts.secret.path().display()))?;
        let secrets = Arc::new(secrets);
        *kept = Some((stamp, Arc::clone(&secrets)));
        Ok(secrets)
    }

    /// Reads a small body to its end, so that the connection can be used again; gives up on a large one.
    async fn drain(&self, mut response: reqwest::Response) {
        let mut left = self.parts.config.max_response_bytes;
        while let Ok(Some(chunk)) = response.chunk().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }

    /// Waits as long as the subscriber asked all deliveries to wait, and while no receipt could be written.
    async fn wait_for_turn(&self) {
        self.parts.receipts.writable().await;
        loop {
            let until = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until.into()).await,
                _ => return,
            }
        }
    }

    fn put_off(&self, wait: Duration) {
        let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + wait;
        if not_before.is_none_or(|before| before < until) {
            *not_before = Some(until);
        }
    }

    fn body(&self, record: &OwnedRecord) -> Result<Bytes, Tried> {
        match self.parts.schemas.cloudevent_json(record) {
            Ok(text) => Ok(Bytes::from(text)),
            Err(error @ EventError::SchemaUnknown(_)) => {
                Err(Tried::Retry { kind: "schema", reason: error.to_string(), not_before: None })
            }
            Err(error) => Err(Tried::Park { kind: "event", reason: error.to_string() }),
        }
    }

    /// What is said of a delivery that was broken off: its offset does not advance.
    fn stopped(&self) -> String {
        self.parked.get().cloned().unwrap_or_else(|| "stopped".to_owned())
    }

    /// One attempt, when a place is free and nobody asked to wait; `None` where the delivery is stopped before. The body is made
    /// then and not sooner: a thousand records wait for their turn, and would be held twice.
    async fn in_turn(&self, record: &OwnedRecord, id: &str, exposed: &AtomicBool) -> Option<Tried> {
        // Spelt out, since `run_until_cancelled` holds its future twice, and a thousand deliveries wait here.
        let _place = tokio::select! {
            biased;
            () = self.halted.cancelled() => return None,
            place = self.places.acquire() => place.ok()?,
        };
        // A process that stops finishes the attempt under way, but begins no other.
        tokio::select! {
            biased;
            () = self.halted.cancelled() => return None,
            () = self.wait_for_turn() => {}
        }
        let body = match self.body(record) {
            Ok(body) => body,
            Err(tried) => return Some(tried),
        };
        let before = exposed.swap(true, Ordering::Relaxed);
        // In a box of its own, which nobody has who only waits.
        let tried = Box::pin(self.attempt(id, &body)).await;
        if !before && !tried.reached_the_subscriber() {
            exposed.store(false, Ordering::Relaxed);
        }
        Some(tried)
    }

    /// `exposed` is set while, and after, an attempt may have shown the event to the subscriber.
    async fn deliver_with_retries(&self, record: &OwnedRecord, exposed: &AtomicBool) -> Attempt {
        let grant = self.grant.id.as_str();
        let stopped = || Attempt::Park { reason: self.stopped() };
        let id = event::delivery_id(&self.grant.view, record);
        let give_up_after = Duration::from_millis(self.parts.config.give_up_after_ms);
        let mut failing_since: Option<Instant> = None;
        for attempt in 0_u32.. {
            let Some(tried) = self.in_turn(record, &id, exposed).await else { return stopped() };
            let (reason, not_before) = match tried {
                Tried::Delivered => break,
                Tried::Park { kind, reason } => {
                    self.parts.metrics.error(grant, kind);
                    return Attempt::Park { reason };
                }
                Tried::Retry { kind, reason, not_before } => {
                    self.parts.metrics.error(grant, kind);
                    (reason, not_before)
                }
            };
            self.subscription.retrying(&reason);
            let since = *failing_since.get_or_insert_with(Instant::now);
            let longest = Duration::from_millis(self.parts.config.retry_after_max_ms);
            let wait = self.backoff.wait_asked(attempt, fastrand::f64(), not_before, longest);
            if since.elapsed() + wait > give_up_after {
                return Attempt::Park { reason: format!("{reason}; tried {} times", attempt + 1) };
            }
            if not_before.is_some() {
                self.put_off(wait);
            }
            tokio::select! {
                biased;
                () = self.halted.cancelled() => return stopped(),
                () = tokio::time::sleep(wait) => {}
            }
            self.counted.retries.inc();
        }
        Attempt::Delivered
    }
}

impl Deliver for Webhook {
    /// Before the first byte leaves: whatever dies after this, the trail has the disclosure (P8).
    async fn release(&self, records: &[OwnedRecord]) -> Result<(), String> {
        let released = async {
            self.parts.receipts.writable().await;
            self.parts.receipts.write_by_all_means(&self.grant, ReceiptOutcome::Released, records).await
        };
        match self.halted.run_until_cancelled(released).await {
            Some(Ok(())) => Ok(()),
            Some(Err(Unwritten)) | None => Err(self.stopped()),
        }
    }

    async fn deliver(&self, record: &OwnedRecord) -> Attempt {
        let exposed = AtomicBool::new(false);
        let stopped = || Attempt::Park { reason: self.stopped() };
        let attempt = tokio::select! {
            biased;
            () = self.subscription.revoked.cancelled() => stopped(),
            attempt = self.deliver_with_retries(record, &exposed) => attempt,
        };
        if attempt != Attempt::Delivered && exposed.load(Ordering::Relaxed) {
            let (receipts, record) = (&self.parts.receipts, std::slice::from_ref(record));
            drop(receipts.write_by_all_means(&self.grant, ReceiptOutcome::Unconfirmed, record));
        }
        if let Attempt::Park { reason } = &attempt {
            let _ = self.parked.set(reason.clone());
            self.halted.cancel();
        }
        attempt
    }

    async fn confirm(&self, records: &[OwnedRecord]) -> Result<(), String> {
        let given_up = async {
            self.halted.cancelled().await;
            tokio::time::sleep(RECEIPT_GRACE).await;
        };
        let confirmed = tokio::select! {
            written = self.parts.receipts.write_by_all_means(&self.grant, ReceiptOutcome::Delivered, records) => written,
            () = self.subscription.revoked.cancelled() => Err(Unwritten),
            () = given_up => Err(Unwritten),
        };
        if confirmed == Err(Unwritten) {
            return Err(self.stopped());
        }
        self.subscription.running();
        for record in records {
            self.counted.delivered(event::published_at(record));
        }
        Ok(())
    }
}

impl Tried {
    /// False where it is certain that no byte of the event left.
    fn reached_the_subscriber(&self) -> bool {
        match self {
            Self::Delivered => true,
            Self::Retry { kind, .. } => !matches!(*kind, "connect" | "resolve" | "secret" | "schema"),
            Self::Park { kind, .. } => !matches!(*kind, "address" | "event"),
        }
    }
}

fn failed(error: &reqwest::Error) -> Tried {
    // The refusal is ours and is found among the causes: nothing that the subscriber could mend by waiting.
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut innermost = String::new();
    while let Some(current) = cause {
        match current.downcast_ref::<Refused>() {
            Some(refused @ (Refused::Private { .. } | Refused::PlainHttp { .. } | Refused::Url)) => {
                return Tried::Park { kind: "address", reason: refused.to_string() };
            }
            Some(refused) => {
                return Tried::Retry { kind: "resolve", reason: refused.to_string(), not_before: None };
            }
            None => {}
        }
        innermost = current.to_string();
        cause = current.source();
    }
    let kind = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "transport"
    };
    Tried::Retry { kind, reason: format!("no answer ({kind}): {innermost}"), not_before: None }
}

#[cfg(test)]
mod forms;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
