//! How far each subscriber is behind its view, in records and in seconds. Measured from outside: committed group offsets
//! (Kafka readers, webhooks) or receipts (database, pull) against the ends of the view's partitions.
//!
//! A Kafka reader chooses its group itself; its lag is known where the group has the grant's id as its name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use freshet_catalog_model::{Catalog, Delivery, Grant};
use freshet_core::{Fault, Replay, ReplayRange, clients, topics};
use freshet_kafka::catalog::CatalogHandle;
use freshet_kafka::reader::Reader;
use freshet_kafka::{Connection, Error, offsets};
use freshet_runtime::CancellationToken;
use serde::Serialize;

use crate::audit::wait;
use crate::metrics::Metrics;
use crate::trail::Trail;

/// One subscriber's lag.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lag {
    pub grant: String,
    pub subscriber: String,
    pub dataset: String,
    /// At most: a transaction's marker between two records takes an offset too.
    pub records: i64,
    /// Since when the oldest record that the subscriber does not have has been waiting.
    pub seconds: f64,
}

#[derive(Debug)]
pub struct Follower {
    pub connection: Connection,
    pub catalog: CatalogHandle,
    pub trail: Arc<Mutex<Trail>>,
    pub lags: Arc<Mutex<Vec<Lag>>>,
    pub metrics: Metrics,
    pub interval: Duration,
    pub stop: CancellationToken,
}

/// One partition of a view as one subscriber sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    view: String,
    partition: i32,
    position: i64,
}

/// A client, and what was found behind positions: the time stamp of the first record, or none up to an end.
struct Instruments {
    reader: Reader,
    first: HashMap<Place, First>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    At {
        timestamp_ms: i64,
    },
    /// Nothing but markers up to here.
    NothingBefore {
        end: i64,
    },
}

impl Follower {
    /// Blocking, until `stop`.
    pub fn run(self) -> Result<(), Fault> {
        let mut instruments: Option<Instruments> = None;
        let mut known: BTreeSet<String> = BTreeSet::new();
        while !self.stop.is_cancelled() {
            self.catalog.check()?;
            let ready = match instruments.take() {
                Some(ready) => Ok(ready),
                None => Instruments::new(&self.connection),
            };
            match ready {
                Ok(mut ready) => {
                    self.measure(&mut ready, &mut known);
                    instruments = Some(ready);
                }
                Err(error) => {
                    self.metrics.errors.with_label_values(&["lag"]).inc();
                    tracing::warn!(%error, "lag cannot be measured now");
                }
            }
            wait(self.interval, &self.stop);
        }
        Ok(())
    }

    fn measure(&self, instruments: &mut Instruments, known: &mut BTreeSet<String>) {
        let snapshot = self.catalog.current();
        let mut lags = Vec::new();
        let mut seen = HashMap::new();
        for grant in snapshot.catalog.active_grants(jiff::Zoned::now().date()) {
            if self.stop.is_cancelled() {
                return;
            }
            match self.of(&snapshot.catalog, grant, instruments, &mut seen) {
                Ok(Some(lag)) => lags.push(lag),
                Ok(None) => {}
                Err(error) => {
                    self.metrics.errors.with_label_values(&["lag"]).inc();
                    tracing::debug!(grant = grant.id, %error, "lag not read");
                }
            }
        }
        // What no subscriber stands at any more is forgotten.
        instruments.first = seen;
        let now: BTreeSet<String> = lags.iter().map(|lag| lag.grant.clone()).collect();
        for gone in known.difference(&now) {
            // An error says that there was none.
            let _ = self.metrics.lag_records.remove_label_values(&[gone]);
            let _ = self.metrics.lag_seconds.remove_label_values(&[gone]);
        }
        for lag in &lags {
            self.metrics.lag_records.with_label_values(&[&lag.grant]).set(lag.records);
            self.metrics.lag_seconds.with_label_values(&[&lag.grant]).set(lag.seconds);
        }
        *known = now;
        *self.lags.lock().unwrap_or_else(PoisonError::into_inner) = lags;
    }

    /// `None` for a Kafka reader whose group is not known.
    fn of(
        &self,
        catalog: &Catalog,
        grant: &Grant,
        instruments: &mut Instruments,
        seen: &mut HashMap<Place, First>,
    ) -> Result<Option<Lag>, Fault> {
        let Some(view) = catalog.views.get(&grant.view) else { return Ok(None) };
        let topic = topics::view(&view.id);
        let positions = match &grant.delivery {
            Delivery::Kafka => committed(&self.connection, &grant.id, &topic)?,
            Delivery::Webhook { .. } => committed(&self.connection, &clients::fanout_group(&grant.id), &topic)?,
            Delivery::Postgres { .. } | Delivery::Pull => {
                self.trail.lock().unwrap_or_else(PoisonError::into_inner).reached(&grant.id, &view.id)
            }
        };
        if positions.is_empty() && grant.delivery == Delivery::Kafka {
            return Ok(None);
        }
        let mut lag = Lag {
            grant: grant.id.clone(),
            subscriber: grant.subscriber.clone(),
            dataset: grant.dataset.clone(),
            records: 0,
            seconds: 0.0,
        };
        for partition in 0..view.partitions {
            let marks = instruments.reader.watermarks(&topic, partition)?;
            let position = positions.get(&partition).copied().unwrap_or(0).max(marks.earliest);
            if position >= marks.end {
                continue;
            }
            let place = Place { view: view.id.clone(), partition, position };
            let first = instruments.first_behind(&place, marks.end)?;
            seen.insert(place, first);
            if let First::At { timestamp_ms } = first {
                lag.records += marks.end - position;
                let age_ms = jiff::Timestamp::now().as_millisecond() - timestamp_ms;
                lag.seconds = lag.seconds.max(age_ms.max(0) as f64 / 1000.0);
            }
        }
        Ok(Some(lag))
    }
}

impl Instruments {
    fn new(connection: &Connection) -> Result<Self, Error> {
        Ok(Self { reader: Reader::sampler(connection)?, first: HashMap::new() })
    }

    /// The first record at or behind a position that is before the end. Transaction markers take offsets, so an end ahead
    /// of the position alone does not say that there is a record.
    fn first_behind(&mut self, place: &Place, end: i64) -> Result<First, Fault> {
        match self.first.get(place) {
            Some(found @ First::At { .. }) => return Ok(*found),
            Some(found @ First::NothingBefore { end: before }) if *before == end => return Ok(*found),
            _ => {}
        }
        let mut first = First::NothingBefore { end };
        let range = ReplayRange { from: place.position, until: Some(end), limit: Some(1) };
        self.reader.replay(&topics::view(&place.view), place.partition, range, &mut |record| {
            first = First::At { timestamp_ms: record.timestamp_ms.unwrap_or(0) };
            Ok(())
        })?;
        Ok(first)
    }
}

fn committed(connection: &Connection, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, Error> {
    let committed = offsets::committed(connection, group, topic)?;
    Ok((0..).zip(committed).filter_map(|(partition, offset)| Some((partition, offset?))).collect())
}
