//! The ordered in-flight window: all delivered, in order per key, never committed past what is not.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freshet_core::Fault;
use freshet_kafka::window::{self, Attempt, Deliver, Place, Start, WindowEnd, WindowSettings};
use freshet_kafka::{OwnedRecord, WindowMetrics, offsets};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// A subscriber that keeps what it gets.
#[derive(Default)]
struct Subscriber {
    got: Mutex<Vec<(String, u32)>>,
    running: Mutex<HashMap<String, u32>>,
    most_running: Mutex<usize>,
    overlaps: Mutex<Vec<String>>,
    park_at: Option<u32>,
}

impl Deliver for Subscriber {
    async fn deliver(&self, record: &OwnedRecord, _: Place) -> Attempt {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        let number: u32 = String::from_utf8(record.value.clone().unwrap()).unwrap().parse().unwrap();
        if self.park_at == Some(number) {
            return Attempt::Park { reason: format!("cannot take {number}") };
        }
        {
            let mut running = self.running.lock().unwrap();
            if running.insert(key.clone(), number).is_some() {
                self.overlaps.lock().unwrap().push(key.clone());
            }
            let mut most = self.most_running.lock().unwrap();
            *most = (*most).max(running.len());
        }
        tokio::time::sleep(Duration::from_millis(u64::from(number % 7))).await;
        self.got.lock().unwrap().push((key.clone(), number));
        self.running.lock().unwrap().remove(&key);
        Attempt::Delivered
    }
}

impl Subscriber {
    fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    fn by_key(&self) -> BTreeMap<String, Vec<u32>> {
        let mut by_key: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (key, number) in self.got.lock().unwrap().iter() {
            by_key.entry(key.clone()).or_default().push(*number);
        }
        by_key
    }
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<WindowEnd, Fault>>,
}

impl Running {
    fn start(topic: &str, group: &str, subscriber: &Arc<Subscriber>) -> Self {
        let settings = WindowSettings {
            group: group.to_owned(),
            topic: topic.to_owned(),
            start: Start::Earliest,
            max_running: 64,
            max_in_flight: 64,
            max_in_flight_bytes: 1 << 20,
        };
        let (stop, subscriber) = (CancellationToken::new(), Arc::clone(subscriber));
        let token = stop.clone();
        let task = tokio::spawn(async move {
            window::run(&connection(), &settings, subscriber, &WindowMetrics::unregistered(), &token).await
        });
        Self { stop, task }
    }

    async fn stop(self) -> WindowEnd {
        self.stop.cancel();
        self.task.await.unwrap().unwrap()
    }
}

async fn until(what: &str, condition: impl FnMut() -> bool + Send + 'static) {
    let what = what.to_owned();
    tokio::task::spawn_blocking(move || eventually(&what, 60, condition)).await.unwrap();
}

async fn published(stem: &str, range: std::ops::Range<u32>) -> String {
    let stem = stem.to_owned();
    tokio::task::spawn_blocking(move || {
        let topic = topic(&stem, &[]);
        publish(&topic, range);
        topic
    })
    .await
    .unwrap()
}

fn due(range: std::ops::Range<u32>) -> BTreeMap<String, Vec<u32>> {
    let mut due: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for number in range {
        due.entry(key_of(number)).or_default().push(number);
    }
    due
}

async fn committed(group: &str, topic: &str) -> i64 {
    let (group, topic) = (group.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        offsets::committed(&connection(), &group, &topic).unwrap().into_iter().flatten().sum()
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_in_order_per_key_and_on_from_there_after_a_stop() {
    let topic = published("window", 0..1_000).await;
    let group = unique("window-group");
    let subscriber = Arc::new(Subscriber::default());
    let first = Running::start(&topic, &group, &subscriber);
    let seen = Arc::clone(&subscriber);
    until("part is delivered", move || seen.count() > 200).await;
    assert_eq!(first.stop().await, WindowEnd::Stopped);
    let second = Running::start(&topic, &group, &subscriber);
    let seen = Arc::clone(&subscriber);
    until("all is delivered", move || {
        let got = seen.got.lock().unwrap();
        got.iter().map(|(_, number)| *number).collect::<std::collections::BTreeSet<_>>().len() == 1_000
    })
    .await;
    assert_eq!(second.stop().await, WindowEnd::Stopped);
    // Deliveries that had ended out of order at the stop come again (at least once); none is missing or out of order.
    let found: BTreeMap<String, Vec<u32>> = subscriber
        .by_key()
        .into_iter()
        .map(|(key, mut numbers)| {
            numbers.dedup();
            (key, numbers)
        })
        .collect();
    for (key, due) in due(0..1_000) {
        let mut first_seen = Vec::new();
        for number in &found[&key] {
            if first_seen.last().is_none_or(|last| last < number) {
                first_seen.push(*number);
            }
        }
        assert_eq!(first_seen, due, "key {key}");
    }
    assert_eq!(*subscriber.overlaps.lock().unwrap(), Vec::<String>::new());
    assert!(*subscriber.most_running.lock().unwrap() > 8, "no concurrency");
    assert_eq!(committed(&group, &topic).await, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_window_keeps_everything() {
    let topic = published("parked", 0..500).await;
    let group = unique("parked-group");
    let refusing = Arc::new(Subscriber { park_at: Some(130), ..Subscriber::default() });
    let parked = Running::start(&topic, &group, &refusing);
    let end = tokio::time::timeout(Duration::from_secs(60), parked.task).await.unwrap().unwrap().unwrap();
    assert_eq!(end, WindowEnd::Parked { reason: "cannot take 130".to_owned() });
    assert!(!refusing.by_key()[&key_of(130)].contains(&180), "a later record of the key overtook");
    // 130 is the 34th record of its partition (2): at most 33 of it are committed.
    let offsets = {
        let (group, topic) = (group.clone(), topic.clone());
        tokio::task::spawn_blocking(move || offsets::committed(&connection(), &group, &topic).unwrap()).await.unwrap()
    };
    let before = (0..130).filter(|number| (number % 50) % 4 == (130 % 50) % 4).count() as i64;
    assert!(offsets[(130 % 50) as usize % 4].unwrap_or(0) <= before, "{offsets:?}, {before}");

    let willing = Arc::new(Subscriber::default());
    let resumed = Running::start(&topic, &group, &willing);
    let all = [Arc::clone(&refusing), Arc::clone(&willing)];
    until("the rest is delivered", move || {
        let numbers: std::collections::BTreeSet<u32> =
            all.iter().flat_map(|s| s.got.lock().unwrap().iter().map(|(_, n)| *n).collect::<Vec<_>>()).collect();
        numbers.len() == 500
    })
    .await;
    resumed.stop().await;
    assert_eq!(committed(&group, &topic).await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_come_and_go_without_a_gap() {
    let topic = published("shared", 0..2_000).await;
    let group = unique("shared-group");
    let subscriber = Arc::new(Subscriber::default());
    let first = Running::start(&topic, &group, &subscriber);
    let seen = Arc::clone(&subscriber);
    until("the first works", move || seen.count() > 100).await;
    let second = Running::start(&topic, &group, &subscriber);
    let seen = Arc::clone(&subscriber);
    until("more is delivered", move || seen.count() > 800).await;
    first.stop().await;
    let seen = Arc::clone(&subscriber);
    until("all is delivered", move || {
        let got = seen.got.lock().unwrap();
        got.iter().map(|(_, number)| *number).collect::<std::collections::BTreeSet<_>>().len() == 2_000
    })
    .await;
    second.stop().await;
    // Nothing of a key is seen for the first time after something later of it.
    for (key, numbers) in subscriber.by_key() {
        let mut highest = None;
        for number in numbers {
            let expected = highest.map_or(number % 50, |highest: u32| highest + 50);
            assert!(number <= expected, "key {key}: {number} came before {expected}");
            highest = highest.max(Some(number));
        }
    }
    assert_eq!(committed(&group, &topic).await, 2_000);
}

/// A subscriber that takes nothing until it is told to.
#[derive(Default)]
struct Gated {
    open: std::sync::atomic::AtomicBool,
    got: Mutex<std::collections::BTreeSet<u32>>,
}

impl Deliver for Gated {
    async fn deliver(&self, record: &OwnedRecord, _: Place) -> Attempt {
        while !self.open.load(std::sync::atomic::Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let number = String::from_utf8(record.value.clone().unwrap()).unwrap().parse().unwrap();
        self.got.lock().unwrap().insert(number);
        Attempt::Delivered
    }
}

fn start_gated(
    topic: &str,
    group: &str,
    subscriber: &Arc<Gated>,
    stop: &CancellationToken,
) -> JoinHandle<Result<WindowEnd, Fault>> {
    let settings = WindowSettings {
        group: group.to_owned(),
        topic: topic.to_owned(),
        start: Start::Earliest,
        max_running: 16,
        max_in_flight: 16,
        max_in_flight_bytes: 1 << 20,
    };
    let (subscriber, stop) = (Arc::clone(subscriber), stop.clone());
    tokio::spawn(async move {
        window::run(&connection(), &settings, subscriber, &WindowMetrics::unregistered(), &stop).await
    })
}

/// A window keeps its thread for good, so it must not be one of the runtime's few for blocking work.
#[test]
fn windows_need_none_of_the_runtimes_threads_for_blocking_work() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let topic = topic("own-threads", &[]);
    publish(&topic, 0..100);
    let stop = CancellationToken::new();
    let own: Vec<Arc<Gated>> = (0..3).map(|_| Arc::default()).collect();
    let windows: Vec<_> = own
        .iter()
        .map(|one| {
            one.open.store(true, std::sync::atomic::Ordering::SeqCst);
            let _in_runtime = runtime.enter();
            start_gated(&topic, &unique("own-threads-group"), one, &stop)
        })
        .collect();
    eventually("each of three windows delivers", 60, || own.iter().all(|one| one.got.lock().unwrap().len() == 100));
    stop.cancel();
    for window in windows {
        assert_eq!(runtime.block_on(window).unwrap().unwrap(), WindowEnd::Stopped);
    }
}
