//! P1 to P5 as properties: whatever is published, in whatever batches, with crashes, aborts and rebalances between any
//! two of them, and with compaction underneath.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use std::collections::{BTreeMap, HashMap, HashSet};

use freshet_catalog_model::VersionRule;
use freshet_core::topics;
use freshet_kafka::catalog::CatalogHandle;
use freshet_testkit::memory::{Bus, DropTombstones, End, Member, MemoryRecord};
use freshet_validator::Validator;
use proptest::prelude::*;
use serde_json::json;
use support::*;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Publish(Draft),
    /// One of two instances works on up to so many records.
    Batch {
        member: usize,
        limit: usize,
        end: End,
    },
    /// Partition → instance.
    Rebalance([usize; 3]),
    Compact,
    Wait {
        minutes: i64,
    },
}

/// An event that may be good or bad in several ways.
#[derive(Debug, Clone)]
struct Draft {
    number: u8,
    revision: u64,
    status: &'static str,
    source: &'static str,
    division: &'static str,
    id: u8,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Upsert,
    Delete,
    Garbage,
    BadHolder,
}

fn draft() -> impl Strategy<Value = Draft> {
    let status = prop::sample::select(vec!["APPLIED", "VALID", "VALID", "REVOKED"]);
    let source = prop::sample::select(vec!["urn:wuhan:a", "urn:wuhan:a", "urn:wuhan:b", "urn:shaoxing:a", "urn:tax:a"]);
    let division = prop::sample::select(vec!["420106", "420106", "420102", "330602"]);
    let kind = prop::sample::select(vec![
        Kind::Upsert,
        Kind::Upsert,
        Kind::Upsert,
        Kind::Delete,
        Kind::Garbage,
        Kind::BadHolder,
    ]);
    (0..5_u8, 0..12_u64, status, source, division, 0..40_u8, kind).prop_map(
        |(number, revision, status, source, division, id, kind)| Draft {
            number,
            revision,
            status,
            source,
            division,
            id,
            kind,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop::sample::select(vec![End::Commit, End::Commit, End::Commit, End::Abort, End::Crash]);
    prop_oneof![
        6 => draft().prop_map(Step::Publish),
        3 => (0..2_usize, 1..6_usize, end).prop_map(|(member, limit, end)| Step::Batch { member, limit, end }),
        1 => prop::array::uniform3(0..2_usize).prop_map(Step::Rebalance),
        1 => Just(Step::Compact),
        1 => (1..40_i64).prop_map(|minutes| Step::Wait { minutes }),
    ]
}

impl Draft {
    fn event(&self) -> Event {
        let number = format!("P{}", self.number);
        let mut data = json!({
            "number": number, "revision": self.revision, "division": self.division, "status": self.status,
        });
        if self.kind == Kind::BadHolder {
            data["holder"] = json!("91110000600037341N");
        }
        let mut event = Event::upsert(&self.id.to_string(), &data)
            .with("ce_source", self.source)
            .with("ce_divcode", self.division)
            .with("ce_time", "2025-12-31T00:00:00Z");
        match self.kind {
            Kind::Delete => event.value = None,
            Kind::Garbage => event.value = Some(b"garbage".to_vec()),
            Kind::Upsert | Kind::BadHolder => {}
        }
        event
    }
}

/// Two instances of the validator on one bus.
struct World {
    bus: Bus,
    clock: Clock,
    catalogue: CatalogHandle,
    members: [Member<Validator>; 2],
    owners: [usize; 3],
    /// How many records each partition of the input has.
    published: [usize; 3],
    /// Accepted records, also those that compaction removed since.
    accepted: [Vec<MemoryRecord>; 3],
}

impl World {
    fn new() -> Self {
        let (bus, clock) = (Bus::default(), Clock::default());
        let catalogue = CatalogHandle::fixed(catalog(VersionRule::Sequence));
        let members = [(); 2].map(|()| Member::new(validator(&catalogue, &clock)));
        let owners = [0, 0, 1];
        let mut world =
            Self { bus, clock, catalogue, members, owners, published: [0; 3], accepted: Default::default() };
        world.bus.now_ms = START_MS;
        world.assign(0);
        world.assign(1);
        world
    }

    fn assign(&mut self, member: usize) {
        let own: Vec<i32> = (0..3).filter(|partition| self.owners[*partition as usize] == member).collect();
        self.members[member].rebalance(&self.bus, &own).expect("assigned");
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Publish(draft) => {
                let event = draft.event();
                event.publish(&mut self.bus);
                self.published[event.partition() as usize] += 1;
            }
            Step::Batch { member, limit, end } => self.batch(*member, *limit, *end),
            Step::Rebalance(owners) => {
                self.owners = *owners;
                self.assign(0);
                self.assign(1);
            }
            Step::Compact => {
                let lag_begins = self.bus.now_ms - i64::from(WINDOW_HOURS) * 3_600_000;
                for partition in 0..PARTITIONS {
                    let records = self.bus.records(OUTPUT, partition);
                    let from = records.iter().find(|record| record.timestamp_ms >= lag_begins);
                    let from = from.map_or(self.bus.end(OUTPUT, partition), |record| record.offset);
                    self.bus.compact(OUTPUT, partition, from, DropTombstones::No);
                }
            }
            Step::Wait { minutes } => {
                self.clock.advance(minutes * 60_000);
                self.bus.now_ms = self.clock.now_ms();
            }
        }
    }

    fn batch(&mut self, member: usize, limit: usize, end: End) {
        self.members[member].batch(&mut self.bus, limit, end).expect("no fatal fault");
        if end == End::Crash {
            self.members[member] = Member::new(validator(&self.catalogue, &self.clock));
            self.assign(member);
        }
        self.note_accepted();
    }

    /// Accepted records are noted before compaction can remove them.
    fn note_accepted(&mut self) {
        for partition in 0..PARTITIONS {
            let noted = &mut self.accepted[partition as usize];
            let seen = noted.last().map_or(-1, |last| last.offset);
            let new = self.bus.records(OUTPUT, partition).iter().filter(|record| record.offset > seen);
            noted.extend(new.cloned());
        }
    }

    fn finish(&mut self) {
        for member in 0..2 {
            assert!(self.members[member].drain(&mut self.bus, 4).expect("no fatal fault"), "drained");
        }
        self.note_accepted();
    }

    fn rejected(&self) -> Vec<MemoryRecord> {
        let departments = ["wuhan", "shaoxing", "tax"].map(topics::reject);
        let all = departments.iter().map(String::as_str).chain([topics::REJECT_UNASSIGNED]);
        all.flat_map(|topic| (0..PARTITIONS).flat_map(|p| self.bus.records(topic, p).to_vec())).collect()
    }
}

fn sequence(record: &MemoryRecord) -> u64 {
    record.header("ce_sequence").and_then(|text| text.parse().ok()).expect("every accepted event has its version")
}

fn identity(record: &MemoryRecord) -> (String, String) {
    let text = |name| record.header(name).unwrap_or("").to_owned();
    (text("ce_source"), text("ce_id"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_promises_hold(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.finish();

        let mut rejected_from = HashSet::new();
        for record in world.rejected() {
            let from = record.header("freshet_rejected_from").expect("says where from").to_owned();
            prop_assert!(rejected_from.insert(from), "P1: one rejection an input record");
        }
        for partition in 0..PARTITIONS {
            let (inputs, accepted) = (world.bus.records(INPUT, partition), &world.accepted[partition as usize]);
            prop_assert_eq!(inputs.len(), world.published[partition as usize]);

            // P2 and P3: accepted records are a subsequence of the input, each at most once.
            let mut remaining = inputs.iter();
            let mut accepted_offsets = HashSet::new();
            for record in accepted {
                let source = remaining.find(|input| {
                    input.key == record.key && input.value == record.value && input.headers == record.headers
                        && !rejected_from.contains(&format!("{INPUT}/{partition}/{}", input.offset))
                });
                let source = source.ok_or_else(|| TestCaseError::fail("accepted out of order, twice or changed"))?;
                accepted_offsets.insert(source.offset);
            }

            // P1: every input has one outcome. What is neither accepted nor rejected is a duplicate of something accepted.
            let accepted_identities: HashSet<_> = accepted.iter().map(identity).collect();
            for input in inputs {
                let is_rejected = rejected_from.contains(&format!("{INPUT}/{partition}/{}", input.offset));
                let is_accepted = accepted_offsets.contains(&input.offset);
                prop_assert!(!(is_rejected && is_accepted));
                if !is_rejected && !is_accepted {
                    prop_assert!(accepted_identities.contains(&identity(input)), "dropped, but no duplicate");
                }
            }

            // P3: no id twice within the window.
            let mut accepted_at: HashMap<(String, String), i64> = HashMap::new();
            for record in accepted {
                if let Some(before) = accepted_at.insert(identity(record), record.timestamp_ms) {
                    prop_assert!(record.timestamp_ms - before >= i64::from(WINDOW_HOURS) * 3_600_000);
                }
            }

            // P4: no step back per key, deletes included.
            let mut versions: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
            for record in accepted {
                let version = sequence(record);
                if let Some(before) = versions.insert(record.key.clone().unwrap_or_default(), version) {
                    prop_assert!(version > before, "P4: {version} after {before}");
                }
            }

            // P5: one department a division.
            for record in accepted {
                let division = record.header("ce_divcode").unwrap_or("");
                let source = record.header("ce_source").unwrap_or("");
                let owner = if division.starts_with("4201") { "urn:wuhan:" } else { "urn:shaoxing:" };
                prop_assert!(source.starts_with(owner), "P5: {source} published for {division}");
            }
        }
    }

    /// The same events give the same stream, however they are cut into batches and whatever breaks in between.
    #[test]
    fn faults_change_nothing(steps in prop::collection::vec(step(), 1..80)) {
        let (mut disturbed, mut calm) = (World::new(), World::new());
        // Time stands still, so that the duplicate window is the same in both.
        for step in &steps {
            match step {
                Step::Publish(_) => {
                    disturbed.take(step);
                    calm.take(step);
                }
                Step::Batch { .. } | Step::Rebalance(_) | Step::Compact => disturbed.take(step),
                Step::Wait { .. } => {}
            }
        }
        disturbed.finish();
        calm.finish();
        let content = |world: &World| -> Vec<Vec<_>> {
            world.accepted.iter().map(|records| {
                records.iter().map(|record| (record.key.clone(), record.value.clone(), identity(record))).collect()
            }).collect()
        };
        prop_assert_eq!(content(&disturbed), content(&calm));
        prop_assert_eq!(disturbed.rejected().len(), calm.rejected().len());
    }
}
