//! What the receiving department has: every event of both views, with how often and when it came.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use freshet_testkit::departments::Consumer;

use super::bus::Bus;
use super::calm::Told;
use super::crowd::{Flood, number_of};

/// What comes twice comes late.
const CALM: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
struct Seen {
    /// Of the crowd, by number: how often.
    crowd: HashMap<u64, u32>,
    calm: HashMap<String, (Instant, u32)>,
}

#[derive(Debug)]
pub struct Arrivals {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Arrivals {
    pub fn start(bus: &Bus) -> anyhow::Result<Self> {
        let views: Vec<&str> = bus.views.iter().map(String::as_str).collect();
        let consumer = Consumer::new(&bus.bootstrap, "overload", &views)?;
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (noted, ended) = (seen.clone(), stop.clone());
        std::thread::Builder::new().name("arrivals".to_owned()).spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                // An error is the broker's, and passes.
                let Ok(Some(record)) = consumer.next(Duration::from_millis(100)) else { continue };
                let Some(id) = record.header("ce_id") else { continue };
                let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
                match number_of(id) {
                    Some(number) => *seen.crowd.entry(number).or_default() += 1,
                    None => seen.calm.entry(id.to_owned()).or_insert((Instant::now(), 0)).1 += 1,
                }
            }
        })?;
        Ok(Self { seen, stop })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When an event of the other department came.
    pub fn of(&self, id: &str) -> Option<Instant> {
        self.seen().calm.get(id).map(|(at, _)| *at)
    }

    /// Until everything is there that was accepted.
    pub async fn wait_for(&self, flood: &Flood, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let missing = self.missing(&flood.accepted);
            if missing == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{missing} accepted events did not arrive within {} s", limit.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn settle(&self, told: &[Told]) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let accepted = told.iter().filter(|told| told.status == Some(202));
        for told in accepted {
            while self.of(&told.id).is_none() && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        tokio::time::sleep(CALM).await;
    }

    pub fn missing(&self, numbers: &[u64]) -> usize {
        let seen = self.seen();
        numbers.iter().filter(|number| !seen.crowd.contains_key(number)).count()
    }

    /// (twice, never offered or turned away)
    pub fn too_many(&self, accepted: &[u64], unknown: &[u64]) -> (usize, usize) {
        let seen = self.seen();
        let twice = seen.crowd.values().chain(seen.calm.values().map(|(_, count)| count)).filter(|count| **count > 1);
        let offered: std::collections::HashSet<&u64> = accepted.iter().chain(unknown).collect();
        (twice.count(), seen.crowd.keys().filter(|number| !offered.contains(number)).count())
    }
}
