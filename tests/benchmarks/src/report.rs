//! What was measured, and its table.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::figure::Figure;
use crate::measure::median;
use crate::peer::Comparison;
use crate::svg::Curve;

/// One measured thing beside its limit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Row {
    pub what: String,
    pub events: u64,
    /// The middle round's, as all that follows where there were several.
    pub events_per_second: f64,
    pub cpu_us_per_event: f64,
    /// Events per second ÷ those of the limit in the same round.
    pub ratio: Option<Ratio>,
    /// CPU per event ÷ that of the limit in the same round.
    pub cpu_ratio: Option<Ratio>,
    /// Of the process while this ran, the measuring's own among it.
    pub peak_memory_mib: Option<u64>,
    /// Events in the first second after a cold start ÷ events in a second later on.
    pub first_second: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LatencyRow {
    pub what: String,
    pub rate_per_second: u32,
    /// The middle of the rounds, as all that follows.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// ÷ those of the limit in the same round.
    pub p50_ratio: Option<Ratio>,
    pub p99_ratio: Option<Ratio>,
}

/// How one thing stands to another of the same round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Of the rounds.
    pub middle: f64,
    pub least: f64,
    pub greatest: f64,
}

impl Ratio {
    /// One of each round, at least one.
    pub fn of(rounds: &[f64]) -> Self {
        let (least, greatest) = rounds
            .iter()
            .fold((f64::INFINITY, 0.0_f64), |(least, greatest), ratio| (ratio.min(least), ratio.max(greatest)));
        Self { middle: median(rounds), least, greatest }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.middle, self.least, self.greatest)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub machine: String,
    /// Of the rows of validator and router.
    pub records: u64,
    pub rows: Vec<Row>,
    pub comparisons: Vec<Comparison>,
    pub figures: Vec<Figure>,
    pub latency: Vec<LatencyRow>,
    pub curves: Vec<Curve>,
}

impl Report {
    pub fn new(records: u64) -> Self {
        Self {
            machine: machine(),
            records,
            rows: Vec::new(),
            comparisons: Vec::new(),
            figures: Vec::new(),
            latency: Vec::new(),
            curves: Vec::new(),
        }
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    format!("{cores} cores, {}", model.unwrap_or_else(|| "unknown processor".to_owned()))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} licence records, one broker on the same machine ({})",
            grouped(self.records as f64),
            self.machine
        )?;
        self.table_of_rows(f)?;
        for Comparison { what, events_per_second, cpu_per_event, peak_memory } in &self.comparisons {
            writeln!(
                f,
                "\n{what}: events/s {events_per_second:.2}, CPU an event {cpu_per_event:.2}, memory {peak_memory:.2}"
            )?;
        }
        if !self.latency.is_empty() {
            writeln!(
                f,
                "\n| Latency, publish → read_committed subscriber | events/s | p50 ms | p99 ms | p50 ÷ limit | p99 ÷ limit |"
            )?;
            writeln!(f, "|---|---|---|---|---|---|")?;
        }
        for row in &self.latency {
            writeln!(
                f,
                "| {} | {} | {:.0} | {:.0} | {} | {} |",
                row.what,
                row.rate_per_second,
                row.p50_ms,
                row.p99_ms,
                or_dash(row.p50_ratio),
                or_dash(row.p99_ratio)
            )?;
        }
        if !self.figures.is_empty() {
            writeln!(f, "\n| What | measured | goal |\n|---|---|---|")?;
        }
        for figure in &self.figures {
            writeln!(f, "{figure}")?;
        }
        for curve in &self.curves {
            writeln!(f, "\n{curve}")?;
        }
        Ok(())
    }
}

impl Report {
    fn table_of_rows(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n| What | events/s | CPU µs an event | events/s ÷ limit | CPU ÷ limit | peak MiB |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(
                f,
                "| {} | {} | {:.1} | {} | {} | {} |",
                row.what,
                grouped(row.events_per_second),
                row.cpu_us_per_event,
                or_dash(row.ratio),
                or_dash(row.cpu_ratio),
                or_dash(row.peak_memory_mib),
            )?;
        }
        for row in &self.rows {
            if let Some(share) = row.first_second {
                writeln!(
                    f,
                    "\n{}: the first second after the start had {share:.2} of a later one's events.",
                    row.what
                )?;
            }
        }
        Ok(())
    }
}

fn or_dash(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// Thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
