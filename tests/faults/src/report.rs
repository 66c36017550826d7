//! What a run came to, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum as _;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::bus::Exit;
use crate::checker::{self, Violation};
use crate::history::{History, Millis};
use crate::nemesis::Injected;
use crate::probes::Unresponsive;
use crate::run::{Options, Script};
use crate::workload::{BUSINESS, LICENCES};

/// How many violations of a kind are told one by one.
const TOLD: usize = 6;
/// Datasets that are published all the time: where their deliveries stop, the bus does.
const STEADY: [&str; 2] = [LICENCES, BUSINESS];
/// A gap belongs to a fault where it begins before this time after it.
const AFTERMATH_MS: i64 = 5_000;

#[derive(Debug, Serialize)]
pub struct Report {
    pub seed: u64,
    pub seconds: u64,
    pub faults: usize,
    pub by_fault: BTreeMap<String, FaultLine>,
    pub acknowledged: usize,
    pub accepted: usize,
    pub refused: usize,
    pub deliveries: usize,
    pub grants: usize,
    pub violations: BTreeMap<&'static str, usize>,
    pub examples: Vec<String>,
    /// Seconds from the last fault's end until nothing was missing. None: not within the limit.
    pub drained_seconds: Option<f64>,
    pub longest_unavailability: Option<Outage>,
    /// Processes that ended by themselves, with what they said last.
    pub exits: Vec<String>,
    /// Processes that did not say that they live, and were killed for it as the chart's liveness probe would have them.
    pub unresponsive: Vec<Unresponsive>,
    pub not_ready: Vec<(String, String)>,
    pub peak_memory_mib: BTreeMap<String, u64>,
    pub memory_limit_mib: u64,
    pub memory_held: String,
    pub killed_for_memory: Vec<&'static str>,
    pub troubles: BTreeMap<String, usize>,
    pub injected: Vec<Injected>,
    /// The arguments that play it again.
    pub again: String,
}

/// Of a dataset that is published all the time, nothing arrived.
#[derive(Debug, Serialize)]
pub struct Outage {
    pub dataset: &'static str,
    pub seconds: f64,
    /// Since the run began.
    pub began_at_second: f64,
    /// The longest part of it in which its publisher was acknowledged nothing either: then the way in stood still.
    pub unacknowledged_seconds: f64,
}

#[derive(Debug, Default, Serialize)]
pub struct FaultLine {
    pub count: usize,
    /// That could not be done, with the last reason.
    pub failed: usize,
    pub reason: Option<String>,
    /// From the last delivery before it to the first after it.
    pub recovery_median_seconds: f64,
    pub recovery_worst_seconds: f64,
}

/// What a report is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    pub options: &'a Options,
    pub history: &'a History,
    pub injected: Vec<Injected>,
    pub violations: Vec<Violation>,
    pub begun: Millis,
    pub healed: Millis,
    pub drained: Option<Duration>,
    pub not_ready: Vec<(String, String)>,
    pub exits: Vec<Exit>,
    pub unresponsive: Vec<Unresponsive>,
    /// KiB.
    pub memory: BTreeMap<String, u64>,
    /// By what, and who was killed for taking more.
    pub held: (String, Vec<&'static str>),
    pub troubles: BTreeMap<String, usize>,
}

impl Report {
    pub fn new(parts: Parts<'_>) -> Self {
        let history = parts.history;
        let gaps: Vec<Vec<(Millis, Millis)>> =
            STEADY.iter().map(|dataset| gaps(history, dataset, parts.begun, parts.healed)).collect();
        let datasets = history.datasets.values();
        let counts = checker::count(&parts.violations);
        Self {
            seed: parts.options.seed,
            seconds: ((parts.healed - parts.begun) / 1_000).unsigned_abs(),
            faults: parts.injected.iter().filter(|fault| fault.failed.is_none()).count(),
            by_fault: by_fault(&parts.injected, &gaps),
            acknowledged: datasets.clone().map(|dataset| dataset.acknowledged.len()).sum(),
            accepted: datasets.clone().map(|dataset| dataset.canonical.len()).sum(),
            refused: datasets.map(|dataset| dataset.refused.len()).sum(),
            deliveries: history.grants.iter().map(|grant| grant.deliveries.len()).sum(),
            grants: history.grants.len(),
            violations: counts.into_iter().map(|(kind, count)| (kind.name(), count)).collect(),
            examples: examples(&parts.violations),
            drained_seconds: parts.drained.map(|time| time.as_secs_f64()),
            longest_unavailability: longest_outage(history, &gaps, parts.begun),
            exits: parts.exits.iter().map(|exit| format!("{} {}: {}", exit.id, exit.status, exit.said)).collect(),
            unresponsive: parts.unresponsive,
            not_ready: parts.not_ready,
            peak_memory_mib: parts.memory.into_iter().map(|(id, kib)| (id, kib / 1_024)).collect(),
            memory_limit_mib: parts.options.limit_mib,
            memory_held: parts.held.0,
            killed_for_memory: parts.held.1,
            troubles: parts.troubles,
            injected: parts.injected,
            again: match &parts.options.script {
                Script::Faults(only) => {
                    // As clap reads them.
                    let only: Vec<String> =
                        only.iter().filter_map(|kind| Some(kind.to_possible_value()?.get_name().to_owned())).collect();
                    let only = if only.is_empty() { String::new() } else { format!(" --only {}", only.join(",")) };
                    format!("--seed {}{only}", parts.options.seed)
                }
                Script::Upgrade(programs) => format!("upgrade --from {}", programs.old.display()),
            },
        }
    }

    /// True where every promise was kept, and everything arrived in time.
    pub fn is_good(&self) -> bool {
        let kept = self.violations.values().all(|count| *count == 0);
        let answered = self.not_ready.is_empty() && self.unresponsive.is_empty();
        kept && answered && self.drained_seconds.is_some() && self.is_within_memory()
    }

    fn is_within_memory(&self) -> bool {
        self.killed_for_memory.is_empty() && self.peak_memory_mib.values().all(|mib| *mib <= self.memory_limit_mib)
    }
}

fn examples(violations: &[Violation]) -> Vec<String> {
    let mut told: BTreeMap<checker::Kind, usize> = BTreeMap::new();
    let mut examples = Vec::new();
    for violation in violations {
        let count = told.entry(violation.kind).or_default();
        *count += 1;
        if *count <= TOLD {
            examples.push(violation.to_string());
        }
    }
    examples
}

/// Times without a delivery of this dataset, between the first and the last event of the run.
fn gaps(history: &History, dataset: &str, begun: Millis, healed: Millis) -> Vec<(Millis, Millis)> {
    // Who came late gets what is old, which says nothing.
    let steady = history.grants.iter().filter(|grant| grant.dataset == dataset && !grant.grant.starts_with("late-"));
    let mut times: Vec<Millis> = steady.flat_map(|grant| grant.deliveries.iter().map(|one| one.at)).collect();
    times.retain(|at| *at >= begun);
    // Before the first delivery, too, nothing arrives.
    times.push(begun);
    times.sort_unstable();
    let pairs = times.windows(2).map(|pair| (pair[0], pair[1]));
    pairs.filter(|(from, to)| to > from && *from <= healed).collect()
}

fn longest_outage(history: &History, gaps: &[Vec<(Millis, Millis)>], begun: Millis) -> Option<Outage> {
    let of_all = STEADY.iter().zip(gaps).flat_map(|(dataset, gaps)| gaps.iter().map(move |gap| (*dataset, *gap)));
    let (dataset, (from, to)) = of_all.max_by_key(|(_, (from, to))| to - from)?;
    let acknowledged = history.datasets.get(dataset)?.acknowledged.iter().map(|event| event.at);
    let mut times: Vec<Millis> = acknowledged.filter(|at| (from..=to).contains(at)).chain([from, to]).collect();
    times.sort_unstable();
    let silent = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    Some(Outage {
        dataset,
        seconds: seconds(to - from),
        began_at_second: seconds(from - begun),
        unacknowledged_seconds: seconds(silent),
    })
}

fn by_fault(injected: &[Injected], gaps: &[Vec<(Millis, Millis)>]) -> BTreeMap<String, FaultLine> {
    let mut lines: BTreeMap<String, FaultLine> = BTreeMap::new();
    let mut recoveries: BTreeMap<&str, Vec<Millis>> = BTreeMap::new();
    for fault in injected {
        let line = lines.entry(fault.kind.clone()).or_default();
        if let Some(reason) = &fault.failed {
            line.failed += 1;
            line.reason = Some(reason.clone());
            continue;
        }
        line.count += 1;
        let own = |(from, to): &&(Millis, Millis)| *to >= fault.began && *from <= fault.healed + AFTERMATH_MS;
        let longest = gaps.iter().flat_map(|gaps| gaps.iter().filter(own)).map(|(from, to)| to - from).max();
        recoveries.entry(&fault.kind).or_default().push(longest.unwrap_or(0));
    }
    for (kind, mut times) in recoveries {
        times.sort_unstable();
        if let (Some(line), Some(worst)) = (lines.get_mut(kind), times.last()) {
            line.recovery_worst_seconds = seconds(*worst);
            line.recovery_median_seconds = seconds(times[times.len() / 2]);
        }
    }
    lines
}

fn seconds(ms: Millis) -> f64 {
    ms as f64 / 1_000.0
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["fault", "times", "not done", "recovery median s", "worst s", ""]);
        for (kind, line) in &self.by_fault {
            let (median, worst) = (line.recovery_median_seconds, line.recovery_worst_seconds);
            let reason = line.reason.clone().unwrap_or_default();
            let (count, failed) = (line.count.to_string(), line.failed.to_string());
            table.add_row([kind.clone(), count, failed, format!("{median:.1}"), format!("{worst:.1}"), reason]);
        }
        writeln!(f, "{table}\n")?;
        writeln!(f, "seed {}, {} s, {} faults", self.seed, self.seconds, self.faults)?;
        let (acknowledged, accepted, refused) = (self.acknowledged, self.accepted, self.refused);
        writeln!(f, "events: {acknowledged} acknowledged, {accepted} accepted, {refused} refused")?;
        writeln!(f, "deliveries: {} to {} subscriptions", self.deliveries, self.grants)?;
        let memory: Vec<String> = self.peak_memory_mib.iter().map(|(id, mib)| format!("{id} {mib}")).collect();
        let (limit, held) = (self.memory_limit_mib, &self.memory_held);
        writeln!(f, "most memory (MiB): {}; limit {limit}, {held}", memory.join(", "))?;
        if !self.is_within_memory() {
            writeln!(f, "PAST THE LIMIT OF MEMORY; killed for it: {}", self.killed_for_memory.join(", "))?;
        }
        if let Some(outage) = &self.longest_unavailability {
            let Outage { dataset, seconds, began_at_second, unacknowledged_seconds } = outage;
            writeln!(
                f,
                "longest unavailability: {seconds:.1} s, {dataset}, from second {began_at_second:.0} on; for \
                 {unacknowledged_seconds:.1} s of it its publisher was acknowledged nothing"
            )?;
        }
        match self.drained_seconds {
            Some(time) => writeln!(f, "drained {time:.1} s after the last fault")?,
            None => writeln!(f, "DID NOT DRAIN")?,
        }
        for (id, said) in &self.not_ready {
            writeln!(f, "NOT READY: {id}: {said}")?;
        }
        for Unresponsive { id, at, answer } in &self.unresponsive {
            writeln!(f, "ALIVE BUT STUCK, killed: {id} at {at}: {answer}")?;
        }
        for exit in &self.exits {
            writeln!(f, "ended by itself: {exit}")?;
        }
        for (trouble, count) in &self.troubles {
            writeln!(f, "note: {count} × {trouble}")?;
        }
        for (kind, count) in &self.violations {
            writeln!(f, "{count:>7} {kind}")?;
        }
        for example in &self.examples {
            writeln!(f, "        {example}")?;
        }
        let verdict = if self.is_good() { "Every promise was kept." } else { "PROMISES WERE BROKEN." };
        writeln!(f, "{verdict} Again: cargo run --release -p faults -- {}", self.again)
    }
}
