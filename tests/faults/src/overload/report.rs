//! What a run came to, and whether it is good.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::arrivals::Arrivals;
use super::calm::Told;
use super::crowd::Flood;
use super::{Options, Part, all};

/// How much later the other department may be answered beside the flood than beside what is sustained.
const MOST_LATENCY: f64 = 2.0;
/// What memory may grow by between the first third and the last, and what the allocator may keep besides, MiB.
const MOST_GROWTH: f64 = 1.1;
const KEPT_MIB: f64 = 8.0;
/// What the gateway may hold at all: its bounds are half of that.
const MOST_MEMORY_KIB: u64 = 512 * 1024;

pub(super) struct Parts<'a> {
    pub options: &'a Options,
    pub sustained: &'a Flood,
    pub flooded: &'a Flood,
    pub told: Vec<Told>,
    pub arrivals: &'a Arrivals,
    pub memory: Vec<u64>,
    pub drained: Option<Duration>,
    pub recovered: Option<Duration>,
}

/// Of the other department in one part of the run; milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    pub part: Part,
    pub events: usize,
    pub not_accepted: usize,
    pub answer_p50: f64,
    pub answer_p99: f64,
    pub arrival_p50: f64,
    pub arrival_p99: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub sustained_per_second: f64,
    pub offered_per_second: f64,
    pub accepted_per_second: f64,
    pub connections: usize,
    pub seconds: f64,
    pub offered: u64,
    pub accepted: u64,
    pub unknown: u64,
    pub shed: BTreeMap<u16, u64>,
    pub other: BTreeMap<String, u64>,
    pub without_retry_after: u64,
    pub lost: usize,
    pub twice: usize,
    pub never_offered: usize,
    pub latency: Vec<Latency>,
    /// Of the gateway, MiB: the most in the first third of the flood, the most in the last.
    pub memory_mib: (f64, f64),
    pub drained_seconds: Option<f64>,
    pub recovered_seconds: Option<f64>,
}

impl Report {
    pub(super) fn new(parts: Parts<'_>) -> Self {
        let Parts { options, sustained, flooded, told, arrivals, memory, drained, recovered } = parts;
        let (accepted, unknown) = all([sustained, flooded]);
        let (twice, never_offered) = arrivals.too_many(&accepted, &unknown);
        let calm_lost = told.iter().filter(|told| told.status == Some(202) && arrivals.of(&told.id).is_none()).count();
        let seconds = options.length.as_secs_f64();
        let third = memory.len().div_ceil(3);
        let most = |part: &[u64]| part.iter().max().copied().unwrap_or_default() as f64 / 1024.0;
        let first_third = most(&memory[..third.min(memory.len())]);
        let last_third = most(&memory[memory.len() - third.min(memory.len())..]);
        let parts = [Part::Alone, Part::Sustained, Part::Flooded, Part::After];
        Self {
            sustained_per_second: sustained.accepted_per_second(),
            offered_per_second: flooded.offered as f64 / seconds,
            accepted_per_second: flooded.accepted.len() as f64 / seconds,
            connections: options.connections,
            seconds,
            offered: flooded.offered,
            accepted: flooded.accepted.len() as u64,
            unknown: flooded.unknown.len() as u64,
            shed: flooded.shed.clone(),
            other: flooded.other.clone(),
            without_retry_after: sustained.without_retry_after + flooded.without_retry_after,
            lost: arrivals.missing(&accepted) + calm_lost,
            twice,
            never_offered,
            latency: parts.into_iter().map(|part| Latency::of(part, &told, arrivals)).collect(),
            memory_mib: (first_third, last_third),
            drained_seconds: drained.map(|time| time.as_secs_f64()),
            recovered_seconds: recovered.map(|time| time.as_secs_f64()),
        }
    }

    fn of(&self, part: Part) -> Option<&Latency> {
        self.latency.iter().find(|latency| latency.part == part)
    }

    /// What holds on every machine, however slow: nothing lost, nothing twice, whoever was turned away knows when to come
    /// back, memory bounded.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut require = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        require(self.lost == 0, format!("{} accepted events did not arrive", self.lost));
        require(self.twice == 0, format!("{} events arrived twice", self.twice));
        require(self.never_offered == 0, format!("{} events arrived that were turned away", self.never_offered));
        require(self.without_retry_after == 0, format!("{} answers had no Retry-After", self.without_retry_after));
        require(self.other.is_empty(), format!("answered otherwise than with 200, 429 or 503: {:?}", self.other));
        require(self.drained_seconds.is_some(), "what was accepted did not arrive in time".to_owned());
        require(
            self.memory_mib.1 * 1024.0 <= MOST_MEMORY_KIB as f64,
            format!("{:.0} MiB of memory", self.memory_mib.1),
        );
        require(!self.shed.is_empty(), "nobody was turned away: this was no flood".to_owned());
        broken
    }

    /// What a machine must be quiet for to say it.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        if let (Some(before), Some(during)) = (self.of(Part::Sustained), self.of(Part::Flooded)) {
            for (what, before, during) in [
                ("answer, p50", before.answer_p50, during.answer_p50),
                ("answer, p99", before.answer_p99, during.answer_p99),
                ("arrival, p50", before.arrival_p50, during.arrival_p50),
                ("arrival, p99", before.arrival_p99, during.arrival_p99),
            ] {
                if during > before * MOST_LATENCY {
                    missed.push(format!(
                        "the other department's {what} was {during:.0} ms, {before:.0} ms before the flood"
                    ));
                }
            }
            if during.not_accepted > 0 {
                missed.push(format!("{} events of the other department were not accepted", during.not_accepted));
            }
        }
        let (first, last) = self.memory_mib;
        if last > first * MOST_GROWTH && last > first + KEPT_MIB {
            missed.push(format!("memory grew from {first:.0} to {last:.0} MiB"));
        }
        if self.recovered_seconds.is_none_or(|seconds| seconds > 10.0) {
            missed.push(format!("recovered after {:?} s", self.recovered_seconds));
        }
        missed
    }
}

impl Latency {
    fn of(part: Part, told: &[Told], arrivals: &Arrivals) -> Self {
        let own: Vec<&Told> = told.iter().filter(|told| told.part == part).collect();
        let accepted: Vec<&&Told> = own.iter().filter(|told| told.status == Some(202)).collect();
        let answers = accepted.iter().map(|told| told.answered).collect();
        let came = accepted.iter().filter_map(|told| Some(arrivals.of(&told.id)?.saturating_duration_since(told.sent)));
        let (answer_p50, answer_p99) = quantiles(answers);
        let (arrival_p50, arrival_p99) = quantiles(came.collect());
        let not_accepted = own.len() - accepted.len();
        Self { part, events: own.len(), not_accepted, answer_p50, answer_p99, arrival_p50, arrival_p99 }
    }
}

fn quantiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len().saturating_sub(1) as f64 * share).round() as usize;
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    (at(0.5), at(0.99))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut flood = Table::new();
        flood.load_preset(ASCII_MARKDOWN).set_header(["Flood", ""]);
        let share = |events: u64| format!("{events} ({:.1} %)", events as f64 * 100.0 / self.offered.max(1) as f64);
        let mut rows = vec![
            ("sustained before, events/s".to_owned(), format!("{:.0}", self.sustained_per_second)),
            ("connections".to_owned(), self.connections.to_string()),
            ("seconds".to_owned(), format!("{:.0}", self.seconds)),
            ("offered, events/s".to_owned(), format!("{:.0}", self.offered_per_second)),
            ("offered".to_owned(), self.offered.to_string()),
            ("accepted".to_owned(), share(self.accepted)),
        ];
        rows.extend(self.shed.iter().map(|(status, events)| (format!("turned away with {status}"), share(*events))));
        rows.push(("answer not known".to_owned(), share(self.unknown)));
        rows.push(("without Retry-After".to_owned(), self.without_retry_after.to_string()));
        rows.push(("accepted and lost".to_owned(), self.lost.to_string()));
        rows.push(("arrived twice".to_owned(), self.twice.to_string()));
        rows.push((
            "memory, first and last third, MiB".to_owned(),
            format!("{:.0}, {:.0}", self.memory_mib.0, self.memory_mib.1),
        ));
        let seconds = |time: Option<f64>| time.map_or_else(|| "never".to_owned(), |time| format!("{time:.1}"));
        rows.push(("all arrived, seconds after".to_owned(), seconds(self.drained_seconds)));
        rows.push(("answers as before, seconds after".to_owned(), seconds(self.recovered_seconds)));
        for (name, value) in rows {
            flood.add_row([name, value]);
        }
        let mut other = Table::new();
        other.load_preset(ASCII_MARKDOWN);
        other.set_header([
            "The other department, ms",
            "events",
            "not accepted",
            "answer p50",
            "p99",
            "arrival p50",
            "p99",
        ]);
        for latency in &self.latency {
            let name = match latency.part {
                Part::Alone => "alone",
                Part::Sustained => "beside what is sustained",
                Part::Flooded => "beside the flood",
                Part::After => "after it",
            };
            let ms = |value: f64| format!("{value:.0}");
            other.add_row([
                name.to_owned(),
                latency.events.to_string(),
                latency.not_accepted.to_string(),
                ms(latency.answer_p50),
                ms(latency.answer_p99),
                ms(latency.arrival_p50),
                ms(latency.arrival_p99),
            ]);
        }
        for table in [&mut flood, &mut other] {
            for column in table.column_iter_mut().skip(1) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(f, "{flood}\n\n{other}")?;
        for line in self.broken() {
            writeln!(f, "broken: {line}")?;
        }
        for line in self.missed() {
            writeln!(f, "missed: {line}")?;
        }
        Ok(())
    }
}
