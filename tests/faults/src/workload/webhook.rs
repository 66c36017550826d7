//! A webhook receiver that can be told to misbehave. Signatures are checked with the reference library.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::task::JoinHandle;

use super::kafka_out::FieldSets;
use super::pull::note;
use crate::catalogue::WEBHOOK_SECRET;
use crate::ledger::Ledger;

/// What it does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    /// Takes it, but so late that the sender may have given up.
    Slow(Duration),
    /// Takes it, and never answers.
    Hang,
    /// Does not take it.
    Refuse(u16),
    /// Takes it, and answers with this much of nonsense.
    Garbage(usize),
}

#[derive(Debug)]
struct Shared {
    ledger: Arc<Ledger>,
    fields: Mutex<FieldSets>,
    /// By path; [`Behaviour::Good`] where none stands.
    behaviours: Mutex<BTreeMap<String, Behaviour>>,
}

/// Listens on loopback until it is dropped. `POST /<grant>`.
#[derive(Debug)]
pub struct Receiver {
    pub port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub async fn start(ledger: Arc<Ledger>) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { ledger, fields: Mutex::default(), behaviours: Mutex::default() });
        let router = Router::new().route("/{grant}", post(receive)).with_state(shared.clone());
        let task = tokio::spawn(async move {
            // Serving loopback ends only with us.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { port, shared, task })
    }

    pub fn behave(&self, grant: &str, behaviour: Behaviour) {
        self.shared.behaviours.lock().unwrap_or_else(PoisonError::into_inner).insert(grant.to_owned(), behaviour);
    }

    pub fn behave_well(&self) {
        self.shared.behaviours.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    Path(grant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let behaviour = shared.behaviours.lock().unwrap_or_else(PoisonError::into_inner).get(&grant).copied();
    let behaviour = behaviour.unwrap_or(Behaviour::Good);
    if let Behaviour::Refuse(status) = behaviour {
        return StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
    }
    let verified = Webhook::new(WEBHOOK_SECRET).is_ok_and(|webhook| webhook.verify(&body, &headers).is_ok());
    let Some(Value::Object(event)) = verified.then(|| serde_json::from_slice(&body).ok()).flatten() else {
        shared.ledger.trouble(format!("webhook {grant}: not signed, or no CloudEvent"));
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let id = headers.get("webhook-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    // Noted before the answer: a subscriber that took it, and whose answer is lost, has it.
    let note = || {
        let mut fields = shared.fields.lock().unwrap_or_else(PoisonError::into_inner);
        note(&shared.ledger, &grant, &event, id, &mut fields);
    };
    match behaviour {
        Behaviour::Good | Behaviour::Refuse(_) => {
            note();
            StatusCode::OK.into_response()
        }
        Behaviour::Slow(time) => {
            tokio::time::sleep(time).await;
            note();
            StatusCode::OK.into_response()
        }
        Behaviour::Hang => {
            note();
            std::future::pending().await
        }
        Behaviour::Garbage(bytes) => {
            note();
            (StatusCode::OK, Body::from(vec![0xff; bytes])).into_response()
        }
    }
}
