//! The window without its thread: batches come from the test.

use std::collections::BTreeSet;
use std::sync::Mutex;

use tokio::sync::Semaphore;

use super::*;

/// Whoever wants to pass a gate takes a place of it.
struct Gated {
    release: Semaphore,
    deliver: Semaphore,
    confirm: Semaphore,
    /// For the delivery that waits to be tried again.
    waiting: Semaphore,
    park_at: Option<i64>,
    waits_at: Option<i64>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Seen {
    released: BTreeSet<i64>,
    begun: BTreeSet<i64>,
    delivered: BTreeSet<i64>,
    confirmed: BTreeSet<i64>,
    releases: usize,
    confirms: usize,
    wrong: Vec<String>,
}

impl Gated {
    fn new(park_at: Option<i64>, waits_at: Option<i64>) -> Arc<Self> {
        let [release, deliver, confirm, waiting] = [(); 4].map(|()| Semaphore::new(0));
        Arc::new(Self { release, deliver, confirm, waiting, park_at, waits_at, seen: Mutex::default() })
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

async fn pass(gate: &Semaphore) {
    gate.acquire().await.unwrap().forget();
}

impl Deliver for Gated {
    async fn release(&self, records: &[OwnedRecord]) -> Result<(), String> {
        pass(&self.release).await;
        let mut seen = self.seen.lock().unwrap();
        seen.releases += 1;
        seen.released.extend(records.iter().map(|record| record.offset));
        Ok(())
    }

    async fn deliver(&self, record: &OwnedRecord, mut place: Place) -> Attempt {
        self.seen.lock().unwrap().begun.insert(record.offset);
        if self.waits_at == Some(record.offset) {
            place.leave();
            pass(&self.waiting).await;
            place.take_again().await;
        }
        pass(&self.deliver).await;
        let mut seen = self.seen.lock().unwrap();
        if !seen.released.contains(&record.offset) {
            seen.wrong.push(format!("{} went out before it was released", record.offset));
        }
        if self.park_at == Some(record.offset) {
            return Attempt::Park { reason: "no".to_owned() };
        }
        seen.delivered.insert(record.offset);
        Attempt::Delivered
    }

    async fn confirm(&self, records: &[OwnedRecord]) -> Result<(), String> {
        pass(&self.confirm).await;
        let mut seen = self.seen.lock().unwrap();
        seen.confirms += 1;
        for record in records {
            if !seen.delivered.contains(&record.offset) {
                seen.wrong.push(format!("{} was confirmed before it was delivered", record.offset));
            }
        }
        seen.confirmed.extend(records.iter().map(|record| record.offset));
        Ok(())
    }
}

struct Fixture {
    batches: mpsc::Sender<Batch>,
    _control: mpsc::UnboundedSender<Control>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<WindowEnd, Fault>>,
}

const MOST: Most = Most { running: 8, records: 100, bytes: 1 << 20 };

/// A window over a single partition.
fn window(deliver: &Arc<Gated>) -> Fixture {
    let (batches, receiver) = mpsc::channel(1);
    let (control_in, control) = mpsc::unbounded_channel();
    let (shared, stop) = (Arc::new(Shared::default()), CancellationToken::new());
    let links = (receiver, control, Arc::clone(&shared));
    let mut window = Window::new(Arc::clone(deliver), &WindowMetrics::unregistered(), links, MOST);
    let token = stop.clone();
    let task = tokio::spawn(async move {
        let end = window.run(&token).await;
        window.finish(0).await;
        end
    });
    Fixture { batches, _control: control_in, shared, stop, task }
}

fn batch(offsets: std::ops::Range<i64>) -> Batch {
    let record = |offset: i64| OwnedRecord {
        topic: "view".to_owned(),
        partition: 0,
        offset,
        timestamp_ms: None,
        key: Some(offset.to_be_bytes().to_vec()),
        value: None,
        headers: crate::Headers::default(),
    };
    Batch { epoch: 0, records: offsets.map(record).collect() }
}

/// Lets everything run that can.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_record_goes_out_after_it_was_released_and_counts_after_it_was_confirmed() {
    let gated = Gated::new(None, None);
    let fixture = window(&gated);
    fixture.batches.send(batch(0..3)).await.unwrap();
    settle().await;
    gated.deliver.add_permits(6);
    // While the first batch is released, the others gather.
    fixture.batches.send(batch(3..4)).await.unwrap();
    fixture.batches.send(batch(4..6)).await.unwrap();
    settle().await;
    assert_eq!(gated.seen(), Seen::default());

    gated.release.add_permits(1);
    settle().await;
    assert_eq!(gated.seen().delivered, (0..3).collect());
    gated.release.add_permits(1);
    settle().await;
    assert_eq!(gated.seen().delivered, (0..6).collect());
    assert_eq!(fixture.shared.committable(0), BTreeMap::new(), "nothing is confirmed");

    gated.confirm.add_permits(2);
    settle().await;
    assert_eq!(fixture.shared.committable(0), [(0, 6)].into());
    let seen = gated.seen();
    assert_eq!((seen.releases, seen.confirms, seen.wrong), (2, 2, vec![]), "in batches");
    fixture.stop.cancel();
    assert_eq!(fixture.task.await.unwrap().unwrap(), WindowEnd::Stopped);
}

#[tokio::test]
async fn once_one_parked_nothing_starts_and_what_was_delivered_is_confirmed() {
    let gated = Gated::new(Some(1), None);
    let fixture = window(&gated);
    fixture.batches.send(batch(0..2)).await.unwrap();
    gated.release.add_permits(1);
    settle().await;
    // These wait to be released when the other one parks.
    fixture.batches.send(batch(2..4)).await.unwrap();
    settle().await;
    gated.deliver.add_permits(4);
    settle().await;
    gated.release.add_permits(1);
    gated.confirm.add_permits(1);
    assert_eq!(fixture.task.await.unwrap().unwrap(), WindowEnd::Parked { reason: "no".to_owned() });
    assert_eq!(gated.seen().delivered, [0].into());
    assert_eq!(fixture.shared.committable(0), [(0, 1)].into());
}

#[tokio::test]
async fn no_more_run_than_may_and_one_that_waits_to_be_tried_again_leaves_its_place() {
    let gated = Gated::new(None, Some(2));
    let fixture = window(&gated);
    gated.release.add_permits(1);
    gated.confirm.add_permits(100);
    fixture.batches.send(batch(0..20)).await.unwrap();
    settle().await;
    // The third waits.
    assert_eq!(gated.seen().begun, (0..9).collect());
    gated.deliver.add_permits(19);
    settle().await;
    assert_eq!(gated.seen().delivered, (0..20).filter(|offset| *offset != 2).collect());
    assert_eq!(fixture.shared.committable(0), [(0, 2)].into());
    gated.waiting.add_permits(1);
    gated.deliver.add_permits(1);
    settle().await;
    assert_eq!(fixture.shared.committable(0), [(0, 20)].into());
    fixture.stop.cancel();
    assert_eq!(fixture.task.await.unwrap().unwrap(), WindowEnd::Stopped);
}

#[tokio::test]
async fn what_is_released_and_has_no_place_does_not_go_out_any_more_once_the_window_stops() {
    let gated = Gated::new(None, None);
    let fixture = window(&gated);
    gated.release.add_permits(1);
    fixture.batches.send(batch(0..20)).await.unwrap();
    settle().await;
    fixture.stop.cancel();
    settle().await;
    gated.deliver.add_permits(100);
    gated.confirm.add_permits(100);
    assert_eq!(fixture.task.await.unwrap().unwrap(), WindowEnd::Stopped);
    let seen = gated.seen();
    assert_eq!((seen.delivered.clone(), seen.confirmed), ((0..8).collect(), seen.delivered));
    assert_eq!(fixture.shared.committable(0), [(0, 8)].into());
}
