//! Follows the catalogue: one task per active grant with a delivery that the bus makes, started when the grant begins,
//! stopped within 5 s when it ends, is suspended or changes (P9), or when the catalogue cannot be read, which may mean any
//! of these. Tasks share nothing that one of them could hold up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_catalog_model::{Catalog, Delivery, Grant, View};
use freshet_core::Fault;
use freshet_kafka::window::WindowEnd;
use freshet_runtime::{Latch, Readiness};
use futures::future::join_all;
use tokio::task::JoinHandle;

use crate::secrets::SecretFile;
use crate::subscription::{State, Subscription};
use crate::webhook::retry::Backoff;
use crate::{Shared, postgres, receipts, webhook};

/// Grants also begin and end by their dates, and the catalogue may become unreadable; no change announces either.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a revoked task may take to end by itself.
const REVOCATION_LIMIT: Duration = Duration::from_secs(4);
/// How long all tasks together may take when the process stops.
const STOP_LIMIT: Duration = Duration::from_secs(22);
/// How often a parked subscription looks whether its secret has changed.
const SECRET_EVERY: Duration = Duration::from_secs(1);
/// Before Kafka is tried again for one subscription.
const FAULT_BACKOFF: Backoff = Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(10) };

/// A fault of the bus itself is not the subscriber's to mend: it is tried again sooner than one that the subscriber has.
const FATAL_RESUME: Duration = Duration::from_secs(60);

struct Running {
    subscription: Arc<Subscription>,
    /// The view as it was when the task began: a new schema starts the task anew.
    view: Option<View>,
    task: JoinHandle<()>,
}

/// Runs until the service stops, or the catalogue cannot be followed any more (P10).
pub(crate) async fn run(shared: &Arc<Shared>, readiness: &Readiness) -> Result<(), Fault> {
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    let mut changes = shared.catalog.changes();
    let mut unreadable: Option<Latch> = None;
    let result = loop {
        match shared.catalog.in_force() {
            Ok(()) => {
                unreadable = None;
                apply(shared, &mut running).await;
            }
            Err(Fault::Retry { reason, .. }) => {
                if unreadable.is_none() {
                    tracing::error!(
                        reason,
                        subscriptions = running.len(),
                        "no delivery until the catalogue is read again"
                    );
                    unreadable = Some(readiness.wait_for("catalogue"));
                }
                let seen = Instant::now();
                join_all(std::mem::take(&mut running).into_values().map(|one| stop(shared, one, seen))).await;
            }
            Err(fault @ Fault::Fatal { .. }) => break Err(fault),
        }
        tokio::select! {
            () = shared.stop.cancelled() => break Ok(()),
            // A closed channel means that its sender ended with the process's stop.
            _ = changes.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    };
    for one in running.values() {
        match &result {
            Ok(()) => one.subscription.stop.cancel(),
            Err(_) => one.subscription.revoke(),
        }
    }
    let aborts: Vec<_> = running.values().map(|one| one.task.abort_handle()).collect();
    let tasks = join_all(running.into_values().map(|one| one.task));
    if tokio::time::timeout(STOP_LIMIT, tasks).await.is_err() {
        tracing::warn!("subscriptions were still busy when the limit was over; what they had under way comes again");
        aborts.iter().for_each(tokio::task::AbortHandle::abort);
    }
    result
}

/// Makes what runs the same as what the catalogue asks for.
async fn apply(shared: &Arc<Shared>, running: &mut BTreeMap<String, Running>) {
    let snapshot = shared.catalog.current();
    let wanted = wanted(&snapshot.catalog, jiff::Zoned::now().date());
    let ended: Vec<String> = running
        .iter()
        .filter(|(id, one)| {
            let same = |grant: &&Grant| {
                **grant == one.subscription.grant && snapshot.catalog.views.get(&grant.view) == one.view.as_ref()
            };
            !wanted.get(id.as_str()).is_some_and(same) || one.task.is_finished()
        })
        .map(|(id, _)| id.clone())
        .collect();
    let seen = Instant::now();
    let stopping = ended.iter().filter_map(|id| running.remove(id)).map(|one| stop(shared, one, seen));
    join_all(stopping).await;
    for (id, grant) in wanted {
        if running.contains_key(id) {
            continue;
        }
        let subscription = Subscription::new(grant.clone(), &shared.stop);
        shared.subscriptions.insert(Arc::clone(&subscription));
        shared.metrics.subscriptions.with_label_values(&[receipts::way_of(grant).as_str()]).inc();
        tracing::info!(grant = id, way = receipts::way_of(grant).as_str(), "subscription begins");
        let task = tokio::spawn(supervise(Arc::clone(shared), Arc::clone(&subscription)));
        running.insert(
            id.to_owned(),
            Running { subscription, view: snapshot.catalog.views.get(&grant.view).cloned(), task },
        );
    }
}

fn wanted(catalog: &Catalog, today: jiff::civil::Date) -> BTreeMap<&str, &Grant> {
    catalog
        .active_grants(today)
        .filter(|grant| matches!(grant.delivery, Delivery::Webhook { .. } | Delivery::Postgres { .. }))
        .map(|grant| (grant.id.as_str(), grant))
        .collect()
}

/// Ends one subscription and waits until it has ended.
async fn stop(shared: &Shared, one: Running, seen: Instant) {
    let grant = &one.subscription.grant;
    one.subscription.revoke();
    let mut task = one.task;
    if tokio::time::timeout(REVOCATION_LIMIT, &mut task).await.is_err() {
        task.abort();
        // As where Kafka is away and the catalogue cannot be read.
        tracing::warn!(grant = grant.id, "a subscription still waited for an answer and was broken off");
    }
    shared.subscriptions.remove(&grant.id);
    shared.metrics.forget(&grant.id);
    shared.metrics.subscriptions.with_label_values(&[receipts::way_of(grant).as_str()]).dec();
    shared.metrics.revocation.observe(seen.elapsed().as_secs_f64());
    tracing::info!(grant = grant.id, "subscription ended");
}

/// One subscription's life: deliver, park, resume.
async fn supervise(shared: Arc<Shared>, subscription: Arc<Subscription>) {
    let grant = subscription.grant.id.clone();
    let parked = shared.metrics.parked.with_label_values(&[&grant]);
    let mut faults = 0;
    while !subscription.stop.is_cancelled() {
        parked.set(0);
        subscription.set(State::Running);
        let ended = deliver(&shared, &subscription).await;
        if subscription.stop.is_cancelled() {
            return;
        }
        match ended {
            Ok(WindowEnd::Stopped) => {}
            Ok(WindowEnd::Parked { reason }) => {
                faults = 0;
                parked.set(1);
                let after = match subscription.grant.delivery {
                    Delivery::Postgres { .. } => shared.config.postgres.resume_after_ms,
                    _ => shared.config.webhook.resume_after_ms,
                };
                park(&shared, &subscription, &reason, Duration::from_millis(after)).await;
            }
            Err(Fault::Retry { reason, .. }) => {
                shared.metrics.error(&grant, "kafka");
                subscription.retrying(&reason);
                tracing::warn!(grant, reason, "the view cannot be read now, trying again");
                let wait = FAULT_BACKOFF.wait(faults, fastrand::f64());
                faults = faults.saturating_add(1);
                let _ = subscription.stop.run_until_cancelled(tokio::time::sleep(wait)).await;
            }
            // Fatal for this subscription; the others have nothing to do with it.
            Err(fault @ Fault::Fatal { .. }) => {
                shared.metrics.error(&grant, "fatal");
                parked.set(1);
                park(&shared, &subscription, &fault.to_string(), FATAL_RESUME).await;
            }
        }
    }
}

async fn deliver(shared: &Shared, subscription: &Arc<Subscription>) -> Result<WindowEnd, Fault> {
    match secret(shared, &subscription.grant) {
        Err(reason) => Ok(WindowEnd::Parked { reason }),
        Ok(None) => Ok(WindowEnd::Stopped),
        Ok(Some((target, secret))) => match subscription.grant.delivery {
            Delivery::Postgres { .. } => postgres::run(shared, subscription, (target, &secret)).await,
            _ => webhook::run(shared, subscription, (target, &secret)).await,
        },
    }
}

/// Where a grant is delivered to, and the secret that this needs.
fn secret<'a>(shared: &Shared, grant: &'a Grant) -> Result<Option<(&'a str, SecretFile)>, String> {
    let (target, name) = match &grant.delivery {
        Delivery::Webhook { url, secret } => (url, secret),
        Delivery::Postgres { connection, table } => (table, connection),
        Delivery::Kafka | Delivery::Pull => return Ok(None),
    };
    let secret = SecretFile::named(&shared.config.secrets_dir, name).map_err(|error| error.to_string())?;
    Ok(Some((target, secret)))
}

/// Waits, with everything kept, until somebody resumes it, its secret changes, a long time is over, or it ends.
async fn park(shared: &Shared, subscription: &Subscription, reason: &str, after: Duration) {
    let grant = &subscription.grant;
    tracing::warn!(grant = grant.id, subscriber = grant.subscriber, reason, "subscriber parked, nothing is lost");
    subscription.park(reason, after);
    let secret = secret(shared, grant).ok().flatten().map(|(_, secret)| secret);
    let before = secret.as_ref().map(SecretFile::stamp);
    let secret_changes = async {
        while secret.as_ref().map(SecretFile::stamp) == before {
            tokio::time::sleep(SECRET_EVERY).await;
        }
    };
    let why = tokio::select! {
        () = subscription.stop.cancelled() => return,
        () = subscription.resumed() => "asked to",
        () = secret_changes => "its secret has changed",
        () = tokio::time::sleep(after) => "its time is over",
    };
    tracing::info!(grant = grant.id, why, "parked subscriber resumed");
}
