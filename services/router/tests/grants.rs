//! Grants that begin, end, are suspended and come back.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use freshet_core::{DropReason, Fault, Outcome, Stage as _, topics};
use freshet_kafka::TopicId;
use freshet_kafka::catalog::CatalogHandle;
use freshet_router::Router;
use freshet_testkit::memory::{Bus, DropTombstones, End, Member};
use support::*;

const ALL: usize = 0;
const LARGE: usize = 1;

fn only(view: usize) -> [bool; 4] {
    std::array::from_fn(|index| index == view)
}

struct Bench {
    bus: Bus,
    clock: Clock,
    ids: Ids,
    catalogue: CatalogHandle,
    member: Member<Router>,
}

impl Bench {
    fn new(active: [bool; 4]) -> Self {
        let (bus, clock) = (Bus::at(START_MS), Clock::default());
        let ids = ids();
        let catalogue = CatalogHandle::fixed(catalog(active));
        let member = Member::new(router(&catalogue, &clock, &ids, 100));
        let mut bench = Self { bus, clock, ids, catalogue, member };
        bench.restart();
        bench
    }

    fn restart(&mut self) {
        self.member = Member::new(router(&self.catalogue, &self.clock, &self.ids, 100));
        self.member.rebalance(&self.bus, &[0, 1]).expect("assigned");
    }

    fn drain(&mut self) {
        assert!(self.member.drain(&mut self.bus, 10).expect("no fatal fault"), "drained");
    }

    /// Deletes a topic and makes it anew, empty.
    fn make_anew(&mut self, topic: &str) {
        self.bus.delete_topic(topic);
        let mut ids = self.ids.lock().expect("no test panicked");
        let next = ids.values().map(|id| id.0).max().unwrap_or(0) + 1;
        ids.insert(topic.to_owned(), TopicId(next));
    }

    /// Rows of a view over both partitions.
    fn rows(&self, view: usize) -> usize {
        (0..PARTITIONS).map(|partition| self.bus.compacted(&view_topic(view), partition).len()).sum()
    }

    fn records(&self, view: usize) -> usize {
        (0..PARTITIONS).map(|partition| self.bus.records(&view_topic(view), partition).len()).sum()
    }
}

#[test]
fn two_grants_share_one_view() {
    let mut catalog = catalog(only(ALL));
    let mut second = catalog.grants["all"].clone();
    second.id = "all-too".to_owned();
    catalog.insert(freshet_catalog_model::Entry::Grant(Box::new(second)));
    let mut bench = Bench::new(only(ALL));
    bench.catalogue.replace(catalog);
    accept(&mut bench.bus, 1, Some(row(1, "a", "420106", None)), 1);
    bench.drain();
    assert_eq!(bench.records(ALL), 1, "built once");
}

#[test]
fn an_event_that_no_view_takes_is_counted_as_such() {
    let mut bench = Bench::new(only(LARGE));
    accept(&mut bench.bus, 1, Some(row(1, "a", "420106", Some(1))), 1);
    let outcomes = bench.member.batch(&mut bench.bus, 10, End::Commit).expect("a batch");
    assert_eq!(outcomes, [Outcome::Dropped(DropReason::NoView)]);
}

#[test]
fn a_grant_ends_with_its_last_day() {
    let mut bench = Bench::new(only(ALL));
    accept(&mut bench.bus, 1, Some(row(1, "a", "420106", None)), 1);
    bench.drain();
    // It is valid until 2026-06-30.
    let day_ms = 24 * 3_600_000;
    bench.clock.advance(180 * day_ms);
    accept(&mut bench.bus, 1, Some(row(1, "b", "420106", None)), 2);
    bench.drain();
    assert_eq!(bench.records(ALL), 2, "the last day is served");
    bench.clock.advance(day_ms);
    accept(&mut bench.bus, 1, Some(row(1, "c", "420106", None)), 3);
    bench.drain();
    assert_eq!(bench.records(ALL), 2, "the day after is not");
}

#[test]
fn a_batch_is_not_committed_when_the_grants_have_changed_since_it_began() {
    let (clock, catalogue) = (Clock::default(), CatalogHandle::fixed(catalog(only(ALL))));
    let mut router = router(&catalogue, &clock, &ids(), 100);
    router.inputs().unwrap();
    router.before_commit().unwrap();
    catalogue.replace(catalog([false; 4]));
    assert!(matches!(router.before_commit(), Err(Fault::Retry { .. })), "a grant was suspended");
    router.inputs().unwrap();
    router.before_commit().unwrap();
    clock.advance(24 * 60 * 60 * 1000);
    assert!(matches!(router.before_commit(), Err(Fault::Retry { .. })), "a grant may end with its day");
    router.inputs().unwrap();
    router.before_commit().unwrap();
}

#[test]
fn a_suspended_view_is_stopped_at_once_and_resumed_where_it_stopped() {
    let mut bench = Bench::new(only(ALL));
    accept(&mut bench.bus, 1, Some(row(1, "a", "420106", None)), 1);
    bench.drain();
    bench.catalogue.replace(catalog([false; 4]));
    accept(&mut bench.bus, 1, Some(row(1, "b", "420106", None)), 2);
    accept(&mut bench.bus, 2, Some(row(2, "b", "420106", None)), 3);
    bench.drain();
    assert_eq!(bench.records(ALL), 1);
    bench.restart();
    bench.catalogue.replace(catalog(only(ALL)));
    bench.drain();
    assert_eq!((bench.records(ALL), bench.rows(ALL)), (3, 2), "what came meanwhile, once");
}

/// The removal of a row that the dataset forgot while the view was stopped.
#[test]
fn rows_that_were_deleted_and_forgotten_meanwhile_are_removed() {
    for view in [ALL, LARGE] {
        let mut bench = Bench::new(only(view));
        for number in 1..=3 {
            accept(&mut bench.bus, number, Some(row(number, "a", "420106", Some(70))), number.into());
        }
        bench.drain();
        bench.catalogue.replace(catalog([false; 4]));
        bench.drain();

        accept(&mut bench.bus, 1, None, 4);
        bench.drain();
        bench.clock.advance(i64::from(WINDOW_HOURS) * 3_600_000 + 1);
        for partition in 0..PARTITIONS {
            bench.bus.compact(INPUT, partition, i64::MAX, DropTombstones::Yes);
        }
        bench.catalogue.replace(catalog(only(view)));
        bench.drain();
        assert_eq!(bench.rows(view), 2, "view {}", VIEWS[view].name);
        let removals: Vec<_> = (0..PARTITIONS)
            .flat_map(|partition| bench.bus.records(&view_topic(view), partition))
            .filter(|record| record.value.is_none())
            .collect();
        let [removal] = removals[..] else { panic!("one removal, not {}", removals.len()) };
        assert_eq!(removal.header("freshet_removal"), Some("deleted"));
        assert!(removal.header("ce_id").is_some());

        // And the row is out of the filter's memory too: a second delete of it says nothing.
        let records = bench.records(LARGE);
        accept(&mut bench.bus, 1, None, 5);
        bench.drain();
        assert_eq!(bench.records(LARGE), records);
    }
}

/// Where the group's offsets are lost the input begins anew; a view that is ahead of it, live or stopped, waits.
#[test]
fn a_view_that_is_ahead_of_the_input_is_not_given_events_twice() {
    for was_live in [true, false] {
        let mut bench = Bench::new(only(ALL));
        for sequence in 1..=4 {
            accept(&mut bench.bus, 1, Some(row(1, "a", "420106", None)), sequence);
        }
        bench.drain();
        if !was_live {
            bench.catalogue.replace(catalog([false; 4]));
            bench.drain();
        }
        bench.bus.forget_offsets();
        bench.catalogue.replace(catalog(only(ALL)));
        bench.restart();
        bench.member.batch(&mut bench.bus, 2, End::Commit).expect("a batch");
        accept(&mut bench.bus, 1, Some(row(1, "b", "420106", None)), 5);
        bench.drain();
        let offsets: Vec<i64> = (0..PARTITIONS)
            .flat_map(|partition| found(bench.bus.records(&view_topic(ALL), partition)))
            .map(|(offset, ..)| offset)
            .collect();
        assert_eq!(offsets, [0, 1, 2, 3, 4], "was live: {was_live}");
    }
}

/// docs/decisions/0003: a view whose record of its position is deleted is filled again from the start.
#[test]
fn an_operator_can_have_a_view_filled_anew() {
    let mut bench = Bench::new(only(ALL));
    let (partition, _) = accept(&mut bench.bus, 1, Some(row(1, "a", "420106", None)), 1);
    bench.drain();
    let key = bench.bus.records(topics::VIEW_POSITIONS, partition)[0].key.clone();
    bench.bus.publish(topics::VIEW_POSITIONS, partition, key.as_deref(), None, &[]);
    bench.restart();
    bench.drain();
    assert_eq!((bench.records(ALL), bench.rows(ALL)), (2, 1));
}

/// The new division of a row that left is what it left by.
#[test]
fn a_removal_discloses_nothing_of_the_row_outside() {
    let mut bench = Bench::new([false, true, false, false]);
    let (partition, _) = accept(&mut bench.bus, 1, Some(row(1, "a", "420106", Some(70))), 1);
    accept(&mut bench.bus, 1, Some(row(1, "a", "420102", Some(10))), 2);
    bench.drain();
    let [_, removal] = bench.bus.records(&view_topic(LARGE), partition) else { panic!("two records") };
    assert_eq!((removal.value.as_ref(), removal.header("freshet_removal")), (None, Some("left_filter")));
    assert_eq!((removal.header("ce_divcode"), removal.header("content-type")), (None, None));
    assert_eq!(removal.header("ce_id"), Some("e2"));
}

/// Its position says that it is live, and it is empty.
#[test]
fn a_view_whose_topic_is_made_anew_is_filled_anew() {
    for is_running in [true, false] {
        for view in [ALL, LARGE] {
            let mut bench = Bench::new(only(view));
            for number in 1..=4 {
                accept(&mut bench.bus, number, Some(row(number, "a", "420106", Some(70))), number.into());
            }
            bench.drain();
            bench.make_anew(&view_topic(view));
            if is_running {
                bench.clock.advance(60_000);
            } else {
                bench.restart();
            }
            accept(&mut bench.bus, 1, Some(row(1, "b", "420106", Some(80))), 5);
            bench.drain();
            for partition in 0..PARTITIONS {
                let expected = model(view, bench.bus.records(INPUT, partition));
                assert_eq!(found(bench.bus.records(&view_topic(view), partition)), expected, "{is_running} {view}");
            }
            bench.restart();
            bench.drain();
            assert_eq!((bench.records(view), bench.rows(view)), (5, 4), "and once");
        }
    }
}

#[test]
fn a_view_whose_topic_is_made_anew_while_it_is_stopped_is_filled_anew() {
    let mut bench = Bench::new(only(ALL));
    for number in 1..=4 {
        accept(&mut bench.bus, number, Some(row(number, "a", "420106", None)), number.into());
    }
    bench.drain();
    bench.catalogue.replace(catalog([false; 4]));
    bench.drain();
    bench.make_anew(&view_topic(ALL));
    bench.clock.advance(60_000);
    bench.catalogue.replace(catalog(only(ALL)));
    bench.drain();
    assert_eq!((bench.records(ALL), bench.rows(ALL)), (4, 4));
}

/// Offsets of the old topic mean nothing in the new one; the last record of the view names a higher one.
#[test]
fn a_dataset_whose_topic_is_made_anew_reaches_its_views_from_its_start() {
    let mut bench = Bench::new(only(ALL));
    for number in 1..=9 {
        accept(&mut bench.bus, number, Some(row(number, "a", "420106", None)), number.into());
    }
    bench.drain();
    bench.make_anew(INPUT);
    bench.restart();
    for number in 8..=11 {
        accept(&mut bench.bus, number, Some(row(number, "b", "420106", None)), 10 + u64::from(number));
    }
    bench.drain();
    assert_eq!((bench.records(ALL), bench.rows(ALL)), (9 + 4, 11), "what is not sent again stays as it was");
}
