//! The department beside it: a few events a second, each with the time until its answer and until it arrives.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use super::Part;
use super::arrivals::Arrivals;
use super::bus::Bus;
use super::crowd::event;
use crate::bus::token;

/// Twenty a second.
const EVERY: Duration = Duration::from_millis(50);
/// An answer that takes longer is not waited for.
const LIMIT: Duration = Duration::from_secs(30);
const WARM_UP: Duration = Duration::from_secs(60);
/// As many answers one behind the other as make a recovery.
const STEADY: usize = 20;

/// One event of the department.
#[derive(Debug, Clone)]
pub struct Told {
    pub part: Part,
    pub id: String,
    pub sent: Instant,
    pub answered: Duration,
    /// None where no answer came.
    pub status: Option<u16>,
}

#[derive(Debug)]
pub struct Calm {
    part: Arc<Mutex<Part>>,
    told: Arc<Mutex<Vec<Told>>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Calm {
    pub fn start(bus: &Bus) -> Self {
        let (part, told) = (Arc::new(Mutex::new(Part::Alone)), Arc::new(Mutex::new(Vec::new())));
        let stop = CancellationToken::new();
        let url = format!("{}/v1/datasets/calm_register/events", bus.gateway);
        let task = tokio::spawn(publish(url, part.clone(), told.clone(), stop.clone()));
        Self { part, told, stop, task }
    }

    /// What is sent from now on belongs to this part.
    pub fn enter(&self, part: Part) {
        *lock(&self.part) = part;
        if part == Part::Alone {
            lock(&self.told).clear();
        }
    }

    pub async fn warm_up(&self, arrivals: &Arrivals) -> anyhow::Result<()> {
        let deadline = Instant::now() + WARM_UP;
        loop {
            let arrived = lock(&self.told).iter().filter(|told| arrivals.of(&told.id).is_some()).count();
            if arrived > STEADY * 3 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("nothing comes through: {:?}", lock(&self.told).last());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How long after `since` answers are as quick again as they were alone; None where that does not come.
    pub async fn recovered(&self, since: Instant) -> Option<Duration> {
        let alone = middle(lock(&self.told).iter().filter(|told| told.part == Part::Alone));
        while since.elapsed() < Duration::from_secs(60) {
            let after: Vec<Told> = lock(&self.told).iter().filter(|told| told.part == Part::After).cloned().collect();
            let steady = after.windows(STEADY).find(|window| middle(window.iter()) <= alone * 2);
            if let Some(first) = steady.and_then(|window| window.first()) {
                return Some(first.sent.saturating_duration_since(since) + first.answered);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None
    }

    pub async fn stop(self) -> Vec<Told> {
        self.stop.cancel();
        let _ = self.task.await;
        lock(&self.told).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn middle<'a>(told: impl Iterator<Item = &'a Told>) -> Duration {
    let mut times: Vec<Duration> = told.map(|told| told.answered).collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

async fn publish(url: String, part: Arc<Mutex<Part>>, all: Arc<Mutex<Vec<Told>>>, stop: CancellationToken) {
    let Ok(client) = reqwest::Client::builder().no_proxy().timeout(LIMIT).build() else { return };
    let mut requests = tokio::task::JoinSet::new();
    let mut ticks = tokio::time::interval(EVERY);
    let mut number = 0;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        number += 1;
        let id = format!("calm-{number}");
        // An entity for each: they overtake each other on their connections.
        let body = event("calm", &id, number << 32);
        let request =
            client.post(&url).bearer_auth(token("calm")).header("content-type", "application/cloudevents+json");
        let (part, all, request) = (*lock(&part), all.clone(), request.body(body));
        requests.spawn(async move {
            let sent = Instant::now();
            let status = request.send().await.ok().map(|answer| answer.status().as_u16());
            lock(&all).push(Told { part, id, sent, answered: sent.elapsed(), status });
        });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}
