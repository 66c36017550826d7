//! Receipts: what was disclosed, written to `freshet.audit` before it counts as done (P8). While the audit topic cannot
//! be written nothing more is delivered, and `/ready` says so (P10).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use freshet_catalog_model::Grant;
use freshet_core::{Receipt, ReceiptOutcome, Way, topics};
use freshet_kafka::publisher::Publisher;
use freshet_kafka::{OwnedRecord, Record};
use freshet_runtime::{CancellationToken, Latch, Readiness};
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::event;
use crate::metrics::Metrics;
use crate::webhook::retry::Backoff;

const RETRY: Backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5) };
/// CloudEvents ids of one receipt, so that it stays well below the size that a topic takes.
const MAX_ID_BYTES: usize = 256 * 1024;

/// Where receipts go. In production the audit topic; in tests a list.
pub trait AuditLog: Send + Sync + 'static {
    /// Returns when the receipt is durable.
    fn append(&self, receipt: &Receipt) -> BoxFuture<'_, Result<(), String>>;
}

impl AuditLog for Publisher {
    fn append(&self, receipt: &Receipt) -> BoxFuture<'_, Result<(), String>> {
        let value = serde_json::to_vec(receipt).map_err(|error| error.to_string());
        let record = value.map(|value| Record {
            topic: topics::AUDIT.to_owned(),
            key: Some(receipt.grant.clone().into_bytes()),
            value: Some(value),
            headers: [("content-type", "application/json")].into_iter().collect(),
            ..Record::default()
        });
        Box::pin(async move { self.publish(record?).await.map(drop).map_err(|error| error.to_string()) })
    }
}

/// The receipt was not written because the service or the subscription is ending: the delivery does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped before the receipt was written")]
pub struct Unwritten;

/// Cheap to clone; clones share the log and its state.
#[derive(Clone)]
pub struct Receipts {
    log: Arc<dyn AuditLog>,
    health: Arc<Health>,
    metrics: Metrics,
    max_events: usize,
}

struct Health {
    /// How many writers are trying in vain. The topic counts as writable while there is none.
    failing: watch::Sender<usize>,
    readiness: Readiness,
    latch: Mutex<Option<Latch>>,
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipts").field("failing", &*self.health.failing.borrow()).finish_non_exhaustive()
    }
}

impl Receipts {
    pub fn new(log: Arc<dyn AuditLog>, readiness: Readiness, metrics: Metrics, max_events: usize) -> Self {
        let health = Health { failing: watch::channel(0).0, readiness, latch: Mutex::new(None) };
        Self { log, health: Arc::new(health), metrics, max_events: max_events.max(1) }
    }

    /// Whether nothing is known that speaks against it.
    pub fn is_writable(&self) -> bool {
        *self.health.failing.borrow() == 0
    }

    /// Waits while the audit topic is known to be unwritable, so that nothing is sent that could not be receipted.
    pub async fn writable(&self) {
        if self.is_writable() {
            return;
        }
        // The sender lives in `self`, so waiting ends only when it is writable.
        let _ = self.health.failing.subscribe().wait_for(|failing| *failing == 0).await;
    }

    /// Writes one receipt, again and again until it is durable or `stop` is set.
    pub async fn write(&self, receipt: &Receipt, stop: &CancellationToken) -> Result<(), Unwritten> {
        let mut failing = None;
        for attempt in 0.. {
            let appended = stop.run_until_cancelled(self.log.append(receipt)).await.ok_or(Unwritten)?;
            let Err(reason) = appended else { break };
            failing.get_or_insert_with(|| Failing::new(&self.health, &reason));
            self.metrics.receipt_failures.with_label_values(&[receipt.way.as_str()]).inc();
            let wait = tokio::time::sleep(RETRY.wait(attempt, fastrand::f64()));
            stop.run_until_cancelled(wait).await.ok_or(Unwritten)?;
        }
        drop(failing);
        self.metrics.receipts.with_label_values(&[receipt.way.as_str()]).inc();
        Ok(())
    }

    /// Writes the receipts of a batch that was, or is about to be, disclosed as a whole.
    pub async fn write_batch(
        &self,
        grant: &Grant,
        outcome: ReceiptOutcome,
        records: &[OwnedRecord],
        stop: &CancellationToken,
    ) -> Result<(), Unwritten> {
        let way = way_of(grant);
        let receipts = receipts_of(grant, (way, outcome), records.iter().map(Delivered::of), self.max_events);
        futures::future::try_join_all(receipts.iter().map(|receipt| self.write(receipt, stop))).await?;
        Ok(())
    }

    /// The same for a disclosure that took place, or may: written also where the caller is stopped meanwhile, or does not
    /// wait at all. What is returned ends when the receipts are durable.
    pub fn write_by_all_means(
        &self,
        grant: &Arc<Grant>,
        outcome: ReceiptOutcome,
        records: &[OwnedRecord],
    ) -> impl Future<Output = Result<(), Unwritten>> + Send + use<> {
        let delivered: Vec<Delivered> = records.iter().map(Delivered::of).collect();
        let (receipts, grant) = (self.clone(), Arc::clone(grant));
        let writing = tokio::spawn(async move {
            let written = receipts_of(&grant, (way_of(&grant), outcome), delivered.into_iter(), receipts.max_events);
            let never = CancellationToken::new();
            futures::future::try_join_all(written.iter().map(|receipt| receipts.write(receipt, &never))).await.map(drop)
        });
        async move { writing.await.unwrap_or(Err(Unwritten)) }
    }
}

/// Held by a writer from its first failure until it succeeds or gives up.
struct Failing(Arc<Health>);

impl Failing {
    fn new(health: &Arc<Health>, reason: &str) -> Self {
        health.failing.send_modify(|failing| {
            *failing += 1;
            if *failing == 1 {
                tracing::error!(reason, "receipts cannot be written to the audit topic: delivery waits");
                let latch = health.readiness.wait_for("audit topic");
                *health.latch.lock().unwrap_or_else(PoisonError::into_inner) = Some(latch);
            }
        });
        Self(Arc::clone(health))
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.failing.send_modify(|failing| {
            *failing -= 1;
            if *failing == 0 {
                tracing::info!("receipts are written again: delivery goes on");
                drop(self.0.latch.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
        });
    }
}

/// What a receipt keeps of a record.
#[derive(Debug, Clone)]
struct Delivered {
    partition: i32,
    offset: i64,
    id: String,
}

impl Delivered {
    fn of(record: &OwnedRecord) -> Self {
        Self { partition: record.partition, offset: record.offset, id: event::event_id(record).into_owned() }
    }
}

pub(crate) fn way_of(grant: &Grant) -> Way {
    match grant.delivery {
        freshet_catalog_model::Delivery::Webhook { .. } => Way::Webhook,
        freshet_catalog_model::Delivery::Postgres { .. } => Way::Postgres,
        // A Kafka subscriber reads its topic itself and comes here only by pulling.
        freshet_catalog_model::Delivery::Pull | freshet_catalog_model::Delivery::Kafka => Way::Pull,
    }
}

/// One receipt a partition, or several where there are many events.
fn receipts_of(
    grant: &Grant,
    (way, outcome): (Way, ReceiptOutcome),
    delivered: impl Iterator<Item = Delivered>,
    max_events: usize,
) -> Vec<Receipt> {
    let mut partitions: BTreeMap<i32, Vec<Delivered>> = BTreeMap::new();
    for one in delivered {
        partitions.entry(one.partition).or_default().push(one);
    }
    let at = jiff::Timestamp::now().to_string();
    let mut receipts = Vec::new();
    for (partition, mut all) in partitions {
        all.sort_by_key(|one| one.offset);
        for part in parts(all, max_events) {
            let offsets: Vec<i64> = part.iter().map(|one| one.offset).collect();
            let (Some(&first_offset), Some(&last_offset)) = (offsets.first(), offsets.last()) else { continue };
            receipts.push(Receipt {
                grant: grant.id.clone(),
                subscriber: grant.subscriber.clone(),
                purpose: grant.purpose.clone(),
                legal_basis: grant.legal_basis.clone(),
                dataset: grant.dataset.clone(),
                view: grant.view.clone(),
                partition,
                first_offset,
                last_offset,
                count: u32::try_from(part.len()).unwrap_or(u32::MAX),
                // The other ways disclose everything between the first and the last.
                offsets: if way == Way::Webhook && part.len() > 1 { offsets } else { Vec::new() },
                events: part.into_iter().map(|one| one.id).collect(),
                way,
                at: at.clone(),
                outcome,
            });
        }
    }
    receipts
}

fn parts(all: Vec<Delivered>, max_events: usize) -> Vec<Vec<Delivered>> {
    let mut parts: Vec<Vec<Delivered>> = Vec::new();
    let mut id_bytes = 0;
    for one in all {
        id_bytes += one.id.len();
        match parts.last_mut() {
            Some(part) if part.len() < max_events && id_bytes <= MAX_ID_BYTES => part.push(one),
            _ => {
                id_bytes = one.id.len();
                parts.push(vec![one]);
            }
        }
    }
    parts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::event::tests::record;

    /// An audit log in memory that can be made to fail.
    #[derive(Debug, Default)]
    pub(crate) struct Memory {
        pub receipts: Mutex<Vec<Receipt>>,
        pub failing: std::sync::atomic::AtomicBool,
    }

    impl AuditLog for Memory {
        fn append(&self, receipt: &Receipt) -> BoxFuture<'_, Result<(), String>> {
            let failing = self.failing.load(std::sync::atomic::Ordering::SeqCst);
            if !failing {
                self.receipts.lock().unwrap_or_else(PoisonError::into_inner).push(receipt.clone());
            }
            Box::pin(async move { if failing { Err("down".to_owned()) } else { Ok(()) } })
        }
    }

    pub(crate) fn grant(delivery: freshet_catalog_model::Delivery) -> Grant {
        Grant {
            id: "tax-permits".to_owned(),
            subscriber: "tax".to_owned(),
            dataset: "permits".to_owned(),
            fields: vec!["number".to_owned(), "status".to_owned()],
            masks: BTreeMap::new(),
            rows: None,
            purpose: "assessment".to_owned(),
            legal_basis: "law, art. 1".to_owned(),
            valid_from: jiff::civil::date(2020, 1, 1),
            valid_until: jiff::civil::date(2099, 12, 31),
            status: freshet_catalog_model::GrantStatus::Active,
            delivery,
            view: "permits.0123456789ab".to_owned(),
        }
    }

    fn receipts(log: &Arc<Memory>, readiness: &Readiness) -> Receipts {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
        Receipts::new(Arc::clone(log) as Arc<dyn AuditLog>, readiness.clone(), metrics, 100)
    }

    #[tokio::test]
    async fn a_batch_shares_a_receipt_with_exact_offsets() {
        let (log, readiness) = (Arc::new(Memory::default()), Readiness::default());
        let webhook = freshet_catalog_model::Delivery::Webhook { url: String::new(), secret: String::new() };
        let (receipts, grant) = (receipts(&log, &readiness), Arc::new(grant(webhook)));
        let batch = [record(4, false), record(9, true), record(6, false)];
        assert_eq!(receipts.write_by_all_means(&grant, ReceiptOutcome::Delivered, &batch).await, Ok(()));
        let written = log.receipts.lock().expect("a list").clone();
        let [receipt] = &written[..] else { panic!("{written:?}") };
        let offsets: Vec<i64> = [4, 5, 6, 7, 9].into_iter().filter(|offset| receipt.covers(0, *offset)).collect();
        assert_eq!(offsets, [4, 6, 9]);
        assert!(receipt.events.iter().any(|id| id == "e-9"));
    }

    #[tokio::test]
    async fn a_disclosure_is_receipted_also_where_nobody_waits_for_it_any_more() {
        let (log, readiness) = (Arc::new(Memory::default()), Readiness::default());
        log.failing.store(true, std::sync::atomic::Ordering::SeqCst);
        let (receipts, grant) = (receipts(&log, &readiness), Arc::new(grant(freshet_catalog_model::Delivery::Pull)));
        let batch = [record(1, false)];
        let mut write = Box::pin(receipts.write_by_all_means(&grant, ReceiptOutcome::Delivered, &batch));
        while readiness.is_ready() {
            assert!(futures::poll!(&mut write).is_pending());
            tokio::task::yield_now().await;
        }
        drop(write);
        log.failing.store(false, std::sync::atomic::Ordering::SeqCst);
        receipts.writable().await;
        assert!(log.receipts.lock().expect("a list")[0].covers(0, 1));
    }

    #[tokio::test]
    async fn an_unwritable_audit_topic_holds_everything_back_and_shows_on_ready() {
        let (log, readiness) = (Arc::new(Memory::default()), Readiness::default());
        let receipts = receipts(&log, &readiness);
        log.failing.store(true, std::sync::atomic::Ordering::SeqCst);
        let stop = CancellationToken::new();
        let grant = grant(freshet_catalog_model::Delivery::Pull);
        let batch = [record(1, false)];
        let write = receipts.write_batch(&grant, ReceiptOutcome::Released, &batch, &stop);
        let mut write = std::pin::pin!(write);
        while readiness.is_ready() {
            assert!(futures::poll!(&mut write).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(readiness.waiting_for(), ["audit topic"]);
        assert!(futures::poll!(std::pin::pin!(receipts.writable())).is_pending());
        log.failing.store(false, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(write.await, Ok(()));
        receipts.writable().await;
        assert!(readiness.is_ready());
        assert!(log.receipts.lock().expect("a list")[0].covers(0, 1));
    }

    #[test]
    fn a_large_batch_becomes_several_receipts() {
        let records: Vec<OwnedRecord> = (0..250).map(|offset| record(offset, false)).collect();
        let grant = grant(freshet_catalog_model::Delivery::Pull);
        let delivered = records.iter().map(Delivered::of);
        let receipts = receipts_of(&grant, (Way::Pull, ReceiptOutcome::Released), delivered, 100);
        let spans: Vec<_> = receipts.iter().map(|r| (r.first_offset, r.last_offset, r.count)).collect();
        assert_eq!(spans, [(0, 99, 100), (100, 199, 100), (200, 249, 50)]);
    }
}
