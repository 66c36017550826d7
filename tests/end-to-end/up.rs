//! `freshet up` as a newcomer has it: the `curl` that it prints makes an event arrive; Ctrl-C ends it in good order; after
//! `kill -9` nothing stays behind; the next start on the folder goes on with what is there.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use freshet_testkit::broker::Life;
use freshet_testkit::departments::Consumer;
use freshet_testkit::{Broker, BrokerSettings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LIMIT: Duration = Duration::from_secs(240);

struct Up {
    child: Child,
    printed: PathBuf,
}

impl Up {
    fn start(folder: &Path, run: &str) -> Self {
        Self::start_with(folder, run, &[])
    }

    fn start_with(folder: &Path, run: &str, more: &[&str]) -> Self {
        let printed = folder.join(format!("{run}.txt"));
        let out = File::create(&printed).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_freshet"))
            .arg("--data")
            .arg(folder.join("bus"))
            .args(["up", "--broker-heap", "384m"])
            .args(more)
            .stdout(out.try_clone().expect("a file"))
            .stderr(out)
            .spawn()
            .expect("freshet");
        let mut up = Self { child, printed };
        up.until("it is up", |up| {
            up.text().contains("trace by-hand-1") || up.child.try_wait().expect("alive").is_some()
        });
        assert!(up.text().contains("freshet is up after"), "{}", up.text());
        up
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.printed).unwrap_or_default()
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn end(&mut self, signal: Signal) -> std::process::ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("signalled");
        self.until("it ends", |up| up.child.try_wait().expect("a status").is_some());
        self.child.wait().expect("a status")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Brokers of this data folder that run.
fn brokers(folder: &Path) -> usize {
    let marker = folder.join("bus/kafka").display().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| line.contains("kafka.Kafka") && line.contains(&marker))
        .count()
}

/// The first and the second `curl` of the greeting, each over several lines.
fn curls(text: &str) -> (String, String) {
    let mut parts = text.split("\n  curl ").skip(1).map(|rest| rest.split("\n\n").next().unwrap_or_default());
    let mut next = || format!("curl {}", parts.next().expect("a curl command"));
    (next(), next())
}

/// Both tests would choose the same ports.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_newcomer_publishes_by_hand_and_starts_again() {
    let _alone = alone();
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("not tested: curl is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().canonicalize().expect("a folder");
    let mut up = Up::start(&folder, "first");
    assert_eq!(brokers(&folder), 1);
    let (listen, publish) = curls(&up.text());

    let heard = folder.join("heard.txt");
    let mut listener = Command::new("sh")
        .args(["-c", &format!("exec {listen}")])
        .stdout(File::create(&heard).expect("a file"))
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh");
    let answer = Command::new("sh").args(["-c", &publish]).output().expect("sh");
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    up.until("the event arrives", |_| std::fs::read_to_string(&heard).is_ok_and(|text| text.contains("by-hand-1")));
    listener.kill().expect("the listener");
    listener.wait().expect("the listener");
    assert!(!answer.contains("violations"), "{answer}");

    assert!(up.end(Signal::SIGINT).success(), "{}", up.text());
    assert_eq!(brokers(&folder), 0, "the broker ends with us");

    let mut up = Up::start(&folder, "second");
    another_is_refused(&folder);
    trace(&folder);
    up.end(Signal::SIGKILL);
    let deadline = Instant::now() + LIMIT;
    while brokers(&folder) > 0 {
        assert!(Instant::now() < deadline, "the broker outlives a kill -9");
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut up = Up::start(&folder, "third");
    trace(&folder);
    assert!(up.end(Signal::SIGTERM).success(), "{}", up.text());
    assert_eq!(brokers(&folder), 0);
}

/// One more on the folder says whose it is, and ends without having started anything.
fn another_is_refused(folder: &Path) {
    let mut another = Command::new(env!("CARGO_BIN_EXE_freshet"));
    let output = another.arg("--data").arg(folder.join("bus")).arg("up").output().expect("freshet");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("is in use by another freshet"), "{said}");
    assert_eq!((said.lines().count(), brokers(folder)), (1, 1), "{said}");
}

/// What was published before the restarts is still there.
fn trace(folder: &Path) {
    let text = traced(folder);
    assert!(text.contains("dataset.short_term_rental_registration"), "{text}");
}

fn traced(folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_freshet"))
        .arg("--data")
        .arg(folder.join("bus"))
        .args(["trace", "by-hand-1", "--dataset", "short_term_rental_registration"])
        .output()
        .expect("freshet");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `--kafka`: nothing of it is started by us, and nothing of it is ended by us.
#[test]
fn a_cluster_that_somebody_else_started_is_used_and_left_as_it_is() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().canonicalize().expect("a folder");
    let mut foreign = BrokerSettings { life: Life::Throwaway, ..BrokerSettings::new(folder.join("foreign")) };
    foreign.heap = "384m".to_owned();
    let mut foreign = Broker::start(foreign).expect("a cluster");
    let bootstrap = foreign.bootstrap();
    let mut up = Up::start_with(&folder, "foreign", &["--kafka", &bootstrap]);
    assert_eq!(brokers(&folder), 0, "one of our own beside it");
    let (_, publish) = curls(&up.text());
    let answer = Command::new("sh").args(["-c", &publish]).output().expect("sh");
    assert!(String::from_utf8_lossy(&answer.stdout).contains("accepted"), "{answer:?}");
    up.until("the event is in a view", |_| {
        let hops = traced(&folder);
        hops.contains("dataset.short_term_rental_registration") && hops.contains("view.short_term_rental_registration")
    });
    assert!(up.end(Signal::SIGINT).success(), "{}", up.text());

    assert!(foreign.is_running() && foreign.serves());
    let reader =
        Consumer::new(&bootstrap, "afterwards", &["dataset.short_term_rental_registration"]).expect("a reader");
    let deadline = Instant::now() + LIMIT;
    let kept = loop {
        assert!(Instant::now() < deadline, "the event is gone");
        if let Some(record) = reader.next(Duration::from_millis(200)).expect("the cluster answers") {
            break record;
        }
    };
    assert_eq!(kept.header("ce_id"), Some("by-hand-1"));
}
