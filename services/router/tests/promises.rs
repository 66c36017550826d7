//! What views hold, as properties: whatever is accepted, whatever grants do meanwhile, with crashes, aborts and
//! rebalances between any two batches, and with compaction underneath.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use std::collections::HashSet;
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use freshet_kafka::catalog::CatalogHandle;
use freshet_router::Router;
use freshet_testkit::memory::{Bus, DropTombstones, End, Member, MemoryRecord};
use proptest::prelude::*;
use support::*;

#[derive(Debug, Clone)]
enum Step {
    Accept {
        number: u8,
        holder: String,
        division: &'static str,
        amount: Option<i64>,
        delete: bool,
    },
    Batch {
        member: usize,
        limit: usize,
        end: End,
    },
    /// Partition → instance.
    Rebalance([usize; 2]),
    Grant {
        view: usize,
        active: bool,
    },
    Compact,
    CompactView {
        view: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let division = prop::sample::select(vec!["420106", "420102"]);
    let amount = prop::option::of(40..60_i64);
    let end = prop::sample::select(vec![End::Commit, End::Commit, End::Commit, End::Abort, End::Crash]);
    prop_oneof![
        6 => (0..5_u8, "[a-z]{0,3}", division, amount, prop::bool::weighted(0.2)).prop_map(
            |(number, holder, division, amount, delete)| Step::Accept { number, holder, division, amount, delete }
        ),
        5 => (0..2_usize, 1..5_usize, end).prop_map(|(member, limit, end)| Step::Batch { member, limit, end }),
        1 => prop::array::uniform2(0..2_usize).prop_map(Step::Rebalance),
        2 => (0..4_usize, any::<bool>()).prop_map(|(view, active)| Step::Grant { view, active }),
        1 => Just(Step::Compact),
        1 => (0..4_usize).prop_map(|view| Step::CompactView { view }),
    ]
}

/// Two instances of the router on one bus.
struct World {
    bus: Bus,
    clock: Clock,
    ids: Ids,
    catalogue: CatalogHandle,
    active: [bool; 4],
    members: [Member<Router>; 2],
    owners: [usize; 2],
    sequence: u64,
    /// Every canonical record, also those that compaction removed since.
    history: [Vec<MemoryRecord>; 2],
    /// Every view record, likewise, by view and partition.
    given: [[Vec<MemoryRecord>; 2]; 4],
}

/// Small, so that filling takes many transactions.
const FILL: usize = 3;

impl World {
    fn new(active: [bool; 4]) -> Self {
        let (bus, clock) = (Bus::at(START_MS), Clock::default());
        let ids = ids();
        let catalogue = CatalogHandle::fixed(catalog(active));
        let members = [(); 2].map(|()| Member::new(router(&catalogue, &clock, &ids, FILL)));
        let mut world = Self {
            bus,
            clock,
            ids,
            catalogue,
            active,
            members,
            owners: [0, 1],
            sequence: 0,
            history: Default::default(),
            given: Default::default(),
        };
        world.assign(0);
        world.assign(1);
        world
    }

    fn assign(&mut self, member: usize) {
        let own: Vec<i32> = (0..PARTITIONS).filter(|partition| self.owners[*partition as usize] == member).collect();
        self.members[member].rebalance(&self.bus, &own).expect("assigned");
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Accept { number, holder, division, amount, delete } => {
                self.sequence += 1;
                let row = (!delete).then(|| row(*number, holder, division, *amount));
                let (partition, _) = accept(&mut self.bus, *number, row, self.sequence);
                let last = self.bus.records(INPUT, partition).last().cloned();
                self.history[partition as usize].extend(last);
            }
            Step::Batch { member, limit, end } => {
                self.members[*member].batch(&mut self.bus, *limit, *end).expect("no fatal fault");
                if *end == End::Crash {
                    self.members[*member] = Member::new(router(&self.catalogue, &self.clock, &self.ids, FILL));
                    self.assign(*member);
                }
            }
            Step::Rebalance(owners) => {
                self.owners = *owners;
                self.assign(0);
                self.assign(1);
            }
            Step::Grant { view, active } => {
                self.active[*view] = *active;
                self.catalogue.replace(catalog(self.active));
            }
            Step::Compact => {
                for partition in 0..PARTITIONS {
                    self.bus.compact(INPUT, partition, i64::MAX, DropTombstones::No);
                }
            }
            Step::CompactView { view } => {
                for partition in 0..PARTITIONS {
                    self.bus.compact(&view_topic(*view), partition, i64::MAX, DropTombstones::No);
                }
            }
        }
        self.note_given();
    }

    /// View records are noted before compaction can remove them.
    fn note_given(&mut self) {
        for (view, noted) in self.given.iter_mut().enumerate() {
            for (partition, noted) in noted.iter_mut().enumerate() {
                let seen = noted.last().map_or(-1, |last| last.offset);
                let records = self.bus.records(&view_topic(view), partition as i32);
                noted.extend(records.iter().filter(|record| record.offset > seen).cloned());
            }
        }
    }

    fn finish(&mut self) {
        for member in 0..2 {
            assert!(self.members[member].drain(&mut self.bus, 4).expect("no fatal fault"), "drained");
        }
        self.note_given();
    }
}

/// What apache-avro makes of the views' schemas.
static ORACLES: LazyLock<Vec<Schema>> =
    LazyLock::new(|| (0..VIEWS.len()).map(|view| Schema::parse_str(view_avsc(view)).expect("a schema")).collect());

/// P6: of each record only the granted fields, as apache-avro reads them; of its headers none that was not granted.
fn check_disclosed(view: usize, record: &MemoryRecord) -> Result<(), TestCaseError> {
    let spec = &VIEWS[view];
    if let Some(value) = &record.value {
        let reader = GenericDatumReader::builder(&ORACLES[view]).build().expect("a reader");
        let mut datum = &value[5..];
        let Ok(Value::Record(fields)) = reader.read_value(&mut datum) else {
            return Err(TestCaseError::fail("apache-avro does not read a view record"));
        };
        prop_assert!(datum.is_empty());
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        prop_assert_eq!(&names, spec.fields);
    }
    for (name, value) in &record.headers {
        prop_assert!(!["x-extra", "ce_subject"].contains(&name.as_str()), "{} was granted to nobody", name);
        prop_assert!(value != b"-1", "a publisher's own freshet_dataset_offset");
        if name == "ce_divcode" {
            prop_assert!(spec.fields.contains(&"division"), "the division is not granted, but in the envelope");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Without compaction a view that is active in the end has been given exactly what the model says, event by event,
    /// however often it was stopped, started, filled and moved.
    #[test]
    fn every_event_once_and_in_order(
        active in prop::array::uniform4(any::<bool>()),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(active);
        for step in steps.iter().filter(|step| !matches!(step, Step::Compact | Step::CompactView { .. })) {
            world.take(step);
        }
        world.finish();
        for (view, spec) in VIEWS.iter().enumerate() {
            for partition in 0..2 {
                let (given, history) = (&world.given[view][partition], &world.history[partition]);
                let (given, expected) = (found(given), model(view, history));
                if world.active[view] {
                    prop_assert_eq!(given, expected, "view {} partition {}", spec.name, partition);
                } else {
                    // Stopped somewhere: a beginning of it.
                    prop_assert!(expected.starts_with(&given), "view {} partition {partition}", spec.name);
                }
            }
        }
    }

    /// With compaction of dataset and views: the same rows in the end, no event twice, nothing outside of the grant.
    #[test]
    fn rows_are_those_of_the_dataset(
        active in prop::array::uniform4(any::<bool>()),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(active);
        for step in &steps {
            world.take(step);
        }
        world.finish();
        for (view, spec) in VIEWS.iter().enumerate() {
            for partition in 0..2 {
                let (given, history) = (&world.given[view][partition], &world.history[partition]);
                for record in given {
                    check_disclosed(view, record)?;
                }
                let records = found(given);
                let offsets: Vec<i64> = records.iter().map(|(offset, ..)| *offset).collect();
                prop_assert!(offsets.is_sorted_by(|a, b| a < b), "view {}: {offsets:?}", spec.name);
                if world.active[view] {
                    prop_assert_eq!(content(&records), content(&model(view, history)), "view {}", spec.name);
                }
                // P6: a row that was given was inside when it was given; the model has it too, or a later one of its key.
                let all: HashSet<_> = model(view, history).into_iter().map(|(o, k, v, _)| (o, k, v)).collect();
                for (offset, key, value, _) in records.iter().filter(|(_, _, value, _)| value.is_some()) {
                    prop_assert!(all.contains(&(*offset, key.clone(), value.clone())), "view {}: row {offset} is outside", spec.name);
                }
            }
        }
    }
}
