//! What one sees while the demo plays: a table that is drawn anew on a terminal, a plain line elsewhere; the books at
//! the end.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};

use crate::books::{Books, DatasetLine, GrantLine};
use crate::ledger::{DatasetState, GrantState, Ledger};

/// Grants that share everything but the row filter are one line of the table.
const SMALL: &str = "division-";
const PLAIN_EVERY: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub struct View {
    begun: Instant,
    is_terminal: bool,
    /// Lines that the last drawing took.
    drawn: usize,
    last: Option<Instant>,
}

impl View {
    pub fn new() -> Self {
        Self { begun: Instant::now(), is_terminal: std::io::stdout().is_terminal(), drawn: 0, last: None }
    }

    pub fn show(&mut self, ledger: &Ledger) {
        let (datasets, grants) = (ledger.dataset_states(), ledger.grant_states());
        let mut out = std::io::stdout().lock();
        if self.is_terminal {
            let text = table(&datasets, &grants);
            if self.drawn > 0 {
                let _ = write!(out, "\x1b[{}A\x1b[J", self.drawn);
            }
            let _ = writeln!(out, "{text}");
            self.drawn = text.lines().count();
        } else if self.last.is_none_or(|last| last.elapsed() >= PLAIN_EVERY) {
            self.last = Some(Instant::now());
            let _ = writeln!(out, "{:5.1} s  {}", self.begun.elapsed().as_secs_f64(), line(&datasets, &grants));
        }
        let _ = out.flush();
    }
}

impl Default for View {
    fn default() -> Self {
        Self::new()
    }
}

fn line(datasets: &[DatasetState], grants: &[GrantState]) -> String {
    let sum = |part: fn(&DatasetState) -> usize| datasets.iter().map(part).sum::<usize>();
    let (due, delivered): (usize, usize) =
        grants.iter().fold((0, 0), |(due, delivered), state| (due + state.due, delivered + state.delivered));
    format!(
        "published {}, accepted {}, rejected {}; to {} subscriptions: due {due}, delivered {delivered}, behind {}",
        sum(|state| state.published),
        sum(|state| state.accepted),
        sum(|state| state.rejected),
        grants.len(),
        due.saturating_sub(delivered)
    )
}

fn table(datasets: &[DatasetState], grants: &[GrantState]) -> String {
    let mut table = plain(&[
        "dataset / subscriber",
        "way",
        "published",
        "accepted",
        "rejected",
        "delivered",
        "behind",
        "p50 ms",
        "p99 ms",
    ]);
    for dataset in datasets {
        table.add_row([
            dataset.dataset.clone(),
            String::new(),
            dataset.published.to_string(),
            dataset.accepted.to_string(),
            dataset.rejected.to_string(),
        ]);
        let own: Vec<&GrantState> = grants.iter().filter(|state| state.dataset == dataset.dataset).collect();
        for state in own.iter().filter(|state| !state.subscriber.starts_with(SMALL)) {
            let quantile = |share| state.latencies.quantile(share).map_or_else(String::new, |ms| ms.to_string());
            table.add_row([
                format!("  {}", state.subscriber),
                state.way.to_owned(),
                String::new(),
                String::new(),
                String::new(),
                state.delivered.to_string(),
                state.due.saturating_sub(state.delivered).to_string(),
                quantile(0.5),
                quantile(0.99),
            ]);
        }
        let small: Vec<&&GrantState> = own.iter().filter(|state| state.subscriber.starts_with(SMALL)).collect();
        if !small.is_empty() {
            let (due, delivered): (usize, usize) =
                small.iter().fold((0, 0), |(due, delivered), state| (due + state.due, delivered + state.delivered));
            let worst = |share| small.iter().filter_map(|state| state.latencies.quantile(share)).max();
            let text = |ms: Option<u32>| ms.map_or_else(String::new, |ms| format!("≤ {ms}"));
            table.add_row([
                format!("  {} city divisions", small.len()),
                "kafka, pull".to_owned(),
                String::new(),
                String::new(),
                String::new(),
                delivered.to_string(),
                due.saturating_sub(delivered).to_string(),
                text(worst(0.5)),
                text(worst(0.99)),
            ]);
        }
    }
    table.to_string()
}

fn plain(names: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(names.iter().copied());
    for index in 2..names.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The books, for people.
pub fn books(books: &Books, grants: &[GrantState]) -> String {
    let mut text = String::from("\nThe books, counted at the receiving ends\n\n");
    let mut table = plain(&["dataset", "", "published", "accepted", "rejected", ""]);
    for (name, line) in &books.datasets {
        let DatasetLine { published, accepted, rejected, problems } = line;
        let numbers = [published, accepted, rejected].map(ToString::to_string);
        let [published, accepted, rejected] = numbers;
        table.add_row([name.clone(), String::new(), published, accepted, rejected, verdict(problems)]);
    }
    text.push_str(&format!("{table}\n\n"));

    let mut table = plain(&["subscriber", "dataset", "due", "delivered", "p50 ms", "p99 ms", ""]);
    for line in &books.grants {
        let GrantLine { grant, subscriber, way, dataset, due, delivered, problems } = line;
        let state = grants.iter().find(|state| state.grant == *grant);
        let quantile = |share: f64| {
            let ms = state.and_then(|state| state.latencies.quantile(share));
            ms.map_or_else(String::new, |ms| ms.to_string())
        };
        table.add_row([
            format!("{subscriber} ({way})"),
            dataset.clone(),
            due.to_string(),
            delivered.to_string(),
            quantile(0.5),
            quantile(0.99),
            verdict(problems),
        ]);
    }
    text.push_str(&format!("{table}\n\nWhy events were rejected\n\n"));
    for ((dataset, code), (count, example)) in &books.reasons {
        text.push_str(&format!("{count:>7}  {dataset}  {code}\n         e.g. {example}\n"));
    }
    let verdict = if books.balance() {
        "The books balance: nothing lost, nothing twice, nothing out of order, nothing more than granted."
    } else {
        "THE BOOKS DO NOT BALANCE; what is wrong stands beside each line above."
    };
    text.push_str(&format!("\n{verdict}\n"));
    text
}

fn verdict(problems: &[String]) -> String {
    if problems.is_empty() { "balances".to_owned() } else { format!("WRONG: {}", problems.join("; ")) }
}
