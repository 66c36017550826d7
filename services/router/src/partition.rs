//! One partition of a dataset with what each of its views has been given. What the positions mean, and why nothing is
//! missed or repeated: `position.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet_avro::Walk;
use freshet_core::hashed::Seed;
use freshet_core::{Assigned, Fault, InRecord, Output, Replay, ReplayRange, headers, topics};

use crate::keys::Keys;
use crate::metrics::{Census, Uncommitted};
use crate::position::{self, Position, Saved};
use crate::route::{Buffers, Event, route};
use crate::sweep::sweep;
use crate::topics::{TopicIds, Topics};
use crate::views::{ActiveView, Routes};

/// What all partitions of an instance share.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) seed: Seed,
    pub(crate) walk: Walk,
    pub(crate) buffers: Buffers,
    pub(crate) uncommitted: Uncommitted,
}

#[derive(Debug)]
pub(crate) struct Held {
    /// `dataset.<dataset>`
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Where the live input goes on: L of `position.rs`.
    position: i64,
    /// `None` where the dataset left the catalogue.
    pub(crate) routes: Option<Arc<Routes>>,
    views: BTreeMap<String, ViewPartition>,
}

#[derive(Debug)]
struct ViewPartition {
    /// `None` where no active grant needs it.
    view: Option<Arc<ActiveView>>,
    position: Position,
    topics: Topics,
    /// The position is not written down yet.
    unsaved: bool,
    /// Which rows are in. `None` where the view has no filter, or where they have not been read back yet.
    keys: Option<Keys>,
}

impl ViewPartition {
    fn new(Saved { position, topics }: Saved) -> Self {
        Self { view: None, position, topics, unsaved: false, keys: None }
    }

    /// Every event must be given to it once more: of its topic, or of the dataset's, nothing is left.
    fn begin_anew(&mut self) {
        self.position = match self.position {
            Position::Live | Position::Filling { .. } => Position::NEW,
            Position::Stopped { at_ms, .. } => Position::Stopped { offset: 0, at_ms },
        };
        self.keys = None;
    }

    fn load_keys(&mut self, partition: i32, seed: Seed, replay: &mut dyn Replay) -> Result<(), Fault> {
        if let Some(view) = &self.view
            && view.compiled.is_filtered()
            && self.keys.is_none()
        {
            self.keys = Some(Keys::load(&view.compiled.view.id, partition, seed, replay)?);
        }
        Ok(())
    }

    /// Where to go on filling it, below or at the live input's `position`. A view that is ahead of the input, because the
    /// group's offsets were lost or set back, waits until the input has come to it, so that it is not given anything twice.
    fn next_to_fill(&self, position: i64) -> Option<i64> {
        match self.position {
            Position::Filling { offset, .. } if offset <= position => self.view.is_some().then_some(offset),
            Position::Filling { .. } | Position::Live | Position::Stopped { .. } => None,
        }
    }
}

impl Held {
    /// The state as of the last committed transaction: from the positions that were `saved` for views of all datasets in
    /// partitions of this number, and the keys in the views.
    pub(crate) fn rebuild<'s>(
        assigned: &Assigned,
        saved: impl Iterator<Item = (&'s String, &'s Saved)>,
        routes: Option<Arc<Routes>>,
        (now_ms, ids): (i64, &TopicIds),
        seed: Seed,
        replay: &mut dyn Replay,
    ) -> Result<Self, Fault> {
        let Assigned { topic, partition, position } = assigned.clone();
        let dataset = topic.strip_prefix("dataset.").unwrap_or(&topic).to_owned();
        let mut held = Self { topic, partition, position, routes, views: BTreeMap::new() };
        for (id, saved) in saved {
            // A view's id is `<dataset>.<hash>`.
            if id.rsplit_once('.').is_some_and(|(of, _)| of == dataset) {
                held.views.insert(id.clone(), ViewPartition::new(*saved));
            }
        }
        held.follow_topics(ids);
        if held.position == 0 {
            held.mind_lost_offsets(replay)?;
        }
        held.follow_grants(now_ms);
        held.follow_topics(ids);
        for view in held.views.values_mut().filter(|view| view.position == Position::Live) {
            view.load_keys(partition, seed, replay)?;
        }
        Ok(held)
    }

    /// The broker forgets a group's offsets some days after its last member left. Then the input begins anew, and what was
    /// live must not be given everything again: its own last record says how far it had come.
    fn mind_lost_offsets(&mut self, replay: &mut dyn Replay) -> Result<(), Fault> {
        for (id, known) in self.views.iter_mut().filter(|(_, known)| known.position == Position::Live) {
            let mut last = None;
            replay.replay(&topics::view(id), self.partition, ReplayRange::default(), &mut |record| {
                last = record.header_str(headers::DATASET_OFFSET).and_then(|text| text.parse::<i64>().ok()).or(last);
                Ok(())
            })?;
            if let Some(last) = last {
                tracing::warn!(view = id, partition = self.partition, last, "the group's offsets are lost");
                known.position = Position::Filling { offset: last + 1, sweep: false };
                known.unsaved = true;
            }
        }
        Ok(())
    }

    /// The topics that its views' positions are of, by name.
    pub(crate) fn topics(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.topic.clone()).chain(self.views.keys().map(|id| topics::view(id)))
    }

    /// Fills anew what is of topics that were made anew. Takes effect as [`Held::follow_grants`] does.
    pub(crate) fn follow_topics(&mut self, ids: &TopicIds) {
        for (id, known) in &mut self.views {
            let before = known.topics;
            let made_anew = known.topics.follow(&self.topic, id, ids);
            known.unsaved |= known.topics != before;
            if made_anew.dataset || made_anew.view {
                let topic = if made_anew.view { topics::view(id) } else { self.topic.clone() };
                tracing::error!(
                    view = id,
                    partition = self.partition,
                    topic,
                    "topic was made anew, view is filled anew"
                );
                known.begin_anew();
            }
        }
    }

    /// Makes the views those that active grants need. Takes effect with the next event; the positions are written in the
    /// transaction of that event.
    pub(crate) fn follow_grants(&mut self, now_ms: i64) {
        let (active, window_ms) = match &self.routes {
            Some(routes) => {
                let hours = routes.dataset.dataset.retention.tombstone_hours;
                (Some(&routes.views), i64::from(hours) * 3_600_000)
            }
            None => (None, i64::MAX),
        };
        for (id, view) in active.into_iter().flatten() {
            let known = self
                .views
                .entry(id.clone())
                .or_insert_with(|| ViewPartition::new(Saved { position: Position::NEW, topics: Topics::default() }));
            if let Position::Stopped { offset, at_ms } = known.position {
                known.position = Position::Filling { offset, sweep: now_ms.saturating_sub(at_ms) >= window_ms };
                known.unsaved = true;
            }
            known.view = Some(Arc::clone(view));
        }
        for (id, known) in &mut self.views {
            if active.is_some_and(|active| active.contains_key(id)) {
                continue;
            }
            (known.view, known.keys) = (None, None);
            let offset = match known.position {
                Position::Live => self.position,
                Position::Filling { offset, .. } => offset,
                Position::Stopped { .. } => continue,
            };
            // A sweep that is still due stays due: of a view that was stopped long ago, or at an unknown time.
            let at_ms = if matches!(known.position, Position::Filling { sweep: true, .. }) { 0 } else { now_ms };
            known.position = Position::Stopped { offset, at_ms };
            known.unsaved = true;
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        self.views.values().any(|view| view.unsaved || view.next_to_fill(self.position).is_some())
    }

    /// One live event to every live view. Returns how many records were written.
    pub(crate) fn live(
        &mut self,
        record: &InRecord<'_>,
        tools: &mut Tools,
        out: &mut dyn Output,
    ) -> Result<u32, Fault> {
        debug_assert!(record.offset >= self.position, "an event came twice");
        let mut written = 0;
        let Tools { seed, walk, buffers, uncommitted } = tools;
        let mut live = self.views.values_mut().filter(|view| view.position == Position::Live).peekable();
        if let Some(routes) = self.routes.as_ref().filter(|_| live.peek().is_some()) {
            let event = Event::read(record, &routes.dataset, *seed, walk)?;
            for known in live {
                let Some(view) = &known.view else { continue };
                if let Some(kind) = route(&event, view, known.keys.as_mut(), buffers, out)? {
                    uncommitted.count(routes.dataset.id(), kind);
                    written += 1;
                }
            }
        }
        self.position = record.offset + 1;
        Ok(written)
    }

    /// Goes on filling views, all that are behind in one reading of the dataset, with at most about `limit` records
    /// written. Returns how many there may have been.
    pub(crate) fn fill(
        &mut self,
        limit: usize,
        tools: &mut Tools,
        replay: &mut dyn Replay,
        out: &mut dyn Output,
    ) -> Result<usize, Fault> {
        let mut read = 0;
        let until = self.position;
        let filling = self.views.values().filter(|view| view.next_to_fill(until).is_some()).count();
        let from = self.views.values().filter_map(|view| view.next_to_fill(until)).min();
        if let (Some(routes), Some(from)) = (&self.routes, from) {
            for known in self.views.values_mut().filter(|view| view.next_to_fill(until).is_some()) {
                known.load_keys(self.partition, tools.seed, replay)?;
            }
            let mut reached = from;
            if from < until {
                let range = ReplayRange { from, until: Some(until), limit: Some((limit / filling.max(1)).max(1)) };
                let (views, Tools { seed, walk, buffers, uncommitted }) = (&mut self.views, &mut *tools);
                reached = replay.replay(&self.topic, self.partition, range, &mut |record| {
                    read += 1;
                    let event = Event::read(record, &routes.dataset, *seed, walk)?;
                    for known in views.values_mut() {
                        let Some(next) = known.next_to_fill(until) else { continue };
                        let Some(view) = known.view.as_ref().filter(|_| next <= record.offset) else { continue };
                        if let Some(kind) = route(&event, view, known.keys.as_mut(), buffers, out)? {
                            uncommitted.count(routes.dataset.id(), kind);
                        }
                    }
                    Ok(())
                })?;
            }
            for (id, known) in &mut self.views {
                let Position::Filling { offset, sweep: is_due } = known.position else { continue };
                let Some(view) = known.view.as_ref().filter(|_| offset <= until) else { continue };
                let next = offset.max(reached);
                known.unsaved |= next != offset;
                if next < until {
                    known.position = Position::Filling { offset: next, sweep: is_due };
                    continue;
                }
                if is_due {
                    let place = (self.topic.as_str(), self.partition, until);
                    sweep(place, view, known.keys.as_mut(), tools.seed, replay, out)?;
                }
                tracing::debug!(view = id, partition = self.partition, offset = until, "view is live");
                known.position = Position::Live;
                known.unsaved = true;
            }
        }
        Ok(read * filling)
    }

    /// Writes down every position that changed. Must be done in every transaction: a view that was stopped at L, and is
    /// not written down when the input moves on from L, would miss what comes between.
    pub(crate) fn save(&mut self, out: &mut dyn Output) -> Result<(), Fault> {
        for (id, known) in self.views.iter_mut().filter(|(_, known)| known.unsaved) {
            let saved = Saved { position: known.position, topics: known.topics };
            position::write(id, self.partition, saved, out)?;
            known.unsaved = false;
        }
        Ok(())
    }

    pub(crate) fn count(&self, census: &mut Census) {
        for view in self.views.values() {
            match view.position {
                Position::Live => census.live += 1,
                Position::Filling { .. } => census.filling += 1,
                Position::Stopped { .. } => census.stopped += 1,
            }
            census.keys += view.keys.as_ref().map_or(0, |keys| i64::try_from(keys.len()).unwrap_or(i64::MAX));
        }
    }
}
