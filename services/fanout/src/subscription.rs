//! One subscription: an active grant that is delivered by the bus, with what an operator and its department see of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use freshet_catalog_model::Grant;
use freshet_runtime::CancellationToken;
use serde::Serialize;
use tokio::sync::Notify;
use utoipa::ToSchema;

/// What a subscription is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    Running,
    /// The last attempt failed; the same is being tried again.
    Retrying {
        since: String,
        reason: String,
    },
    /// Tried up to its limit. Nothing is lost: delivery goes on where it stopped when it is resumed.
    Parked {
        since: String,
        reason: String,
        resumes_at: String,
    },
    /// Another instance delivers this grant.
    Standby,
}

/// Shared by the task that delivers and by whoever asks about it.
#[derive(Debug)]
pub struct Subscription {
    pub grant: Grant,
    state: Mutex<State>,
    resume: Notify,
    /// Set when the task is to end: the grant has ended or changed, or the process stops.
    pub stop: CancellationToken,
    /// Set when the grant has ended or changed: what is under way is broken off, not finished (P9).
    pub revoked: CancellationToken,
}

impl Subscription {
    pub fn new(grant: Grant, process_stop: &CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            grant,
            state: Mutex::new(State::Running),
            resume: Notify::new(),
            stop: process_stop.child_token(),
            revoked: CancellationToken::new(),
        })
    }

    pub fn state(&self) -> State {
        self.lock().clone()
    }

    pub fn set(&self, state: State) {
        *self.lock() = state;
    }

    /// Notes a failed attempt; keeps the time of the first.
    pub fn retrying(&self, reason: &str) {
        let mut state = self.lock();
        let since = match &*state {
            State::Retrying { since, .. } => since.clone(),
            State::Running | State::Parked { .. } | State::Standby => now(),
        };
        *state = State::Retrying { since, reason: reason.to_owned() };
    }

    /// Notes a delivery.
    pub fn running(&self) {
        let mut state = self.lock();
        if *state != State::Running {
            *state = State::Running;
        }
    }

    pub fn park(&self, reason: &str, resume_after: Duration) {
        let resumes_at = jiff::Timestamp::now().checked_add(resume_after).unwrap_or(jiff::Timestamp::MAX);
        self.set(State::Parked { since: now(), reason: reason.to_owned(), resumes_at: resumes_at.to_string() });
    }

    /// Ends the parking. Does nothing, and says so, where it is not parked.
    pub fn resume(&self) -> bool {
        let parked = matches!(self.state(), State::Parked { .. });
        if parked {
            self.resume.notify_one();
        }
        parked
    }

    pub async fn resumed(&self) {
        self.resume.notified().await;
    }

    pub fn revoke(&self) {
        self.revoked.cancel();
        self.stop.cancel();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// The subscriptions of this instance, by grant.
#[derive(Debug, Clone, Default)]
pub struct Subscriptions(Arc<Mutex<BTreeMap<String, Arc<Subscription>>>>);

impl Subscriptions {
    pub fn get(&self, grant: &str) -> Option<Arc<Subscription>> {
        self.lock().get(grant).cloned()
    }

    pub fn insert(&self, subscription: Arc<Subscription>) {
        self.lock().insert(subscription.grant.id.clone(), subscription);
    }

    pub fn remove(&self, grant: &str) -> Option<Arc<Subscription>> {
        self.lock().remove(grant)
    }

    pub fn all(&self) -> Vec<Arc<Subscription>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Subscription>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
