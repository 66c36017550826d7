//! Cost curves: what events a second and CPU an event do while one thing grows. Each is drawn as SVG and printed.

use std::path::Path;

use crate::catalogue::{self, Files};
use crate::cluster::Cluster;
use crate::delivery::{self, Webhooks, validate};
use crate::hops::{Turns, measured};
use crate::licence::{Generator, PLAIN_BYTES};
use crate::measure::Stretch;
use crate::svg::{Curve, Point};

const SIZES: &[usize] = &[0, 1_000, 4_000, 16_000, 60_000];
const RULES: &[u32] = &[0, 8, 32, 128];
const PARTITIONS: &[u32] = &[1, 4, 16, 64];
const VIEWS: &[u32] = &[1, 2, 5, 10, 20, 50];
const SUBSCRIBERS: &[usize] = &[1, 5, 20, 50];
/// Of one point of the subscribers.
const MOST_DELIVERIES: u64 = 8_000;
const DATASET_PARTITIONS: u32 = 4;
/// Fields of every view of the curve; and some of which each view takes others, so that no two are alike.
const VIEW_FIELDS: &str = "licence_no, status, holder_name, updated_at";
const VARIED: &[&str] = &["active", "fee_minor", "revoked_on", "valid_from", "issued_on", "sequence"];
/// Of one point; less where records are large.
const MOST_BYTES: u64 = 150_000_000;

type Measure = fn(&Run) -> anyhow::Result<Curve>;

const CURVES: &[(&str, Measure)] = &[
    ("views", Run::views),
    ("rules", Run::rules),
    ("partitions", Run::partitions),
    ("size", Run::sizes),
    ("subscribers", Run::subscribers),
];

pub fn names() -> Vec<&'static str> {
    CURVES.iter().map(|(name, _)| *name).collect()
}

/// Draws those that are named, or all, into a folder, each point over so many records.
pub fn draw(folder: &Path, records: u64, only: &[String]) -> anyhow::Result<Vec<Curve>> {
    std::fs::create_dir_all(folder)?;
    let mut curves = Vec::new();
    for (name, measure) in CURVES.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|one| one == name)) {
        // A broker of its own: what other curves wrote is not its business.
        let run = Run { cluster: Cluster::with(&catalogue_of_all()?)?, records };
        let curve = measure(&run)?;
        std::fs::write(folder.join(format!("{name}.svg")), curve.svg())?;
        curves.push(curve);
    }
    Ok(curves)
}

fn catalogue_of_all() -> anyhow::Result<Files> {
    let mut files = catalogue::base();
    for rules in RULES {
        catalogue::add_dataset(&mut files, &format!("rules_{rules}"), DATASET_PARTITIONS, *rules)?;
    }
    for partitions in PARTITIONS {
        catalogue::add_dataset(&mut files, &format!("partitions_{partitions}"), *partitions, 0)?;
    }
    for views in VIEWS {
        let dataset = format!("views_{views}");
        catalogue::add_dataset(&mut files, &dataset, DATASET_PARTITIONS, 0)?;
        add_views(&mut files, &dataset, *views);
    }
    Ok(files)
}

struct Run {
    cluster: Cluster,
    records: u64,
}

impl Run {
    fn views(&self) -> anyhow::Result<Curve> {
        let points = VIEWS.iter().map(|count| Ok(point(count, self.router(*count)?)));
        curve(("router: views that take every event", "views", "events"), points)
    }

    fn rules(&self) -> anyhow::Result<Curve> {
        let points = RULES.iter().map(|count| Ok(point(count, self.validator(&format!("rules_{count}"), 0)?)));
        curve(("validator: rules of the dataset, beside its own two", "further rules", "events"), points)
    }

    fn partitions(&self) -> anyhow::Result<Curve> {
        let points =
            PARTITIONS.iter().map(|count| Ok(point(count, self.validator(&format!("partitions_{count}"), 0)?)));
        curve(("validator: partitions of the dataset", "partitions", "events"), points)
    }

    fn sizes(&self) -> anyhow::Result<Curve> {
        let points = SIZES.iter().map(|padding| {
            let bytes = format!("{:.1} kB", (padding + PLAIN_BYTES) as f64 / 1_000.0);
            Ok(point(&bytes, self.validator("licence", *padding)?))
        });
        curve(("validator: size of the value", "bytes of the value", "events"), points)
    }

    fn subscribers(&self) -> anyhow::Result<Curve> {
        // A licence goes to two or three views.
        self.validator("licence", 0)?;
        delivery::fill_views(&self.cluster, 2 * 3 * MOST_DELIVERIES)?;
        let points = SUBSCRIBERS.iter().map(|count| {
            let events_each = (MOST_DELIVERIES / *count as u64).max(200);
            let rows = delivery::webhooks(&self.cluster, Webhooks { receivers: *count, events_each, rounds: 1 })?;
            let own = rows.last().ok_or_else(|| anyhow::anyhow!("no row of the webhooks"))?;
            Ok(Point {
                at: count.to_string(),
                events_per_second: own.events_per_second,
                cpu_us: own.cpu_us_per_event,
                peak_memory_mib: own.peak_memory_mib,
            })
        });
        curve(("fanout: subscribers by webhook, their receivers' CPU counted too", "subscribers", "deliveries"), points)
    }

    /// The validator alone on a dataset that was just filled.
    fn validator(&self, dataset: &str, padding: usize) -> anyhow::Result<Stretch> {
        let records = self.load(dataset, padding)?;
        let service = self.cluster.start_service(|connection, context| {
            freshet_validator::run(freshet_validator::Config::default(), connection, context)
        });
        measured(service, &self.cluster, "freshet_validator_records_total", Turns::whole(records))
    }

    /// The router alone on a dataset that the validator has just filled.
    fn router(&self, count: u32) -> anyhow::Result<Stretch> {
        // What is written counts here; but several batches of 10,000, of which the first warms up.
        let records = (self.records * 3 / u64::from(count + 2)).max(50_000);
        let dataset = format!("views_{count}");
        let generator = Generator::from(self.cluster.schema_of(&dataset)?, u64::from(count) * 10_000_000);
        self.cluster.load_from(&format!("publish.{dataset}"), generator, records)?;
        validate(&self.cluster, records)?;
        let service = self.cluster.start_service(|connection, context| {
            freshet_router::run(freshet_router::Config::default(), connection, context)
        });
        let good = records - records / 100;
        measured(service, &self.cluster, "freshet_router_records_total", Turns::whole(good))
    }

    /// Returns how many.
    fn load(&self, dataset: &str, padding: usize) -> anyhow::Result<u64> {
        let records = self.records.min(MOST_BYTES / (padding as u64 + 600));
        let first = (padding as u64 + 1) * 100_000_000;
        let generator = Generator::from(self.cluster.schema_of(dataset)?, first).padded(padding);
        self.cluster.load_from(&format!("publish.{dataset}"), generator, records)?;
        Ok(records)
    }
}

fn add_views(files: &mut Files, dataset: &str, count: u32) {
    for number in 0..count {
        let varied = VARIED.iter().enumerate().filter(|(bit, _)| number >> bit & 1 == 1);
        let fields = varied.fold(VIEW_FIELDS.to_owned(), |fields, (_, field)| format!("{fields}, {field}"));
        let id = format!("{}-{number}", dataset.replace('_', "-"));
        catalogue::add_subscriber(files, &id, dataset, (&fields, None));
    }
}

fn point(at: &impl ToString, stretch: Stretch) -> Point {
    Point {
        at: at.to_string(),
        events_per_second: stretch.events_per_second(),
        cpu_us: stretch.cpu_us_per_event(),
        peak_memory_mib: Some(stretch.peak_memory_mib),
    }
}

fn curve(
    (title, along, events): (&str, &str, &str),
    points: impl Iterator<Item = anyhow::Result<Point>>,
) -> anyhow::Result<Curve> {
    let mut measured = Vec::new();
    for point in points {
        let point = point?;
        eprintln!("  {title}, {}: {:.0}/s, {:.1} µs CPU", point.at, point.events_per_second, point.cpu_us);
        measured.push(point);
    }
    Ok(Curve { title: title.to_owned(), along: along.to_owned(), events: events.to_owned(), points: measured })
}
