//! The stage: from a record to its one outcome. The steps behind the envelope, in order, are in `steps.rs`; what is
//! remembered between events is in `state.rs`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use freshet_avro::Walk;
use freshet_catalog_model::compiled::PseudonymKey;
use freshet_core::hashed::Seed;
use freshet_core::replay::{ALONE, replay_each};
use freshet_core::{
    Assigned, Code, DropReason, Fault, InRecord, OutRecord, Outcome, Output, Replay, Stage, TopicPartition, Violation,
};
use freshet_kafka::catalog::{CatalogHandle, Snapshot};
use jiff::{SignedDuration, Timestamp};

use crate::dataset::{Prepared, StateRules, prepare};
use crate::envelope;
use crate::metrics::{Metrics, Uncommitted};
use crate::rebuild::rebuild;
use crate::state::PartitionState;
use crate::steps::Event;
use crate::{authority, rejection};

/// How many partitions a topic has; none where it does not exist.
pub type Width = dyn Fn(&str) -> Result<Option<i32>, Fault> + Send;

/// What the stage is given; nothing of it is ambient.
pub struct Setup {
    pub catalogue: CatalogHandle,
    pub clock: Box<dyn Fn() -> Timestamp + Send>,
    pub pseudonym: Option<PseudonymKey>,
    pub max_event_bytes: usize,
    pub clock_skew: SignedDuration,
    pub width: Box<Width>,
    pub metrics: Metrics,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("max_event_bytes", &self.max_event_bytes).finish_non_exhaustive()
    }
}

/// Decides whether an event is what it claims. Good events go on unchanged to `dataset.<dataset>`, others with the
/// complete list of what is wrong to `reject.<department>`, both in the partition in which they came.
pub struct Validator {
    setup: Setup,
    snapshot: Arc<Snapshot>,
    /// By input topic.
    datasets: BTreeMap<String, Arc<Prepared>>,
    subscribed: Vec<String>,
    /// `subscribed` was compared with this catalogue. An idle loop of a thousand topics would do little else.
    is_compared: bool,
    /// The metrics have the sizes of the state as it is.
    is_counted: bool,
    /// Source → department, as the snapshot has it. Publishers have few sources.
    departments: HashMap<String, Option<String>>,
    partitions: Vec<Held>,
    /// When the batch began: its records' present. A batch takes a fraction of a second.
    now: Timestamp,
    /// Index into `partitions` of the last record's: the next is usually of the same.
    last: usize,
    seed: Seed,
    walk: Walk,
    violations: Vec<Violation>,
    uncommitted: Uncommitted,
}

/// A partition that the group gave us.
struct Held {
    topic: String,
    partition: i32,
    /// `None` where the dataset left the catalogue, and where its topic is not as wide as the dataset.
    dataset: Option<Arc<Prepared>>,
    /// How many partitions the topic has, where that is not what the dataset has.
    odd_width: Option<i32>,
    /// What `state` was built under.
    rules: Option<StateRules>,
    state: PartitionState,
}

/// More sources than any department has systems; past this the map is begun anew.
const MOST_SOURCES: usize = 10_000;

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").field("revision", &self.snapshot.revision).finish_non_exhaustive()
    }
}

impl Validator {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            snapshot: Arc::default(),
            datasets: BTreeMap::new(),
            subscribed: Vec::new(),
            is_compared: false,
            is_counted: false,
            departments: HashMap::new(),
            partitions: Vec::new(),
            now: Timestamp::MIN,
            last: 0,
            seed: Seed::random(),
            walk: Walk::new(),
            violations: Vec::new(),
            uncommitted: Uncommitted::default(),
        }
    }

    /// Takes the catalogue as it is now.
    fn refresh(&mut self) -> Result<(), Fault> {
        self.setup.catalogue.in_force()?;
        let snapshot = self.setup.catalogue.current();
        if snapshot.revision == self.snapshot.revision {
            return Ok(());
        }
        let datasets = prepare(&snapshot.catalog, &self.datasets, self.setup.pseudonym.is_some())?;
        for held in self.partitions.iter_mut().filter(|held| held.odd_width.is_none()) {
            held.dataset = datasets.get(&held.topic).map(Arc::clone);
        }
        self.departments.clear();
        (self.snapshot, self.datasets) = (snapshot, datasets);
        self.is_compared = false;
        Ok(())
    }

    /// The topic's number of partitions, where it is not the dataset's. Asked at each assignment: the group gives all
    /// partitions anew when there are more.
    fn odd_width(&self, topic: &str) -> Result<Option<i32>, Fault> {
        let Some(dataset) = self.datasets.get(topic) else { return Ok(None) };
        let (wanted, found) = (dataset.compiled.dataset.partitions, (self.setup.width)(topic)?);
        Ok(found.filter(|found| *found != wanted))
    }

    fn find(&mut self, record: &InRecord<'_>) -> Result<usize, Fault> {
        let is_it = |held: &Held| held.partition == record.partition && held.topic == record.topic;
        if !self.partitions.get(self.last).is_some_and(is_it) {
            self.last = self.partitions.iter().position(is_it).ok_or_else(|| {
                Fault::fatal("validate", format!("{}[{}] was not assigned", record.topic, record.partition))
            })?;
        }
        Ok(self.last)
    }
}

impl Stage for Validator {
    fn inputs(&mut self) -> Result<Option<Vec<String>>, Fault> {
        self.refresh()?;
        self.uncommitted.add_to(&self.setup.metrics);
        if !std::mem::replace(&mut self.is_counted, true) {
            let sizes = self.partitions.iter().map(|held| held.state.sizes());
            let (entities, ids) = sizes.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
            self.setup.metrics.set_state(entities, ids);
        }
        if std::mem::replace(&mut self.is_compared, true) || self.subscribed.iter().eq(self.datasets.keys()) {
            return Ok(None);
        }
        self.subscribed = self.datasets.keys().cloned().collect();
        Ok(Some(self.subscribed.clone()))
    }

    fn assigned(&mut self, partitions: &[Assigned], replay: &mut dyn Replay) -> Result<(), Fault> {
        let now = (self.setup.clock)();
        let mut widths: BTreeMap<&str, Option<i32>> = BTreeMap::new();
        let mut given = Vec::with_capacity(partitions.len());
        for Assigned { topic, partition, .. } in partitions {
            let odd_width = match widths.get(topic.as_str()) {
                Some(known) => *known,
                None => *widths.entry(topic).or_insert(self.odd_width(topic)?),
            };
            let dataset = self.datasets.get(topic).filter(|_| odd_width.is_none()).map(Arc::clone);
            given.push((topic, *partition, dataset, odd_width));
        }
        let seed = self.seed;
        let states = replay_each(&given, replay, ALONE, |(_, partition, dataset, _), replay| match dataset {
            Some(dataset) => rebuild(dataset, *partition, seed, now, replay),
            None => Ok(PartitionState::new(seed)),
        })?;
        for ((topic, partition, dataset, odd_width), state) in given.into_iter().zip(states) {
            let rules = dataset.as_ref().map(|dataset| dataset.state_rules());
            self.partitions.push(Held { topic: topic.clone(), partition, dataset, odd_width, rules, state });
        }
        self.is_counted = false;
        Ok(())
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        // After an abort this comes before any count is added to the metrics.
        self.uncommitted.forget();
        self.is_counted = false;
        self.partitions
            .retain(|held| !partitions.iter().any(|gone| gone.partition == held.partition && gone.topic == held.topic));
    }

    fn begin_batch(&mut self) -> Result<(), Fault> {
        self.uncommitted.add_to(&self.setup.metrics);
        self.refresh()?;
        let now = (self.setup.clock)();
        self.now = now;
        self.is_counted = false;
        for held in &mut self.partitions {
            let rules = held.dataset.as_ref().map(|dataset| dataset.state_rules());
            if rules != held.rules {
                // The loop answers with `revoked` and `assigned`, which rebuilds the state under the new rules.
                return Err(Fault::retry("validate", format!("the rules of {} changed", held.topic)));
            }
            if let Some(dataset) = &held.dataset {
                let window_begins = now.saturating_sub(dataset.window).unwrap_or(Timestamp::MIN);
                held.state.expire(window_begins.as_millisecond());
            }
        }
        Ok(())
    }

    fn process(&mut self, record: &InRecord<'_>, out: &mut dyn Output) -> Result<Outcome, Fault> {
        let index = self.find(record)?;
        let now = self.now;
        let Self { setup, snapshot, departments, partitions, walk, violations, uncommitted, .. } = self;
        let Held { dataset, state, odd_width, .. } = &mut partitions[index];
        violations.clear();

        let envelope = envelope::check(record, setup.max_event_bytes, violations);
        let department = envelope.source.and_then(|source| {
            if departments.len() > MOST_SOURCES {
                departments.clear();
            }
            if !departments.contains_key(source) {
                let department = snapshot.catalog.department_of_source(source).map(|found| found.id.clone());
                departments.insert(source.to_owned(), department);
            }
            departments.get(source).and_then(Option::as_deref)
        });
        let identity = envelope.source.zip(envelope.id);
        if violations.is_empty() && identity.is_some_and(|(source, id)| state.has_accepted(source, id)) {
            return Ok(Outcome::Dropped(DropReason::Duplicate));
        }
        if let Some(source) = envelope.source {
            authority::check_source(source, department, violations);
        }
        let entity = match dataset {
            Some(dataset) => {
                let event = Event { record, envelope, department, now, dataset, setup };
                event.check(state, walk, violations)
            }
            None => {
                violations.push(no_dataset(record.topic, *odd_width));
                None
            }
        };
        match (entity, &dataset, record.key) {
            (Some(entity), Some(dataset), Some(key)) if violations.is_empty() => {
                state.accept(key, entity);
                if let Some((source, id)) = identity {
                    state.remember(source, id, now.as_millisecond());
                }
                let cleaned = rejection::without_ours(record);
                out.send(OutRecord {
                    topic: &dataset.topic,
                    partition: record.partition,
                    key: record.key,
                    value: record.value,
                    headers: cleaned.as_deref().unwrap_or(record.headers),
                    extra: &[],
                    // The time of acceptance: the duplicate window and the compaction lag that guarantees it count from it.
                    timestamp_ms: None,
                })?;
                Ok(Outcome::Emitted { records: 1 })
            }
            _ => {
                let dataset = dataset.as_ref().map_or("", |dataset| dataset.compiled.id());
                uncommitted.count(dataset, violations);
                // A topic that somebody made wider has partitions that the topic of rejections has not.
                let partition = if odd_width.is_some() { -1 } else { record.partition };
                rejection::send(record, partition, (department, violations), out)?;
                Ok(Outcome::Rejected)
            }
        }
    }
}

fn no_dataset(topic: &str, odd_width: Option<i32>) -> Violation {
    match odd_width {
        None => {
            let message = format!("{topic} belongs to no dataset of the catalogue");
            Violation::whole(Code::DatasetUnknown, message)
        }
        Some(found) => {
            let message = format!(
                "{topic} has {found} partitions, not those of the dataset: keys lie elsewhere than before, so nothing of it \
                 is taken until the operator has made the topic anew; then send the event again"
            );
            Violation::whole(Code::DatasetPartitions, message)
        }
    }
}
