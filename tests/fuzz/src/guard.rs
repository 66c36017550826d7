//! What is watched while an input runs: time, memory, panics. The code under test runs inside [`Guard::ours`]; an oracle
//! outside of it, for its time and its memory are not ours.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use crate::heap;
use crate::save;

/// An input that keeps a processor busy for longer is a hang.
pub const HANG: Duration = Duration::from_secs(1);
/// One that waits for longer, without using the processor: on a busy machine a thread may have to wait for its turn.
pub const STUCK: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(100);
/// Ticks of `/proc/…/stat` (proc(5); `USER_HZ` is 100 on every architecture that we build for).
const CPU_TICKS_A_SECOND: u64 = 100;

/// One thread that runs inputs of one target.
#[derive(Debug)]
pub struct Guard {
    target: &'static str,
    /// Odd while code under test runs. Each run has numbers of its own.
    run: AtomicU64,
    input: Mutex<Vec<u8>>,
    thread: Option<PathBuf>,
}

impl Guard {
    /// Of the calling thread, watched from now on.
    pub fn of_this_thread(target: &'static str) -> Arc<Self> {
        let thread = std::fs::read_link("/proc/thread-self").ok().map(|link| PathBuf::from("/proc").join(link));
        let guard = Arc::new(Self { target, run: AtomicU64::new(0), input: Mutex::new(Vec::new()), thread });
        let watched = Arc::clone(&guard);
        std::thread::spawn(move || watch(&watched));
        guard
    }

    pub fn begin(&self, input: &[u8]) {
        let mut kept = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
        kept.extend_from_slice(input);
    }

    /// Runs code under test. The error: it held more than `most_bytes` at a time.
    pub fn ours<T>(&self, what: &str, most_bytes: usize, work: impl FnOnce() -> T) -> Result<T, String> {
        self.run.fetch_add(1, Ordering::Relaxed);
        let (result, peak) = heap::peak_of(work);
        self.run.fetch_add(1, Ordering::Relaxed);
        if peak > most_bytes {
            return Err(format!(
                "{what} held {peak} bytes, more than the {most_bytes} that an input of its size may take"
            ));
        }
        Ok(result)
    }

    fn cpu(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(self.thread.as_ref()?.join("stat")).ok()?;
        // Behind the name, which is in parentheses: state is field 3, utime and stime are 14 and 15.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * 1_000 / CPU_TICKS_A_SECOND))
    }
}

/// Ends the process where a run takes too long: nothing else can be done about a thread that does not come back.
fn watch(guard: &Arc<Guard>) {
    let mut seen = (0, Instant::now(), None);
    // The thread that is watched holds the other one.
    while Arc::strong_count(guard) > 1 {
        std::thread::sleep(TICK);
        let run = guard.run.load(Ordering::Relaxed);
        if run.is_multiple_of(2) || run != seen.0 {
            seen = (run, Instant::now(), guard.cpu());
            continue;
        }
        let waited = seen.1.elapsed();
        let used = match (seen.2, guard.cpu()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => waited,
        };
        if used > HANG || waited > STUCK {
            let reason = format!("no end after {waited:?}, {used:?} of them on the processor");
            let input = guard.input.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("{}", save::failure(guard.target, &input, &reason));
            std::process::exit(3);
        }
    }
}

thread_local! {
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does the work; a panic becomes an error with its place and message.
pub fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            PANICKED_AT.with(|at| *at.borrow_mut() = place);
            if std::env::var_os("RUST_BACKTRACE").is_some() {
                before(info);
            }
        }));
    });
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let place = PANICKED_AT.with(|at| at.borrow().clone());
        Err(format!("panic at {place}: {}", message_of(&*payload)))
    })
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}
