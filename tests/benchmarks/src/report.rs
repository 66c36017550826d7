//! The table.

use std::fmt;

use serde::Serialize;

use crate::peer::Comparison;
use crate::{LatencyRow, Row};

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub machine: String,
    pub records: u64,
    pub rows: Vec<Row>,
    pub comparisons: Vec<Comparison>,
    pub latency: Vec<LatencyRow>,
}

impl Report {
    pub fn new(records: u64) -> Self {
        Self { machine: machine(), records, rows: Vec::new(), comparisons: Vec::new(), latency: Vec::new() }
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
        writeln!(f, "{} licence records, one broker on the same machine ({})\n", self.records, self.machine)?;
        writeln!(f, "| What | events/s | CPU µs an event | events/s ÷ limit | CPU ÷ limit | peak MiB |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(
                f,
                "| {} | {} | {:.1} | {} | {} | {} |",
                row.what,
                grouped(row.events_per_second),
                row.cpu_us_per_event,
                ratio(row.ratio, row.spread),
                ratio(row.cpu_ratio, row.cpu_spread),
                row.peak_memory_mib.map_or_else(|| "–".to_owned(), |mib| mib.to_string()),
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
        for Comparison { what, events_per_second, cpu_per_event, peak_memory } in &self.comparisons {
            writeln!(
                f,
                "\n{what}: events/s {events_per_second:.2}, CPU an event {cpu_per_event:.2}, memory {peak_memory:.2}"
            )?;
        }
        if self.latency.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n| Latency, publish → read_committed subscriber | events/s | p50 ms | p99 ms |")?;
        writeln!(f, "|---|---|---|---|")?;
        for row in &self.latency {
            writeln!(f, "| {} | {} | {:.0} | {:.0} |", row.what, row.rate_per_second, row.p50_ms, row.p99_ms)?;
        }
        Ok(())
    }
}

/// The middle round's, with the least and the greatest behind it.
fn ratio(value: Option<f64>, spread: Option<(f64, f64)>) -> String {
    match (value, spread) {
        (None, _) => "–".to_owned(),
        (Some(value), None) => format!("{value:.2}"),
        (Some(value), Some((least, most))) => format!("{value:.2} ({least:.2}–{most:.2})"),
    }
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
