//! The publishing departments, each by one of the three ways in.

pub(crate) mod file;
mod http;
mod kafka;
mod progress;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use freshet_runtime::CancellationToken;
use tokio::time::Instant;

use crate::ledger::Ledger;
use crate::registers;
use crate::{Options, Reach, business};

pub use http::BUSINESS;
pub use kafka::RENTALS;
use progress::Progress;

/// Datasets that come as files.
pub const FILES: [(&str, &str); 4] = [
    ("solicitation", "toronto-purchasing"),
    ("contract_award", "toronto-purchasing"),
    ("noncompetitive_contract", "toronto-purchasing"),
    ("apartment_registration", "toronto-rentsafe"),
];

/// False for what somebody else published, by hand for instance. Also what the bus would invent under a name of the
/// demo's is of the demo, and found in the books.
pub(crate) fn is_of_the_demo(dataset: &str, published_as: &str) -> bool {
    let prefix = match dataset {
        RENTALS => kafka::ID_PREFIX,
        BUSINESS => http::ID_PREFIX,
        _ => file::TOKEN_PREFIX,
    };
    published_as.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u64>().is_ok())
}

/// What a department needs.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub reach: Arc<Reach>,
    pub ledger: Arc<Ledger>,
    pub stop: CancellationToken,
    /// Where each department keeps how far it has come.
    pub progress: PathBuf,
}

impl Desk {
    fn progress(&self, name: &str) -> anyhow::Result<Progress> {
        Progress::read(&self.progress, name)
    }
}

/// Everything that will be published.
pub(crate) struct Plan {
    rentals: Vec<registers::Line>,
    files: Vec<(&'static str, &'static str, Vec<registers::Line>)>,
    business: Vec<business::Event>,
}

impl Plan {
    pub fn read(options: &Options) -> anyhow::Result<Self> {
        let mut registers = registers::read()?;
        let rentals = registers.remove(RENTALS).unwrap_or_default();
        let files = FILES
            .iter()
            .map(|(dataset, department)| (*dataset, *department, registers.remove(*dataset).unwrap_or_default()))
            .collect();
        Ok(Self { rentals, files, business: business::events(options.seed, options.business_events) })
    }

    pub fn total(&self) -> usize {
        self.rentals.len() + self.business.len() + self.files.iter().map(|(_, _, lines)| lines.len()).sum::<usize>()
    }

    /// How many of these events an earlier run of the same folder has published.
    pub fn published_before(&self, desk: &Desk) -> anyhow::Result<usize> {
        let names = [RENTALS].into_iter().chain(http::SOURCES.map(|(_, department)| department));
        let names = names.chain(self.files.iter().map(|(dataset, _, _)| *dataset));
        names.map(|name| Ok(desk.progress(name)?.confirmed())).sum()
    }

    /// Until every department has sent everything that it had not sent before. Each sends at its share of the rate, so that all end together.
    pub async fn publish(self, desk: &Desk, options: &Options) -> anyhow::Result<()> {
        let total = self.total().max(1);
        let pace = |count: usize| Pace::new(f64::from(options.rate) * count as f64 / total as f64);
        let mut departments = tokio::task::JoinSet::new();
        departments.spawn(kafka::publish(desk.clone(), pace(self.rentals.len()), self.rentals));
        for source in http::SOURCES {
            let events: Vec<business::Event> =
                self.business.iter().filter(|event| event.source == source.0).cloned().collect();
            departments.spawn(http::publish(desk.clone(), pace(events.len()), source.1, events));
        }
        for (dataset, department, lines) in self.files {
            departments.spawn(file::publish(desk.clone(), pace(lines.len()), dataset, department, lines));
        }
        while let Some(ended) = departments.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Keeps to a rate without bursts longer than a tick.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    begun: Instant,
    sent: u64,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        Self { per_second: per_second.max(1.0), begun: Instant::now(), sent: 0 }
    }

    /// Waits until `count` more may be sent.
    async fn take(&mut self, count: usize) {
        let due = self.begun + Duration::from_secs_f64(self.sent as f64 / self.per_second);
        self.sent += count as u64;
        tokio::time::sleep_until(due).await;
    }
}

pub(crate) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
