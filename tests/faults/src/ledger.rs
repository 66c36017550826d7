//! Where publishers and receivers note what they saw, while it happens. It lies outside the bus.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use freshet_catalog_model::{Delivery as DeliveryOf, Grant};
use freshet_demo::filter::Filter;

use crate::history::{Acknowledged, Canonical, Delivery, GrantHistory, History, Millis, Refused, Way};

pub fn now() -> Millis {
    jiff::Timestamp::now().as_millisecond()
}

#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
    troubles: Mutex<BTreeMap<String, usize>>,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    grants: HashMap<String, usize>,
}

impl Ledger {
    pub fn add_dataset(&self, dataset: &str) {
        self.state().history.datasets.entry(dataset.to_owned()).or_default();
    }

    pub fn add_grant(&self, grant: &Grant) -> anyhow::Result<()> {
        let filter = Filter::read(grant.rows.as_deref()).map_err(anyhow::Error::msg)?;
        let first = |path: &String| path.split('.').next().unwrap_or_default().to_owned();
        let plain = |path: &&String| !path.contains('.') && !grant.masks.contains_key(*path);
        let way = match &grant.delivery {
            DeliveryOf::Kafka | DeliveryOf::Pull => Way::Once,
            DeliveryOf::Webhook { .. } => Way::AtLeastOnce,
            DeliveryOf::Postgres { .. } => Way::Table,
        };
        let mut state = self.state();
        let place = state.history.grants.len();
        state.grants.insert(grant.id.clone(), place);
        state.history.grants.push(GrantHistory {
            grant: grant.id.clone(),
            dataset: grant.dataset.clone(),
            way,
            filter,
            fields: grant.fields.iter().map(first).collect(),
            plain_fields: grant.fields.iter().filter(plain).cloned().collect(),
            ended: None,
            deliveries: Vec::new(),
        });
        Ok(())
    }

    pub fn end_grant(&self, grant: &str, at: Millis) {
        let mut state = self.state();
        if let Some(place) = state.grants.get(grant).copied() {
            state.history.grants[place].ended = Some(at);
        }
    }

    /// Ids and keys, in the order in which they were published.
    pub fn acknowledged(&self, dataset: &str, events: impl IntoIterator<Item = (String, String)>) {
        let at = now();
        if let Some(dataset) = self.state().history.datasets.get_mut(dataset) {
            dataset.acknowledged.extend(events.into_iter().map(|(id, key)| Acknowledged { id, key, at }));
        }
    }

    pub fn accepted(&self, dataset: &str, event: Canonical) {
        if let Some(dataset) = self.state().history.datasets.get_mut(dataset) {
            dataset.canonical.push(event);
        }
    }

    pub fn refused(&self, dataset: &str, event: Refused) {
        if let Some(dataset) = self.state().history.datasets.get_mut(dataset) {
            dataset.refused.push(event);
        }
    }

    pub fn delivered(&self, grant: &str, delivery: Delivery) {
        let mut state = self.state();
        if let Some(place) = state.grants.get(grant).copied() {
            state.history.grants[place].deliveries.push(delivery);
        }
    }

    /// The fields that may arrive whole and unmasked.
    pub fn plain_fields(&self, grant: &str) -> BTreeSet<String> {
        let state = self.state();
        let grant = state.grants.get(grant).map(|place| &state.history.grants[*place]);
        grant.map(|grant| grant.plain_fields.clone()).unwrap_or_default()
    }

    /// Something that a department could not do. Each is told once, with how often.
    pub fn trouble(&self, text: String) {
        *self.troubles.lock().unwrap_or_else(PoisonError::into_inner).entry(text).or_default() += 1;
    }

    pub fn troubles(&self) -> BTreeMap<String, usize> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at what was seen so far. Nobody can note anything meanwhile.
    pub fn look<T>(&self, at: impl FnOnce(&History) -> T) -> T {
        at(&self.state().history)
    }

    /// Acknowledged, with an outcome, delivered.
    pub fn counts(&self) -> (usize, usize, usize) {
        self.look(|history| {
            let datasets = history.datasets.values();
            let acknowledged = datasets.clone().map(|dataset| dataset.acknowledged.len()).sum();
            let outcomes = datasets.map(|dataset| dataset.canonical.len() + dataset.refused.len()).sum();
            (acknowledged, outcomes, history.grants.iter().map(|grant| grant.deliveries.len()).sum())
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
