//! The topics that a catalogue needs, with the settings that the promises rest on.

use std::collections::BTreeMap;

use freshet_core::topics;

use crate::catalog::Catalog;

/// A topic as it should be. Settings that are not named stay at the broker's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// True for topics whose partition number carries no order (rejections, view positions): `partitions` is then the
    /// least that is needed. The others keep the number that they were created with (design.md §6).
    pub may_grow: bool,
    /// Kafka's topic settings, e.g. `cleanup.policy`.
    pub settings: BTreeMap<String, String>,
}

const HOUR_MS: u64 = 3_600_000;
/// How long a publisher has to fetch its rejections.
const REJECT_HOURS: u64 = 30 * 24;
/// The trail is kept for three years and a margin (政务数据共享条例 art. 29, 个人信息保护法 art. 56).
const AUDIT_HOURS: u64 = (3 * 366 + 30) * 24;
const AUDIT_PARTITIONS: i32 = 6;
/// What the bus's own topics take a request's batch to be. More than `publish.*` (the broker's default, 1 MiB), so that an
/// event that could be published can also be written on with its reasons, and more than our producers send (4 MiB).
const OWN_MAX_BYTES: u32 = 5 * 1024 * 1024;

/// Every topic of the bus under this catalogue, by name.
pub fn topics_of(catalog: &Catalog) -> Vec<TopicSpec> {
    let widest = catalog.datasets.values().map(|dataset| dataset.partitions).max().unwrap_or(1);
    let mut specs = vec![
        TopicSpec::compacted(topics::CATALOG.to_owned(), 1, 0),
        TopicSpec::deleted(topics::AUDIT.to_owned(), AUDIT_PARTITIONS, AUDIT_HOURS),
        TopicSpec::compacted(topics::VIEW_POSITIONS.to_owned(), widest, 0).growing(),
        TopicSpec::deleted(topics::REJECT_UNASSIGNED.to_owned(), widest, REJECT_HOURS).growing(),
    ];
    // Only whoever has a source can publish, and so be refused. Topics cost the broker time and memory.
    for department in catalog.departments.values().filter(|department| !department.sources.is_empty()) {
        specs.push(TopicSpec::deleted(topics::reject(&department.id), widest, REJECT_HOURS).growing());
    }
    for (id, dataset) in &catalog.datasets {
        let (publish, tombstone) = (dataset.retention.publish_hours.into(), dataset.retention.tombstone_hours.into());
        specs.push(TopicSpec::deleted(topics::publish(id), dataset.partitions, publish));
        specs.push(TopicSpec::compacted(topics::dataset(id), dataset.partitions, tombstone));
    }
    for (id, view) in &catalog.views {
        // A subscriber that was away for less than this misses neither an event nor a removal.
        let hours = catalog.datasets.get(&view.dataset).map_or(0, |dataset| dataset.retention.tombstone_hours.into());
        specs.push(TopicSpec::compacted(topics::view(id), view.partitions, hours));
    }
    for spec in specs.iter_mut().filter(|spec| !spec.name.starts_with("publish.")) {
        spec.settings.insert("max.message.bytes".to_owned(), OWN_MAX_BYTES.to_string());
    }
    specs.sort_by(|a, b| a.name.cmp(&b.name));
    specs
}

impl TopicSpec {
    fn new(name: String, partitions: i32, settings: &[(&str, String)]) -> Self {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Self { name, partitions, may_grow: false, settings }
    }

    fn deleted(name: String, partitions: i32, hours: u64) -> Self {
        let retention = (hours * HOUR_MS).to_string();
        Self::new(name, partitions, &[("cleanup.policy", "delete".to_owned()), ("retention.ms", retention)])
    }

    /// `hours` 0 leaves the broker's defaults.
    fn compacted(name: String, partitions: i32, hours: u64) -> Self {
        let mut settings = vec![("cleanup.policy", "compact".to_owned())];
        if hours > 0 {
            settings.push(("min.compaction.lag.ms", (hours * HOUR_MS).to_string()));
            settings.push(("delete.retention.ms", (hours * HOUR_MS).to_string()));
        }
        Self::new(name, partitions, &settings)
    }

    fn growing(mut self) -> Self {
        self.may_grow = true;
        self
    }
}
