//! The threads of a process that runs services, and two ways in which they may not hold it up. Work that blocks a thread
//! for good must not keep a process alive that has ended, for then nobody starts it again; and where all threads are
//! blocked, the process can neither answer a probe nor notice it, so one outside of them looks.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};

use crate::run::EXIT_HUNG;

/// How long the process waits at its end for work that blocks a thread. With `admin.stop_limit_seconds` less than
/// Kubernetes' 30 s until SIGKILL.
const END_LIMIT: Duration = Duration::from_secs(3);
/// How often it is looked whether tasks run, and how many looks in vain are too many: longer than any call may take.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS: u32 = 60;

/// A runtime that ends when it is dropped, whatever its threads do.
#[derive(Debug)]
pub struct Threads {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    _guard: Guard,
}

impl Threads {
    /// Where no task has run for a minute, the process ends with [`EXIT_HUNG`].
    pub fn start() -> io::Result<Self> {
        Self::of(Runtime::new()?, LOOK_EVERY, LOOKS, || {
            let seconds = LOOK_EVERY.as_secs() * u64::from(LOOKS);
            tracing::error!(seconds, "no task has run, all threads are blocked: ending, so that a new start mends it");
            std::process::exit(EXIT_HUNG);
        })
    }

    fn of(runtime: Runtime, every: Duration, looks: u32, silent: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let guard = guard(runtime.handle().clone(), every, looks, silent)?;
        Ok(Self { runtime: Some(runtime), _guard: guard })
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("it is taken when it is dropped, and not before"),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(END_LIMIT);
        }
    }
}

/// Ends the looking when it is dropped.
#[derive(Debug)]
struct Guard {
    _over: mpsc::Sender<()>,
}

fn guard(runtime: Handle, every: Duration, looks: u32, silent: impl FnOnce() + Send + 'static) -> io::Result<Guard> {
    let (sender, over) = mpsc::channel();
    std::thread::Builder::new().name("guard".to_owned()).spawn(move || {
        let answered = Arc::new(AtomicBool::new(true));
        let mut in_vain = 0;
        while over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            // Looks are counted, not seconds: a process that was stopped for a while was not silent.
            if answered.swap(false, Ordering::SeqCst) {
                in_vain = 0;
                let answered = Arc::clone(&answered);
                runtime.spawn(async move { answered.store(true, Ordering::SeqCst) });
                continue;
            }
            in_vain += 1;
            if in_vain >= looks {
                return silent();
            }
        }
    })?;
    Ok(Guard { _over: sender })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const EVERY: Duration = Duration::from_millis(5);
    const LIMIT: Duration = Duration::from_secs(30);

    fn one_worker() -> Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    #[test]
    fn where_the_only_worker_is_blocked_somebody_notices() {
        let (told, silent) = mpsc::channel();
        let (unblock, blocked) = mpsc::channel::<()>();
        let threads = Threads::of(one_worker(), EVERY, 10, move || told.send(()).unwrap()).unwrap();
        threads.block_on(async { drop(tokio::spawn(async move { blocked.recv() })) });
        assert_eq!(silent.recv_timeout(LIMIT), Ok(()));
        drop(unblock);
    }

    #[test]
    fn one_that_runs_tasks_is_left_alone() {
        let (told, silent) = mpsc::channel();
        // So many looks that this machine would have to stand still for a second.
        let threads = Threads::of(one_worker(), EVERY, 200, move || told.send(()).unwrap()).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < 40 * EVERY {
            threads.block_on(async { tokio::spawn(std::future::ready(())).await.unwrap() });
        }
        drop(threads);
        // The looking has ended without a word.
        assert_eq!(silent.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn work_that_never_ends_does_not_keep_it_alive() {
        let (unblock, blocked) = mpsc::channel::<()>();
        let (ended, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let threads = Threads::start().unwrap();
            threads.block_on(async { drop(tokio::task::spawn_blocking(move || blocked.recv())) });
            drop(threads);
            ended.send(()).unwrap();
        });
        assert_eq!(wait.recv_timeout(LIMIT), Ok(()));
        drop(unblock);
    }
}
