//! The department that floods: connections that send as fast as they are told to, and do not care what they are answered.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bus::Bus;
use crate::bus::token;

/// Entities that one connection changes, so that a register has many keys and each keeps its order.
const ENTITIES: u64 = 100;
/// An answer that takes longer is not waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// Threads of the flood's sender.
const SENDERS: usize = 2;

#[derive(Debug, Clone)]
pub struct Crowd {
    pub url: String,
    pub connections: usize,
    pub batch: usize,
    /// Events per second of all connections together; without it each sends as soon as it was answered, and waits where it
    /// is told to.
    pub pace: Option<f64>,
    /// The number of the first connection: ids are made of it.
    pub first: u64,
}

/// What was offered, and what became of it. Ids are numbers, [`id_of`] writes them.
#[derive(Debug, Default)]
pub struct Flood {
    pub offered: u64,
    pub accepted: Vec<u64>,
    /// Neither accepted nor turned away: the answer did not come, or did not know.
    pub unknown: Vec<u64>,
    /// Events turned away, by status.
    pub shed: BTreeMap<u16, u64>,
    /// Of these, without a `Retry-After`.
    pub without_retry_after: u64,
    /// What should not have been answered.
    pub other: BTreeMap<String, u64>,
    /// Accepted in the second half, when what was saved up is used up.
    late: u64,
    pub length: Duration,
}

pub fn id_of(number: u64) -> String {
    format!("crowd-{number}")
}

pub fn number_of(id: &str) -> Option<u64> {
    id.strip_prefix("crowd-")?.parse().ok()
}

impl Crowd {
    pub fn new(bus: &Bus) -> Self {
        let url = format!("{}/v1/datasets/crowd_register/events", bus.gateway);
        Self { url, connections: 1, batch: 1, pace: None, first: 0 }
    }

    /// From threads of its own, so that the other department's requests do not wait behind these.
    pub async fn flood(&self, length: Duration, aside: bool) -> anyhow::Result<Flood> {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        threads.worker_threads(SENDERS).enable_all().thread_name("crowd");
        if aside {
            threads.on_thread_start(step_aside);
        }
        let threads = threads.build()?;
        let (crowd, ended) = (self.clone(), threads.handle().clone());
        let flood = ended.spawn(async move { crowd.send_all(length).await }).await?;
        threads.shutdown_background();
        flood
    }

    async fn send_all(&self, length: Duration) -> anyhow::Result<Flood> {
        let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build()?;
        let begun = Instant::now();
        let mut senders = tokio::task::JoinSet::new();
        for connection in 0..self.connections as u64 {
            senders.spawn(self.clone().send(client.clone(), connection, (begun, length)));
        }
        let mut flood = Flood { length, ..Flood::default() };
        while let Some(part) = senders.join_next().await {
            flood.add(part?);
        }
        Ok(flood)
    }

    async fn send(self, client: reqwest::Client, connection: u64, (begun, length): (Instant, Duration)) -> Flood {
        let mut flood = Flood::default();
        let every = self.pace.map(|pace| Duration::from_secs_f64(self.batch as f64 * self.connections as f64 / pace));
        let mut next = begun + every.unwrap_or_default().mul_f64(connection as f64 / self.connections as f64);
        let mut sent = 0;
        while begun.elapsed() < length {
            if let Some(every) = every {
                tokio::time::sleep_until(next.into()).await;
                // What could not be sent in time is not made up for.
                next = (next + every).max(Instant::now());
            }
            let numbers: Vec<u64> =
                (sent..sent + self.batch as u64).map(|n| (self.first + connection) << 32 | n).collect();
            sent += self.batch as u64;
            let body = body(&numbers);
            flood.offered += numbers.len() as u64;
            let request = client.post(&self.url).bearer_auth(token("crowd"));
            let request = request.header("content-type", "application/cloudevents-batch+json").body(body);
            let wait = flood.take(request.send().await, numbers, begun.elapsed() * 2 > length).await;
            if every.is_none()
                && let Some(wait) = wait
            {
                tokio::time::sleep(wait).await;
            }
        }
        flood
    }
}

impl Flood {
    /// Sorts one answer; gives how long it says to wait.
    async fn take(
        &mut self,
        answer: reqwest::Result<reqwest::Response>,
        numbers: Vec<u64>,
        is_late: bool,
    ) -> Option<Duration> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.note(crate::workload::http::kind(&error).to_owned());
                self.unknown.extend(numbers);
                return None;
            }
        };
        let status = answer.status().as_u16();
        let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let wait = header.map(Duration::from_secs);
        let body: Value = match answer.json().await {
            Ok(body) => body,
            Err(_) => {
                self.note(format!("{status} without a body that can be read"));
                self.unknown.extend(numbers);
                return wait;
            }
        };
        match status {
            200 if body["accepted"] == numbers.len() => {
                self.late += if is_late { numbers.len() as u64 } else { 0 };
                self.accepted.extend(numbers);
            }
            // Some of them may have been written; the department would send all of them again.
            503 if body["results"].is_array() => {
                self.without_retry_after += u64::from(wait.is_none());
                self.unknown.extend(numbers);
            }
            429 | 503 => {
                *self.shed.entry(status).or_default() += numbers.len() as u64;
                self.without_retry_after += u64::from(wait.is_none());
            }
            other => {
                self.note(format!("{other}: {}", body["detail"].as_str().unwrap_or("no detail")));
                self.unknown.extend(numbers);
            }
        }
        wait
    }

    fn note(&mut self, what: String) {
        *self.other.entry(what).or_default() += 1;
    }

    fn add(&mut self, part: Self) {
        self.offered += part.offered;
        self.accepted.extend(part.accepted);
        self.unknown.extend(part.unknown);
        self.without_retry_after += part.without_retry_after;
        self.late += part.late;
        for (status, count) in part.shed {
            *self.shed.entry(status).or_default() += count;
        }
        for (what, count) in part.other {
            *self.other.entry(what).or_default() += count;
        }
    }

    pub fn accepted_per_second(&self) -> f64 {
        self.late as f64 / (self.length.as_secs_f64() / 2.0)
    }
}

/// The lowest priority, for this thread alone. Where it cannot be had the flood takes more from the bus than it should.
fn step_aside() {
    let thread = nix::unistd::gettid().to_string();
    let _ = Command::new("renice").args(["-n", "19", "-p", &thread]).stdout(Stdio::null()).status();
}

fn body(numbers: &[u64]) -> String {
    let events: Vec<String> = numbers.iter().map(|number| event("crowd", &id_of(*number), *number)).collect();
    format!("[{}]", events.join(","))
}

/// One event of either department. The sequence grows with every event of a connection.
pub fn event(department: &str, id: &str, number: u64) -> String {
    let (connection, count) = (number >> 32, number & 0xffff_ffff);
    let entity = format!("{connection}-{}", count % ENTITIES);
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"urn:overload:{department}","type":"overload.changed","sequence":"{}","data":{{"entity":"{entity}","number":{count},"note":"a note of some length, as registers have them"}}}}"#,
        count + 1
    )
}
