//! From the first signal to the exit code: services are asked to stop, get a limit to finish in, and whoever does not
//! keep it is named.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::{CancellationToken, Readiness};

/// How long services may take to finish, where the setting says nothing: less than Kubernetes' 30 s until SIGKILL.
pub const STOP_LIMIT: Duration = Duration::from_secs(25);

/// Exit codes of a process that ran services, beside 0 for a stop as asked.
pub const EXIT_FAILED: i32 = 1;
pub const EXIT_HUNG: i32 = 4;

/// Services that run until one of them fails or `stop` is cancelled.
#[derive(Debug, Default)]
pub struct Services {
    tasks: JoinSet<(String, Result<(), String>)>,
    running: Vec<String>,
    readiness: Readiness,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything finished as asked.
    Stopped,
    /// These services ended with an error, or before they were asked to; the others were stopped.
    Failed(Vec<Failure>),
    /// These were still busy when the limit was over. What failed before that is listed too.
    Hung { services: Vec<String>, limit: Duration, failures: Vec<Failure> },
}

#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub service: String,
    pub reason: String,
}

impl Ending {
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Stopped => 0,
            Self::Failed(_) => EXIT_FAILED,
            Self::Hung { .. } => EXIT_HUNG,
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let join = |failures: &[Failure]| {
            failures.iter().map(|failure| format!("{}: {}", failure.service, failure.reason)).collect::<Vec<_>>()
        };
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Failed(failures) => f.write_str(&join(failures).join("; ")),
            Self::Hung { services, limit, failures } => {
                write!(f, "not finished after {} s: {}", limit.as_secs(), services.join(", "))?;
                for failure in join(failures) {
                    write!(f, "; {failure}")?;
                }
                Ok(())
            }
        }
    }
}

impl Services {
    pub fn new(readiness: Readiness) -> Self {
        Self { readiness, ..Self::default() }
    }

    /// Starts one. It must end soon after `stop` is cancelled, and not before. Nothing is ready until it has said what it
    /// waits for, which it does before it first waits.
    pub fn start<E: std::fmt::Display>(
        &mut self,
        name: impl Into<String>,
        service: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let name = name.into();
        self.running.push(name.clone());
        let mut starting = Some(self.readiness.wait_for(format!("{name}: start")));
        self.tasks.spawn(async move {
            let mut service = pin!(service);
            let result = poll_fn(|context| {
                let polled = service.as_mut().poll(context);
                starting = None;
                polled
            });
            (name, result.await.map_err(|error| error.to_string()))
        });
    }

    /// Waits until `stop` is cancelled or a service ends by itself (which stops the others), then up to `limit` for the
    /// rest.
    pub async fn finish(mut self, stop: &CancellationToken, limit: Duration) -> Ending {
        let mut failures = Vec::new();
        loop {
            tokio::select! {
                // First: whoever ends because of the stop, however fast, was asked to.
                biased;
                () = stop.cancelled() => break,
                ended = self.tasks.join_next() => match ended {
                    None => break,
                    Some(ended) => {
                        let (service, result) = self.note(ended);
                        let reason = result.err().unwrap_or_else(|| "ended without being asked to".to_owned());
                        failures.push(Failure { service, reason });
                        stop.cancel();
                    }
                },
            }
        }
        let rest = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let (service, Err(reason)) = self.note(ended) {
                    failures.push(Failure { service, reason });
                }
            }
        };
        if tokio::time::timeout(limit, rest).await.is_err() {
            self.tasks.abort_all();
            return Ending::Hung { services: self.running, limit, failures };
        }
        if failures.is_empty() { Ending::Stopped } else { Ending::Failed(failures) }
    }

    fn note(
        &mut self,
        ended: Result<(String, Result<(), String>), tokio::task::JoinError>,
    ) -> (String, Result<(), String>) {
        match ended {
            Ok((name, result)) => {
                self.running.retain(|running| *running != name);
                (name, result)
            }
            // The panic's own message went to standard error with its place.
            Err(error) => ("a service".to_owned(), Err(format!("panicked: {error}"))),
        }
    }
}

/// Cancels `stop` at the first SIGTERM or SIGINT. A second one ends the process at once, for whoever cannot wait.
pub fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "stopping");
        stop.cancel();
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::warn!(
            signal = name,
            "second signal: ending at once, unfinished batches are taken up at the next start"
        );
        std::process::exit(EXIT_HUNG);
    });
    Ok(())
}

async fn either(
    terminate: &mut tokio::signal::unix::Signal,
    interrupt: &mut tokio::signal::unix::Signal,
) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn until(stop: CancellationToken) -> Result<(), Infallible> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn a_signal_stops() {
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone()).unwrap();
        let own = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &own]).status().unwrap().success());
        assert!(tokio::time::timeout(Duration::from_secs(10), stop.cancelled()).await.is_ok());
    }

    #[tokio::test]
    async fn a_stop_as_asked_is_no_error() {
        let stop = CancellationToken::new();
        let mut services = Services::new(Readiness::default());
        services.start("router", until(stop.clone()));
        stop.cancel();
        let ending = services.finish(&stop, STOP_LIMIT).await;
        assert_eq!((ending.exit_code(), ending), (0, Ending::Stopped));
    }

    #[tokio::test]
    async fn nothing_is_ready_before_it_has_said_what_it_waits_for() {
        let (stop, readiness) = (CancellationToken::new(), Readiness::default());
        let mut services = Services::new(readiness.clone());
        let (waits, end) = (readiness.clone(), stop.clone());
        services.start("router", async move {
            let _catalogue = waits.wait_for("catalogue");
            until(end).await
        });
        assert_eq!(readiness.waiting_for(), ["router: start"]);
        tokio::task::yield_now().await;
        assert_eq!(readiness.waiting_for(), ["catalogue"]);
        stop.cancel();
        services.finish(&stop, STOP_LIMIT).await;
    }

    #[tokio::test]
    async fn one_failure_stops_the_others_and_is_named() {
        let stop = CancellationToken::new();
        let mut services = Services::new(Readiness::default());
        services.start("router", until(stop.clone()));
        services.start("validator", async { Err("fenced") });
        let ending = services.finish(&stop, STOP_LIMIT).await;
        assert_eq!(ending.to_string(), "validator: fenced");
        assert_eq!(ending.exit_code(), EXIT_FAILED);
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn ending_unasked_is_a_failure() {
        let stop = CancellationToken::new();
        let mut services = Services::new(Readiness::default());
        services.start("observer", async { Ok::<_, Infallible>(()) });
        let ending = services.finish(&stop, STOP_LIMIT).await;
        assert_eq!(ending.to_string(), "observer: ended without being asked to");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let stop = CancellationToken::new();
        let mut services = Services::new(Readiness::default());
        services.start("observer", async {
            let nothing: Option<()> = None;
            nothing.map(Ok::<_, Infallible>).unwrap()
        });
        assert_eq!(services.finish(&stop, STOP_LIMIT).await.exit_code(), EXIT_FAILED);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_is_named() {
        let stop = CancellationToken::new();
        let mut services = Services::new(Readiness::default());
        services.start("router", until(stop.clone()));
        services.start("fanout", std::future::pending::<Result<(), Infallible>>());
        stop.cancel();
        let ending = services.finish(&stop, STOP_LIMIT).await;
        assert_eq!(ending.to_string(), "not finished after 25 s: fanout");
        assert_eq!(ending.exit_code(), EXIT_HUNG);
    }
}
