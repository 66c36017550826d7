//! A webhook receiver that checks Standard Webhooks signatures with the reference library, not with the bus's code.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use standardwebhooks::Webhook;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::journal::Journal;

/// One request whose signature is right.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The last part of the path: which subscription.
    pub path: String,
    /// `webhook-id`: the same on every attempt.
    pub id: String,
    /// Every header, names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

#[derive(Debug)]
struct Shared {
    /// Signing secrets (`whsec_…`) by path.
    secrets: Mutex<BTreeMap<String, String>>,
    deliveries: mpsc::UnboundedSender<Delivery>,
    journal: Option<Journal>,
    answer: AtomicU16,
    unsigned: AtomicU64,
}

/// Listens on loopback until it is dropped. `POST /<path>`.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// `port` 0 chooses a free one. Deliveries come out of the channel in the order in which they were answered.
    pub async fn start(port: u16) -> std::io::Result<(Self, mpsc::UnboundedReceiver<Delivery>)> {
        Self::listen(port, None).await
    }

    /// As [`Self::start`], and every delivery is written to `file` before it is answered, as a department keeps what it
    /// has acknowledged. What the file holds already comes out of the channel first.
    pub async fn start_keeping(
        port: u16,
        file: &FilePath,
    ) -> std::io::Result<(Self, mpsc::UnboundedReceiver<Delivery>)> {
        Self::listen(port, Some(file)).await
    }

    async fn listen(port: u16, file: Option<&FilePath>) -> std::io::Result<(Self, mpsc::UnboundedReceiver<Delivery>)> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let (deliveries, out) = mpsc::unbounded_channel();
        let journal = match file {
            None => None,
            Some(file) => {
                let (journal, kept) = Journal::open(file)?;
                for delivery in kept {
                    // The other end is in our hands.
                    let _ = deliveries.send(delivery);
                }
                Some(journal)
            }
        };
        let shared = Arc::new(Shared {
            secrets: Mutex::default(),
            deliveries,
            journal,
            answer: AtomicU16::new(200),
            unsigned: AtomicU64::new(0),
        });
        let router = Router::new().route("/{path}", post(receive)).with_state(shared.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the webhook receiver stopped");
            }
        });
        Ok((Self { address, shared, task }, out))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The secret that requests to `/<path>` must be signed with. Without one they are refused.
    pub fn expect(&self, path: &str, secret: &str) {
        let mut secrets = self.shared.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        secrets.insert(path.to_owned(), secret.to_owned());
    }

    /// What it answers from now on. With anything but 2xx the request counts as not received.
    pub fn answer(&self, status: u16) {
        self.shared.answer.store(status, Ordering::SeqCst);
    }

    /// Requests that were refused for their signature.
    pub fn unsigned(&self) -> u64 {
        self.shared.unsigned.load(Ordering::SeqCst)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let status = StatusCode::from_u16(shared.answer.load(Ordering::SeqCst)).unwrap_or(StatusCode::OK);
    if !status.is_success() {
        return status;
    }
    let secret = shared.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&path).cloned();
    let verified = secret
        .and_then(|secret| Webhook::new(&secret).ok())
        .is_some_and(|webhook| webhook.verify(&body, &headers).is_ok());
    if !verified {
        shared.unsigned.fetch_add(1, Ordering::SeqCst);
        return StatusCode::UNAUTHORIZED;
    }
    let headers: BTreeMap<String, String> = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let id = headers.get("webhook-id").cloned().unwrap_or_default();
    let delivery = Delivery { path, id, headers, body };
    if let Some(journal) = &shared.journal
        && let Err(error) = journal.keep(&delivery)
    {
        tracing::error!(%error, "a delivery cannot be kept");
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match shared.deliveries.send(delivery) {
        Ok(()) => status,
        // Nobody listens any more: what cannot be kept is not acknowledged.
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
