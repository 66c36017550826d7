//! A service that is a stage in a transactional loop, from its start to its end: catalogue, loop, readiness, watchdog.

use std::time::{Duration, Instant};

use freshet_core::{Fault, Stage};
use freshet_runtime::Context;

use crate::catalog::CatalogHandle;
use crate::transactional::{self, LoopSettings, Status};
use crate::{Connection, LoopMetrics, admin, catalog};

/// A loop that got no further for this long, although the cluster answers, is stuck: longer than every single call of it
/// may take, and a rebuild of the state that reads on is not stuck however long it takes, but where it begins again and again.
const STUCK_AFTER: Duration = Duration::from_secs(90);
/// How much longer `/live` waits, for an end that hangs as well.
const END_LIMIT: Duration = Duration::from_secs(60);
const WATCH_EVERY: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kafka(#[from] crate::Error),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("start the thread of the loop: {0}")]
    Thread(#[from] std::io::Error),
    /// The panic's message and place went to standard error.
    #[error("the loop's thread panicked")]
    Panicked,
    /// A restart begins at the last commit, with new connections.
    #[error("the loop got no further for {seconds} s although the cluster answers; what kept it last: {trouble}")]
    Stuck { seconds: u64, trouble: String },
}

/// Runs until `context.stop` is set, until a fault that no retry mends, or until the loop is stuck. `stage` is made when
/// the catalogue is there. Ready when the group has given the instance its partitions (or none) and their state is
/// rebuilt; `/ready` names which of the two it waits for.
pub async fn serve<S, E>(
    settings: LoopSettings,
    connection: Connection,
    context: Context,
    stage: impl FnOnce(CatalogHandle) -> Result<S, E>,
) -> Result<(), E>
where
    S: Stage + Send + 'static,
    E: From<Error>,
{
    settings.check().map_err(Error::from)?;
    let partitions = format!("{}: partitions", settings.service);
    // Empty while the partitions are held.
    let mut waiting = vec![context.readiness.wait_for(&partitions)];
    let waiting_for_catalogue = context.readiness.wait_for(format!("{}: catalogue", settings.service));
    let metrics = LoopMetrics::new(&context.registry, &settings.service).map_err(Error::from)?;
    let catalogue = catalog::follow(&connection, context.stop.clone()).map_err(Error::from)?;
    tokio::select! {
        ready = catalogue.ready() => drop(ready.map_err(Error::from)?),
        () = context.stop.cancelled() => return Ok(()),
    }
    waiting_for_catalogue.release();

    let mut stage = stage(catalogue.clone())?;
    let service = settings.service.clone();
    let (ended, mut has_ended) = tokio::sync::oneshot::channel();
    let (to, thread_metrics, stop) = (connection.clone(), metrics.clone(), context.stop.clone());
    let thread = std::thread::Builder::new().name(service.clone()).spawn(move || {
        let result = transactional::run(&mut stage, &to, &settings, &thread_metrics, &stop);
        // Nobody listens any more only where `serve` itself was dropped.
        let _ = ended.send(());
        result
    });
    let thread = thread.map_err(Error::from)?;

    let live = context.liveness.watch(format!("{service} loop"), STUCK_AFTER + END_LIMIT);
    let mut watch = Watch { connection, status: metrics.status.clone(), since: Instant::now() };
    let mut holds = metrics.status.holds();
    let mut every = tokio::time::interval(WATCH_EVERY);
    let mut unreadable = None;
    loop {
        tokio::select! {
            _ = &mut has_ended => break,
            changed = holds.changed() => {
                if changed.is_err() {
                    break;
                }
                if *holds.borrow_and_update() {
                    waiting.clear();
                } else if waiting.is_empty() {
                    waiting.push(context.readiness.wait_for(&partitions));
                }
            }
            _ = every.tick() => {
                unreadable = match catalogue.in_force() {
                    Ok(()) => None,
                    Err(_) => unreadable.or_else(|| Some(context.readiness.wait_for(format!("{service}: catalogue")))),
                };
                watch.check(STUCK_AFTER).await?;
                if watch.stalled() < STUCK_AFTER {
                    live.progressed();
                }
            }
        }
    }
    thread.join().map_err(|_| Error::Panicked)?.map_err(Error::from)?;
    Ok(())
}

/// Tells a loop that is stuck from one that waits for a cluster that is away.
struct Watch {
    connection: Connection,
    status: Status,
    /// When the cluster was last away, or the start.
    since: Instant,
}

impl Watch {
    fn stalled(&self) -> Duration {
        self.status.stalled().min(self.since.elapsed())
    }

    async fn check(&mut self, limit: Duration) -> Result<(), Error> {
        let stalled = self.stalled();
        if stalled < limit {
            return Ok(());
        }
        let connection = self.connection.clone();
        let probe = tokio::task::spawn_blocking(move || admin::is_reachable(&connection, PROBE_TIMEOUT));
        match probe.await {
            Ok(Ok(_)) => Err(Error::Stuck { seconds: stalled.as_secs(), trouble: self.trouble() }),
            Ok(Err(_)) | Err(_) => {
                // It came back to life meanwhile, or has nothing to come back to: a restart would mend neither.
                self.since = Instant::now();
                Ok(())
            }
        }
    }

    fn trouble(&self) -> String {
        let (step, trouble) = (self.status.step(), self.status.trouble());
        if trouble.is_empty() { format!("\"{step}\" does not return") } else { format!("{trouble}; now at \"{step}\"") }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    fn watch(connection: Connection) -> Watch {
        Watch { connection, status: Status::default(), since: Instant::now() }
    }

    #[tokio::test]
    async fn a_loop_that_gets_no_further_is_stuck_only_where_the_cluster_answers() {
        let mock = MockCluster::new(1).unwrap();
        let mut here = watch(Connection::to(mock.bootstrap_servers()));
        here.status.kept_by("send offsets: no answer");
        assert!(here.check(Duration::from_secs(60)).await.is_ok(), "within the limit");
        let error = here.check(Duration::ZERO).await.unwrap_err().to_string();
        assert!(error.contains("although the cluster answers") && error.contains("send offsets"), "{error}");
        let mut away = watch(Connection::to("127.0.0.1:1"));
        let before = away.since;
        assert!(away.check(Duration::ZERO).await.is_ok());
        assert!(away.since > before, "the limit begins anew when the cluster is back");
    }
}
