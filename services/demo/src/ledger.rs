//! Where publishers and receivers note what they saw, while it happens. The books are closed over it at the end; the
//! live table reads it every second.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use freshet_catalog_model::{Delivery, Grant};

use crate::books::{self, Accepted, Arrival, Books, DatasetPages, EventId, GrantPages, Received, Rejected};
use crate::filter::Filter;

#[derive(Debug, Default)]
pub struct Ledger {
    datasets: Mutex<BTreeMap<String, DatasetPages>>,
    /// What was rejected, each event once: one that is sent twice is refused twice.
    refused: Mutex<BTreeMap<String, HashSet<EventId>>>,
    grants: BTreeMap<String, Mutex<Holder>>,
    trouble: Mutex<BTreeSet<String>>,
    begun: Option<Instant>,
}

/// One subscriber's grant.
#[derive(Debug)]
struct Holder {
    grant: Grant,
    filter: Filter,
    /// Keys that are in, for counting what is due while events come.
    inside: HashSet<String>,
    due: usize,
    arrivals: Vec<Arrival>,
    distinct: HashSet<EventId>,
    table: HashMap<String, EventId>,
    seen_fields: BTreeSet<String>,
    latencies: Latencies,
}

/// Milliseconds from publishing to receiving.
#[derive(Debug, Default, Clone)]
pub struct Latencies {
    values: Vec<u32>,
}

impl Latencies {
    pub(crate) fn note(&mut self, ms: i64) {
        self.values.push(u32::try_from(ms.max(0)).unwrap_or(u32::MAX));
    }

    /// None where nothing was measured. `share` between 0 and 1.
    pub fn quantile(&self, share: f64) -> Option<u32> {
        let mut sorted = self.values.clone();
        sorted.sort_unstable();
        let index = ((sorted.len() as f64 - 1.0) * share).round();
        sorted.get(index as usize).copied()
    }
}

/// A line of the live table.
#[derive(Debug, Clone)]
pub struct GrantState {
    pub grant: String,
    pub subscriber: String,
    pub dataset: String,
    pub way: &'static str,
    pub due: usize,
    pub delivered: usize,
    pub latencies: Latencies,
}

#[derive(Debug, Clone, Default)]
pub struct DatasetState {
    pub dataset: String,
    pub published: usize,
    pub accepted: usize,
    pub rejected: usize,
}

pub fn way_name(delivery: &Delivery) -> &'static str {
    match delivery {
        Delivery::Kafka => "kafka",
        Delivery::Pull => "pull",
        Delivery::Webhook { .. } => "webhook",
        Delivery::Postgres { .. } => "postgres",
    }
}

impl Ledger {
    pub fn new(datasets: &[&str], grants: &[Grant]) -> Result<Self, String> {
        let mut ledger = Self { begun: Some(Instant::now()), ..Self::default() };
        for dataset in datasets {
            lock(&ledger.datasets).insert((*dataset).to_owned(), DatasetPages::default());
        }
        for grant in grants {
            let filter = Filter::read(grant.rows.as_deref()).map_err(|error| format!("grant {}: {error}", grant.id))?;
            let holder = Holder {
                grant: grant.clone(),
                filter,
                inside: HashSet::new(),
                due: 0,
                arrivals: Vec::new(),
                distinct: HashSet::new(),
                table: HashMap::new(),
                seen_fields: BTreeSet::new(),
                latencies: Latencies::default(),
            };
            ledger.grants.insert(grant.id.clone(), Mutex::new(holder));
        }
        Ok(ledger)
    }

    pub fn published(&self, dataset: &str, id: EventId) {
        if let Some(pages) = lock(&self.datasets).get_mut(dataset) {
            pages.published.insert(id);
        }
    }

    /// An event that none of the demo's departments sent. It is counted as the others are, and told.
    pub fn published_by_hand(&self, dataset: &str, id: &str) {
        self.published(dataset, id.to_owned());
        self.trouble(format!("{dataset}: {id} was published by somebody else, and is counted too"));
    }

    pub fn accepted(&self, dataset: &str, event: Accepted) {
        for holder in self.grants.values() {
            let mut holder = lock(holder);
            if holder.grant.dataset != dataset {
                continue;
            }
            let Holder { filter, inside, .. } = &mut *holder;
            if books::is_due(filter, inside, &event).is_some() {
                holder.due += 1;
            }
        }
        if let Some(pages) = lock(&self.datasets).get_mut(dataset) {
            pages.accepted.push(event);
        }
    }

    pub fn rejected(&self, dataset: &str, event: Rejected) {
        lock(&self.refused).entry(dataset.to_owned()).or_default().insert(event.published_as.clone());
        if let Some(pages) = lock(&self.datasets).get_mut(dataset) {
            pages.rejected.push(event);
        }
    }

    pub fn arrived(
        &self,
        grant: &str,
        arrival: Arrival,
        fields: impl Iterator<Item = String>,
        latency_ms: Option<i64>,
    ) {
        let Some(holder) = self.grants.get(grant) else { return };
        let mut holder = lock(holder);
        let is_first = holder.distinct.insert(arrival.id.clone());
        holder.arrivals.push(arrival);
        holder.seen_fields.extend(fields);
        // What was published before we were there to receive it says nothing of the bus.
        let of_this_run =
            |ms: &i64| self.begun.is_some_and(|begun| u128::try_from(*ms).unwrap_or(0) <= begun.elapsed().as_millis());
        if let (true, Some(ms)) = (is_first, latency_ms.filter(of_this_run)) {
            holder.latencies.note(ms);
        }
    }

    /// What a subscriber's table holds now.
    pub fn table(&self, grant: &str, rows: HashMap<String, EventId>, latencies_ms: impl Iterator<Item = i64>) {
        let Some(holder) = self.grants.get(grant) else { return };
        let mut holder = lock(holder);
        holder.table = rows;
        holder.latencies = Latencies::default();
        latencies_ms.for_each(|ms| holder.latencies.note(ms));
    }

    pub fn fields_of_table(&self, grant: &str, fields: impl Iterator<Item = String>) {
        if let Some(holder) = self.grants.get(grant) {
            lock(holder).seen_fields.extend(fields);
        }
    }

    /// Something that a department could not do. Each is told once.
    pub fn trouble(&self, text: String) {
        lock(&self.trouble).insert(text);
    }

    pub fn troubles(&self) -> Vec<String> {
        lock(&self.trouble).iter().cloned().collect()
    }

    pub fn dataset_states(&self) -> Vec<DatasetState> {
        let (datasets, refused) = (lock(&self.datasets), lock(&self.refused));
        let state = |(name, pages): (&String, &DatasetPages)| DatasetState {
            dataset: name.clone(),
            published: pages.published.len(),
            accepted: pages.accepted.len(),
            rejected: refused.get(name).map_or(0, HashSet::len),
        };
        datasets.iter().map(state).collect()
    }

    pub fn grant_states(&self) -> Vec<GrantState> {
        let state = |holder: &Mutex<Holder>| {
            let holder = lock(holder);
            let is_table = matches!(holder.grant.delivery, Delivery::Postgres { .. });
            GrantState {
                grant: holder.grant.id.clone(),
                subscriber: holder.grant.subscriber.clone(),
                dataset: holder.grant.dataset.clone(),
                way: way_name(&holder.grant.delivery),
                due: if is_table { holder.inside.len() } else { holder.due },
                delivered: if is_table { holder.table.len() } else { holder.distinct.len() },
                latencies: holder.latencies.clone(),
            }
        };
        self.grants.values().map(state).collect()
    }

    /// True where all that was published has its outcome and every grant holds as much as is due.
    pub fn is_complete(&self) -> bool {
        let settled = |state: &DatasetState| state.published == state.accepted + state.rejected;
        self.dataset_states().iter().all(settled)
            && self.grant_states().iter().all(|state| state.due == state.delivered)
    }

    pub fn close(&self) -> Books {
        let pages: Vec<GrantPages> = self.grants.values().map(|holder| lock(holder).pages()).collect();
        books::close(&lock(&self.datasets), &pages)
    }
}

impl Holder {
    fn pages(&self) -> GrantPages {
        let first = |path: &String| path.split('.').next().unwrap_or_default().to_owned();
        let received = match self.grant.delivery {
            Delivery::Postgres { .. } => Received::Table(self.table.clone()),
            Delivery::Webhook { .. } => Received::Events { arrivals: self.arrivals.clone(), may_repeat: true },
            Delivery::Kafka | Delivery::Pull => Received::Events { arrivals: self.arrivals.clone(), may_repeat: false },
        };
        GrantPages {
            grant: self.grant.id.clone(),
            subscriber: self.grant.subscriber.clone(),
            way: way_name(&self.grant.delivery).to_owned(),
            dataset: self.grant.dataset.clone(),
            filter: self.filter.clone(),
            granted_fields: self.grant.fields.iter().map(first).collect(),
            seen_fields: self.seen_fields.clone(),
            received,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
