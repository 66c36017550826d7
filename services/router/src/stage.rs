//! The stage: which partitions there are, which grants are active, and the order of it all. One event to one view is
//! `route.rs`; what each view has been given is `partition.rs`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_avro::Walk;
use freshet_core::hashed::Seed;
use freshet_core::{
    Assigned, DropReason, Fault, InRecord, Outcome, Output, Progress, Replay, Stage, TopicPartition, topics,
};
use freshet_kafka::catalog::{CatalogHandle, Snapshot};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::metrics::{Census, Metrics, Uncommitted};
use crate::partition::{Held, Tools};
use crate::position::{self, Saved};
use crate::route::Buffers;
use crate::topics::{LookUp, TopicIds};
use crate::views::{Routes, prepare};

/// What the stage is given; nothing of it is ambient.
pub struct Setup {
    pub catalogue: CatalogHandle,
    pub clock: Box<dyn Fn() -> Timestamp + Send>,
    /// On whose calendar a grant begins and ends.
    pub time_zone: TimeZone,
    /// How many records a transaction writes at most to views that are being filled.
    pub fill_batch_records: usize,
    pub topic_ids: Box<dyn LookUp>,
    /// How old the look at the catalogue may be at a commit; an older one is taken again.
    pub fresh_for: Duration,
    pub metrics: Metrics,
}

/// How long a view's topic that was made anew may be given live events before it is filled.
const LOOK_EVERY_MS: i64 = 5_000;

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("fill_batch_records", &self.fill_batch_records).finish_non_exhaustive()
    }
}

/// Projects each canonical event into the views that active grants name.
#[derive(Debug)]
pub struct Router {
    setup: Setup,
    snapshot: Arc<Snapshot>,
    /// The day for which the active grants were looked up.
    today: Date,
    /// When the catalogue was last seen to be in force.
    checked: Instant,
    /// By input topic.
    routes: BTreeMap<String, Arc<Routes>>,
    subscribed: Vec<String>,
    /// `subscribed` was compared with this catalogue. An idle loop of a thousand topics would do little else.
    is_compared: bool,
    /// When the topics' ids were last looked up.
    looked_ms: i64,
    partitions: Vec<Held>,
    /// Index into `partitions` of the last record's: the next is usually of the same.
    last: usize,
    tools: Tools,
}

impl Router {
    pub fn new(setup: Setup) -> Self {
        let tools = Tools {
            seed: Seed::random(),
            walk: Walk::new(),
            buffers: Buffers::default(),
            uncommitted: Uncommitted::default(),
        };
        Self {
            setup,
            snapshot: Arc::default(),
            today: Date::MIN,
            checked: Instant::now(),
            routes: BTreeMap::new(),
            subscribed: Vec::new(),
            is_compared: false,
            looked_ms: 0,
            partitions: Vec::new(),
            last: 0,
            tools,
        }
    }

    /// Takes the catalogue and the day as they are now: a grant begins or ends by either.
    fn refresh(&mut self) -> Result<(), Fault> {
        self.checked = Instant::now();
        self.setup.catalogue.in_force()?;
        let snapshot = self.setup.catalogue.current();
        let now = (self.setup.clock)();
        let now_ms = now.as_millisecond();
        let today = self.day(now);
        if snapshot.revision != self.snapshot.revision || today != self.today {
            let routes = prepare(&snapshot.catalog, today, &self.routes)?;
            (self.snapshot, self.today, self.routes) = (snapshot, today, routes);
            for held in &mut self.partitions {
                held.routes = self.routes.get(&held.topic).map(Arc::clone);
                held.follow_grants(now_ms);
            }
            self.is_compared = false;
            self.looked_ms = 0;
        }
        self.follow_topics(now_ms);
        Ok(())
    }

    fn day(&self, now: Timestamp) -> Date {
        now.to_zoned(self.setup.time_zone.clone()).date()
    }

    /// Now and then, and without waiting for the answer.
    fn follow_topics(&mut self, now_ms: i64) {
        if now_ms.saturating_sub(self.looked_ms) >= LOOK_EVERY_MS {
            let names: BTreeSet<String> = self.partitions.iter().flat_map(Held::topics).collect();
            if names.is_empty() || self.setup.topic_ids.ask(names.into_iter().collect()) {
                self.looked_ms = now_ms;
            }
        }
        if let Some(ids) = self.setup.topic_ids.answer() {
            self.partitions.iter_mut().for_each(|held| held.follow_topics(&ids));
        }
    }

    fn look_up(&self, names: &BTreeSet<String>) -> Result<TopicIds, Fault> {
        if names.is_empty() {
            return Ok(TopicIds::new());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.setup.topic_ids.look_up(&names)
    }

    /// False for a partition that somebody added to a topic by hand. It is empty, for only the bus writes here, and to no
    /// other partitions than those of the catalogue; and there is no partition of a view for it.
    fn is_planned(&self, assigned: &Assigned) -> bool {
        let dataset = assigned.topic.strip_prefix("dataset.").and_then(|id| self.snapshot.catalog.datasets.get(id));
        dataset.is_none_or(|dataset| assigned.partition < dataset.partitions)
    }

    /// The names of the topics that these partitions have to do with.
    fn topics_of<'a>(
        &self,
        partitions: impl Iterator<Item = &'a Assigned>,
        saved: &BTreeMap<i32, BTreeMap<String, Saved>>,
    ) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = saved.values().flat_map(BTreeMap::keys).map(|id| topics::view(id)).collect();
        for Assigned { topic, .. } in partitions {
            let views = self.routes.get(topic).into_iter().flat_map(|routes| routes.views.values());
            names.extend(views.map(|view| view.topic.clone()));
            names.insert(topic.clone());
        }
        names
    }

    fn find(&mut self, record: &InRecord<'_>) -> Result<usize, Fault> {
        let is_it = |held: &Held| held.partition == record.partition && held.topic == record.topic;
        if !self.partitions.get(self.last).is_some_and(is_it) {
            self.last = self.partitions.iter().position(is_it).ok_or_else(|| {
                Fault::fatal("route", format!("{}[{}] was not assigned", record.topic, record.partition))
            })?;
        }
        Ok(self.last)
    }
}

impl Stage for Router {
    fn inputs(&mut self) -> Result<Option<Vec<String>>, Fault> {
        self.refresh()?;
        self.tools.uncommitted.add_to(&self.setup.metrics);
        let mut census = Census::default();
        for held in &self.partitions {
            held.count(&mut census);
        }
        self.setup.metrics.set(census);
        // Every dataset is read, also one that no view needs yet: its position is then where the first one begins to be
        // live, and what lies before it is filled in pieces.
        if std::mem::replace(&mut self.is_compared, true) || self.subscribed.iter().eq(self.routes.keys()) {
            return Ok(None);
        }
        self.subscribed = self.routes.keys().cloned().collect();
        Ok(Some(self.subscribed.clone()))
    }

    fn assigned(&mut self, partitions: &[Assigned], replay: &mut dyn Replay) -> Result<(), Fault> {
        let now_ms = (self.setup.clock)().as_millisecond();
        let planned = || partitions.iter().filter(|assigned| self.is_planned(assigned));
        // The partitions of one number have their views' positions in one place.
        let mut saved = BTreeMap::new();
        for Assigned { partition, .. } in planned() {
            if let Entry::Vacant(unread) = saved.entry(*partition) {
                unread.insert(position::read(*partition, replay)?);
            }
        }
        let ids = self.look_up(&self.topics_of(planned(), &saved))?;
        let mut held = Vec::new();
        for assigned in planned() {
            let routes = self.routes.get(&assigned.topic).map(Arc::clone);
            let saved = saved.get(&assigned.partition);
            held.push(Held::rebuild(
                assigned,
                saved.into_iter().flatten(),
                routes,
                (now_ms, &ids),
                self.tools.seed,
                replay,
            )?);
        }
        self.partitions.extend(held);
        // What was asked before may be older.
        self.setup.topic_ids.forget();
        Ok(())
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        // After an abort this comes before any count is added to the metrics.
        self.tools.uncommitted.forget();
        self.partitions
            .retain(|held| !partitions.iter().any(|gone| gone.partition == held.partition && gone.topic == held.topic));
    }

    fn process(&mut self, record: &InRecord<'_>, out: &mut dyn Output) -> Result<Outcome, Fault> {
        let index = self.find(record)?;
        match self.partitions[index].live(record, &mut self.tools, out)? {
            0 => Ok(Outcome::Dropped(DropReason::NoView)),
            records => Ok(Outcome::Emitted { records }),
        }
    }

    /// Since the look at the catalogue a broker may have been slow, or the process stopped: for longer than a view may outlive
    /// its grant (P9).
    fn before_commit(&mut self) -> Result<(), Fault> {
        if self.checked.elapsed() < self.setup.fresh_for {
            return Ok(());
        }
        self.setup.catalogue.in_force()?;
        let is_same = self.setup.catalogue.current().revision == self.snapshot.revision
            && self.day((self.setup.clock)()) == self.today;
        if is_same { Ok(()) } else { Err(Fault::retry("commit", "the grants changed while the batch was written")) }
    }

    fn has_background_work(&self) -> bool {
        self.partitions.iter().any(Held::has_work)
    }

    fn background(&mut self, replay: &mut dyn Replay, out: &mut dyn Output) -> Result<Progress, Fault> {
        let mut left = self.setup.fill_batch_records;
        for held in &mut self.partitions {
            if left > 0 && held.has_work() {
                left = left.saturating_sub(held.fill(left, &mut self.tools, replay, out)?);
            }
            held.save(out)?;
        }
        Ok(if self.has_background_work() { Progress::More } else { Progress::Idle })
    }
}
