//! The window's bookkeeping, pure: which record may start, which offset may be committed.
//!
//! Per partition a queue in offset order. A record may start when no earlier record of its key is undelivered; the
//! committable offset moves only when the record at the head of the queue is delivered.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// Records of one key are delivered in order; those without a key are one key.
pub(super) type Key = Option<Vec<u8>>;

/// Names one record that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) epoch: u64,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

#[derive(Debug)]
pub(super) struct InFlight<R> {
    /// The assignment that the records belong to. Records and tickets of another are ignored.
    epoch: u64,
    lanes: BTreeMap<i32, Lane<R>>,
    count: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Lane<R> {
    queue: VecDeque<Slot<R>>,
    /// Of each key that has undelivered records, the offset of the last.
    last_of_key: HashMap<Key, i64>,
    committable: Option<i64>,
}

#[derive(Debug)]
struct Slot<R> {
    offset: i64,
    bytes: usize,
    /// Of the same key, and behind this one.
    next: Option<i64>,
    state: State<R>,
}

#[derive(Debug)]
enum State<R> {
    /// Behind an earlier record of its key.
    Waiting(R),
    Running,
    Delivered,
}

impl<R> Default for Lane<R> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), last_of_key: HashMap::new(), committable: None }
    }
}

impl<R> InFlight<R> {
    pub(super) fn new() -> Self {
        Self { epoch: 0, lanes: BTreeMap::new(), count: 0, bytes: 0 }
    }

    /// Records that are running, waiting, or delivered behind one that is not.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The size of these records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything of assignments up to `epoch` and returns what of it may be committed.
    pub(super) fn close(&mut self, epoch: u64) -> BTreeMap<i32, i64> {
        let committable = self.committable();
        self.lanes.clear();
        (self.count, self.bytes) = (0, 0);
        self.epoch = epoch + 1;
        committable
    }

    /// Takes the next record, of so many bytes, of its partition. Returns it if it may start now.
    pub(super) fn admit(&mut self, ticket: Ticket, key: Key, (record, bytes): (R, usize)) -> Option<R> {
        if ticket.epoch < self.epoch {
            return None;
        }
        if ticket.epoch > self.epoch {
            self.close(ticket.epoch - 1);
        }
        let lane = self.lanes.entry(ticket.partition).or_default();
        if lane.queue.back().is_some_and(|last| last.offset >= ticket.offset) {
            return None;
        }
        let before = lane.last_of_key.insert(key, ticket.offset).and_then(|before| lane.slot(before));
        let (state, started) = match before {
            Some(before) => {
                before.next = Some(ticket.offset);
                (State::Waiting(record), None)
            }
            None => (State::Running, Some(record)),
        };
        lane.queue.push_back(Slot { offset: ticket.offset, bytes, next: None, state });
        self.count += 1;
        self.bytes += bytes;
        started
    }

    /// Notes the delivery of a record of this key. Returns the next of the key, which may start now.
    pub(super) fn delivered(&mut self, ticket: Ticket, key: &Key) -> Option<R> {
        if ticket.epoch != self.epoch {
            return None;
        }
        let lane = self.lanes.get_mut(&ticket.partition)?;
        let slot = lane.slot(ticket.offset)?;
        if !matches!(slot.state, State::Running) {
            return None;
        }
        slot.state = State::Delivered;
        let next = match slot.next {
            Some(next) => lane.start(next),
            None => {
                lane.last_of_key.remove(key);
                None
            }
        };
        while let Some(head) = lane.queue.front()
            && matches!(head.state, State::Delivered)
        {
            lane.committable = Some(head.offset + 1);
            self.bytes -= head.bytes;
            lane.queue.pop_front();
            self.count -= 1;
        }
        next
    }

    /// Per partition the offset behind the last record before which all are delivered.
    pub(super) fn committable(&self) -> BTreeMap<i32, i64> {
        self.lanes.iter().filter_map(|(&partition, lane)| Some((partition, lane.committable?))).collect()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl<R> Lane<R> {
    fn slot(&mut self, offset: i64) -> Option<&mut Slot<R>> {
        let at = self.queue.binary_search_by_key(&offset, |slot| slot.offset).ok()?;
        self.queue.get_mut(at)
    }

    fn start(&mut self, offset: i64) -> Option<R> {
        let slot = self.slot(offset)?;
        match std::mem::replace(&mut slot.state, State::Running) {
            State::Waiting(record) => Some(record),
            other => {
                slot.state = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Admit {
            partition: i32,
            key: u8,
            gap: i64,
        },
        /// Deliver the n-th of those that run.
        Deliver(usize),
        Rebalance,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..3_i32, 0..4_u8, 0..3_i64).prop_map(|(partition, key, gap)| Step::Admit { partition, key, gap }),
            6 => any::<usize>().prop_map(Step::Deliver),
            1 => Just(Step::Rebalance),
        ];
        prop::collection::vec(step, 1..200)
    }

    /// What the window may be asked to do, against a plain model: offsets never pass an undelivered record, records of a
    /// key never overlap nor overtake, and when all is delivered everything is committable.
    struct Model {
        window: InFlight<(Ticket, u8)>,
        epoch: u64,
        running: Vec<(Ticket, u8)>,
        undelivered: BTreeSet<(i32, i64)>,
        next: BTreeMap<i32, i64>,
        last_of_key: BTreeMap<(i32, u8), i64>,
    }

    impl Model {
        fn start(&mut self, started: Option<(Ticket, u8)>) {
            let Some((ticket, key)) = started else { return };
            let overlaps = self.running.iter().any(|(other, k)| other.partition == ticket.partition && *k == key);
            assert!(!overlaps, "two records of key {key} run at once");
            let last = self.last_of_key.insert((ticket.partition, key), ticket.offset);
            assert!(last.is_none_or(|last| last < ticket.offset), "key {key}: {ticket:?} after {last:?}");
            self.running.push((ticket, key));
        }

        fn check(&self) {
            for (partition, offset) in self.window.committable() {
                let passed = self.undelivered.range((partition, i64::MIN)..(partition, offset)).next();
                assert_eq!(passed, None, "committable {offset} passes an undelivered record");
            }
        }

        fn deliver(&mut self, index: usize) {
            if self.running.is_empty() {
                return;
            }
            let (ticket, key) = self.running.swap_remove(index % self.running.len());
            self.undelivered.remove(&(ticket.partition, ticket.offset));
            let started = self.window.delivered(ticket, &Some(vec![key]));
            self.start(started);
        }

        fn rebalance(&mut self) {
            self.window.close(self.epoch);
            assert_eq!(self.window.len(), 0);
            for (ticket, key) in std::mem::take(&mut self.running) {
                // Deliveries of the old assignment that come late change nothing.
                assert!(self.window.delivered(ticket, &Some(vec![key])).is_none());
            }
            assert!(self.window.committable().is_empty());
            self.undelivered.clear();
            self.last_of_key.clear();
            self.epoch += 1;
        }
    }

    proptest! {
        #[test]
        fn offsets_and_order_hold(steps in steps()) {
            let mut model = Model {
                window: InFlight::new(), epoch: 0, running: vec![], undelivered: BTreeSet::new(),
                next: BTreeMap::new(), last_of_key: BTreeMap::new(),
            };
            for step in steps {
                match step {
                    Step::Admit { partition, key, gap } => {
                        let next = model.next.entry(partition).or_default();
                        let offset = *next + gap;
                        *next = offset + 1;
                        model.undelivered.insert((partition, offset));
                        let ticket = Ticket { epoch: model.epoch, partition, offset };
                        let started = model.window.admit(ticket, Some(vec![key]), ((ticket, key), 7));
                        model.start(started);
                    }
                    Step::Deliver(index) => model.deliver(index),
                    Step::Rebalance => model.rebalance(),
                }
                model.check();
            }
            while !model.running.is_empty() {
                model.deliver(0);
                model.check();
            }
            prop_assert!(model.undelivered.is_empty(), "never started: {:?}", model.undelivered);
            prop_assert_eq!((model.window.len(), model.window.bytes()), (0, 0));
        }
    }

    #[test]
    fn a_record_that_was_read_twice_is_taken_once() {
        let mut window = InFlight::new();
        let ticket = Ticket { epoch: 0, partition: 0, offset: 5 };
        assert!(window.admit(ticket, None, ((), 1)).is_some());
        assert!(window.admit(ticket, None, ((), 1)).is_none());
        assert!(window.admit(Ticket { epoch: 0, ..ticket }, None, ((), 1)).is_none());
        assert!(window.delivered(ticket, &None).is_none());
        assert_eq!(window.committable(), [(0, 6)].into());
        assert!(window.delivered(ticket, &None).is_none());
        assert_eq!(window.len(), 0);
    }
}
