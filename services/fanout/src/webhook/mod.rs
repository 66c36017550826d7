//! Delivery to a webhook: one POST per event, signed as Standard Webhooks 1.0.0 says, retried until the subscriber takes
//! it or its limit is reached. At least once: an answer that is lost leads to the same event with the same id again.

pub mod address;
mod client;
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
use freshet_kafka::window::{self, Attempt, Deliver, Place, Start, WindowEnd, WindowSettings};
use freshet_runtime::CancellationToken;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use url::Url;

use crate::Shared;
use crate::config::WebhookConfig;
use crate::event::{self, EventError, Schemas};
use crate::metrics::{Counted, Metrics};
use crate::receipts::{Receipts, Unwritten};
use crate::secrets::{SecretFile, Stamp};
use crate::subscription::Subscription;
use crate::trust::Trust;
use address::{AddressPolicy, CheckedResolver, Refused, Target};
use client::{HttpClient, NoAnswer};
use retry::{Backoff, Verdict, judge};
use signature::Secrets;

/// How long the rest of an answer may take whose status is known.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// How long a process that stops waits for the receipt of what a subscriber has just taken.
const RECEIPT_GRACE: Duration = Duration::from_secs(5);

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// Of a request, with the two that the client adds: its own name and the host's.
const HEADERS: usize = 6;

/// Records in the window of one subscriber, with those that are being posted: they wait for a receipt, a free place, or
/// their key's turn. So many because two receipts are waited for, and a receipt takes longer than an answer.
const WINDOW_RECORDS: usize = 2048;
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
        max_running: shared.config.webhook.max_in_flight,
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

/// One subscriber's endpoint.
#[derive(Debug)]
pub(crate) struct Webhook {
    parts: WebhookParts,
    subscription: Arc<Subscription>,
    target: Target,
    client: HttpClient,
    backoff: Backoff,
    /// For receipts that outlive this.
    grant: Arc<Grant>,
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
        let url: Url = url.parse().map_err(|error| format!("url: {error}"))?;
        let target = Target::of(&url).map_err(|refused| refused.to_string())?;
        let resolver = CheckedResolver { policy: Arc::clone(&parts.policy), target: target.clone() };
        let client = HttpClient::new(
            &url,
            resolver,
            parts.trust.connector().map_err(|error| format!("TLS: {error}"))?,
            &parts.config,
        )?;
        let grant = Arc::new(subscription.grant.clone());
        let backoff = parts.config.backoff();
        let halted = subscription.stop.child_token();
        let counted = parts.metrics.of(&subscription.grant.id, Way::Webhook);
        Ok(Self {
            parts,
            subscription,
            target,
            client,
            backoff,
            grant,
            secrets: Mutex::new(None),
            counted,
            halted,
            parked: OnceLock::new(),
            not_before: Mutex::new(None),
        })
    }

    /// One POST, with the time and the signature of this attempt.
    pub(crate) async fn attempt(&self, id: &HeaderValue, body: Bytes) -> Tried {
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
        let Ok(signature) = HeaderValue::try_from(secrets.sign(id.as_bytes(), timestamp, &body)) else {
            unreachable!("base64 and spaces")
        };
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(event::CLOUDEVENTS_JSON));
        headers.insert(WEBHOOK_ID, id.clone());
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(timestamp));
        headers.insert(WEBHOOK_SIGNATURE, signature);
        let (head, answer) = match self.client.post(headers, body).await {
            Ok(response) => response.into_parts(),
            Err(none) => return failed(none),
        };
        if !answer.is_end_stream() {
            let _ = tokio::time::timeout(DRAIN_LIMIT, self.drain(answer)).await;
        }
        let status = head.status.as_u16();
        let retry_after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        match judge(status, retry_after, now) {
            Verdict::Delivered => Tried::Delivered,
            Verdict::Gone => Tried::Park { kind: "gone", reason: "the subscriber answered 410 Gone".to_owned() },
            Verdict::Retry { kind, not_before } => {
                Tried::Retry { kind, reason: format!("the subscriber answered {status}"), not_before }
            }
        }
    }

    /// As the file was when it was last looked at.
    fn secrets(&self) -> Result<Arc<Secrets>, String> {
        let mut kept = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, secrets)) = &*kept {
            return Ok(Arc::clone(secrets));
        }
        // Before it is read: what is written between the two is seen at the next look.
        let stamp = self.parts.secret.stamp();
        let text = self.parts.secret.read().map_err(|error| error.to_string())?;
        let secrets = Secrets::parse(&text)
            .map_err(|error| format!("secret file {}: {error}", self.parts.secret.path().display()))?;
        let secrets = Arc::new(secrets);
        *kept = Some((stamp, Arc::clone(&secrets)));
        Ok(secrets)
    }

    /// Before events are released, and before an attempt is made again: not for each, since it is a call of the system.
    fn look_at_the_secret(&self) {
        let stamp = self.parts.secret.stamp();
        let mut kept = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|(of, _)| *of != stamp || !stamp.is_present()) {
            *kept = None;
        }
    }

    /// Reads a small body to its end, so that the connection can be used again; gives up on a large one.
    async fn drain(&self, mut answer: Incoming) {
        let mut left = self.parts.config.max_response_bytes;
        while let Some(Ok(frame)) = answer.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }

    /// Whether the subscriber asked all deliveries to wait, and until when.
    fn asked_to_wait(&self) -> Option<Instant> {
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        not_before.filter(|until| *until > Instant::now())
    }

    /// Waits as long as the subscriber asked all deliveries to wait, and while no receipt could be written. `None` where the
    /// deliveries are stopped before.
    async fn turn(&self) -> Option<()> {
        // What need not be waited for is not: to be told of a stop costs more than to look whether there was one.
        if self.parts.receipts.is_writable() && self.asked_to_wait().is_none() {
            return (!self.halted.is_cancelled()).then_some(());
        }
        let waited = async {
            self.parts.receipts.writable().await;
            while let Some(until) = self.asked_to_wait() {
                tokio::time::sleep_until(until.into()).await;
            }
        };
        self.halted.run_until_cancelled(waited).await
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

    /// One attempt, when nobody asked to wait; `None` where the delivery is stopped before, or broken off.
    async fn in_turn(&self, record: &OwnedRecord, id: &HeaderValue, exposed: &AtomicBool) -> Option<Tried> {
        // A process that stops finishes the attempt under way, but begins no other.
        self.turn().await?;
        let body = match self.body(record) {
            Ok(body) => body,
            Err(tried) => return Some(tried),
        };
        let before = exposed.swap(true, Ordering::Relaxed);
        let attempt = self.attempt(id, body);
        let tried = self.subscription.revoked.run_until_cancelled(attempt).await?;
        if !before && !tried.reached_the_subscriber() {
            exposed.store(false, Ordering::Relaxed);
        }
        Some(tried)
    }

    /// `exposed` is set while, and after, an attempt may have shown the event to the subscriber.
    async fn deliver_with_retries(&self, record: &OwnedRecord, mut place: Place, exposed: &AtomicBool) -> Attempt {
        let grant = self.grant.id.as_str();
        let stopped = || Attempt::Park { reason: self.stopped() };
        let Ok(id) = HeaderValue::try_from(event::delivery_id(&self.grant.view, record)) else {
            unreachable!("hexadecimal")
        };
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
            let waited = async {
                // Another event may be one that the subscriber takes.
                place.leave();
                tokio::time::sleep(wait).await;
                place.take_again().await;
            };
            if self.halted.run_until_cancelled(waited).await.is_none() {
                return stopped();
            }
            self.look_at_the_secret();
            self.counted.retries.inc();
        }
        Attempt::Delivered
    }
}

impl Deliver for Webhook {
    /// Before the first byte leaves: whatever dies after this, the trail has the disclosure (P8).
    async fn release(&self, records: &[OwnedRecord]) -> Result<(), String> {
        self.look_at_the_secret();
        let released = async {
            self.parts.receipts.writable().await;
            self.parts.receipts.write_by_all_means(&self.grant, ReceiptOutcome::Released, records).await
        };
        match self.halted.run_until_cancelled(released).await {
            Some(Ok(())) => Ok(()),
            Some(Err(Unwritten)) | None => Err(self.stopped()),
        }
    }

    async fn deliver(&self, record: &OwnedRecord, place: Place) -> Attempt {
        let exposed = AtomicBool::new(false);
        let attempt = self.deliver_with_retries(record, place, &exposed).await;
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

fn failed(none: NoAnswer) -> Tried {
    let (kind, reason) = match none {
        // Nothing that the subscriber could mend by waiting.
        NoAnswer::Refused(refused @ (Refused::Private { .. } | Refused::PlainHttp { .. } | Refused::Url)) => {
            return Tried::Park { kind: "address", reason: refused.to_string() };
        }
        NoAnswer::Refused(refused @ (Refused::NoAddress(_) | Refused::Unresolved { .. })) => {
            return Tried::Retry { kind: "resolve", reason: refused.to_string(), not_before: None };
        }
        NoAnswer::Connect(reason) => ("connect", reason),
        NoAnswer::Timeout(limit) => ("timeout", format!("nothing within {limit:?}")),
        NoAnswer::Transport(reason) => ("transport", reason),
    };
    Tried::Retry { kind, reason: format!("no answer ({kind}): {reason}"), not_before: None }
}

#[cfg(test)]
mod forms;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
