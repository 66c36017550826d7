//! The live table as lines that fit the terminal: a pure function of what the ledger holds.

use std::time::Duration;

use crate::ledger::{DatasetState, GrantState};

/// Of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// What is drawn.
#[derive(Debug)]
pub struct Frame<'a> {
    pub elapsed: Duration,
    pub datasets: &'a [DatasetState],
    pub grants: &'a [GrantState],
}

/// Subscribers that begin so hold alike grants of other rows: together they are one line.
const SMALL: &str = "division-";
/// A row whose name and way out take what the numbers leave.
const NUMBERS: usize = 11 + 9 + 8 + 8;
const WAY: usize = 11;

/// One line below a dataset.
struct Row {
    name: String,
    way: &'static str,
    delivered: usize,
    behind: usize,
    p50: String,
    p99: String,
}

impl Frame<'_> {
    /// At most one line fewer than the terminal has, so that the cursor below them does not scroll it, and one column
    /// fewer: behind the last column a terminal waits with the next line, and what clears the rest of a line there clears
    /// its last sign.
    pub fn lines(&self, size: Size) -> Vec<String> {
        let columns = size.columns.saturating_sub(1).max(1);
        let room = size.rows.saturating_sub(1).max(1);
        let mut lines = vec![self.title(), header(columns)];
        let mut left_out: Vec<Row> = Vec::new();
        // Every dataset is shown; subscribers as far as there is room.
        let mut spare = room.saturating_sub(lines.len() + self.datasets.len());
        let rows: usize = self.datasets.iter().map(|dataset| self.rows(dataset).len()).sum();
        if rows > spare {
            spare = spare.saturating_sub(1);
        }
        for dataset in self.datasets {
            lines.push(heading(dataset));
            for row in self.rows(dataset) {
                if spare > 0 {
                    spare -= 1;
                    lines.push(row.line(columns));
                } else {
                    left_out.push(row);
                }
            }
        }
        if !left_out.is_empty() {
            let sum = |part: fn(&Row) -> usize| left_out.iter().map(part).sum::<usize>();
            let (delivered, behind) = (sum(|row| row.delivered), sum(|row| row.behind));
            let count = left_out.len();
            lines.push(format!("   … {count} more lines: {delivered} delivered, {behind} behind (enlarge the window)"));
        }
        lines.truncate(room);
        lines.iter().map(|line| fitted(line, columns).trim_end().to_owned()).collect()
    }

    fn title(&self) -> String {
        let behind: usize = self.grants.iter().map(behind).sum();
        format!(" playing since {:.1} s; {behind} deliveries are on their way", self.elapsed.as_secs_f64())
    }

    fn rows(&self, dataset: &DatasetState) -> Vec<Row> {
        let own = || self.grants.iter().filter(|state| state.dataset == dataset.dataset);
        let is_small = |state: &&GrantState| state.subscriber.starts_with(SMALL);
        let mut rows: Vec<Row> = own().filter(|state| !is_small(state)).map(Row::of).collect();
        let small: Vec<&GrantState> = own().filter(is_small).collect();
        if !small.is_empty() {
            let worst = |share| small.iter().filter_map(|state| state.latencies.quantile(share)).max();
            let at_most = |ms: Option<u32>| ms.map_or_else(String::new, |ms| format!("≤ {ms}"));
            rows.push(Row {
                name: format!("{} city divisions", small.len()),
                way: "kafka, pull",
                delivered: small.iter().map(|state| state.delivered).sum(),
                behind: small.iter().map(|state| behind(state)).sum(),
                p50: at_most(worst(0.5)),
                p99: at_most(worst(0.99)),
            });
        }
        rows
    }
}

impl Row {
    fn of(state: &GrantState) -> Self {
        let quantile = |share| state.latencies.quantile(share).map_or_else(String::new, |ms: u32| ms.to_string());
        Self {
            name: state.subscriber.clone(),
            way: state.way,
            delivered: state.delivered,
            behind: behind(state),
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }

    fn line(&self, columns: usize) -> String {
        let Self { name, way, delivered, behind, p50, p99 } = self;
        let width = name_width(columns);
        let name = fitted(&format!("   {name}"), width);
        format!("{name} {way:<WAY$}{delivered:>11}{behind:>9}{p50:>8}{p99:>8}")
    }
}

fn header(columns: usize) -> String {
    let width = name_width(columns);
    let name = fitted(" dataset / subscriber", width);
    format!("{name} {:<WAY$}{:>11}{:>9}{:>8}{:>8}", "way", "delivered", "behind", "p50 ms", "p99 ms")
}

fn heading(state: &DatasetState) -> String {
    let DatasetState { dataset, published, accepted, rejected } = state;
    format!(" {dataset:<31}{published:>6} published {accepted:>6} accepted {rejected:>5} rejected")
}

fn behind(state: &GrantState) -> usize {
    state.due.saturating_sub(state.delivered)
}

/// No wider than it needs to be, that the eye finds the numbers.
fn name_width(columns: usize) -> usize {
    columns.saturating_sub(NUMBERS + WAY + 1).clamp(8, 40)
}

/// Exactly so many characters, the last of them `…` where something is cut off.
fn fitted(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return format!("{text:<width$}");
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Latencies;

    fn dataset(name: &str, published: usize, rejected: usize) -> DatasetState {
        DatasetState { dataset: name.to_owned(), published, accepted: published - rejected, rejected }
    }

    fn grant(subscriber: &str, dataset: &str, way: &'static str, (due, delivered): (usize, usize)) -> GrantState {
        let mut latencies = Latencies::default();
        latencies.note(40);
        GrantState {
            grant: subscriber.to_owned(),
            subscriber: subscriber.to_owned(),
            dataset: dataset.to_owned(),
            way,
            due,
            delivered,
            latencies,
        }
    }

    fn drawn(columns: usize, rows: usize) -> Vec<String> {
        let datasets = [dataset("contract_award", 3053, 20), dataset("short_term_rental_registration", 26186, 8)];
        let grants = [
            grant("toronto-finance", "contract_award", "postgres", (1463, 1400)),
            grant("division-fire-services", "contract_award", "kafka", (162, 162)),
            grant("division-toronto-water", "contract_award", "pull", (771, 770)),
            grant("toronto-public-health", "short_term_rental_registration", "webhook", (9721, 9721)),
            grant("jiangcheng-social-security-and-more", "short_term_rental_registration", "kafka", (7, 0)),
        ];
        let frame = Frame { elapsed: Duration::from_millis(12_340), datasets: &datasets, grants: &grants };
        frame.lines(Size { columns, rows })
    }

    #[test]
    fn a_usual_terminal_shows_everything() {
        let expected = "
 playing since 12.3 s; 71 deliveries are on their way
 dataset / subscriber           way          delivered   behind  p50 ms  p99 ms
 contract_award                   3053 published   3033 accepted    20 rejected
   toronto-finance              postgres          1400       63      40      40
   2 city divisions             kafka, pull        932        1    ≤ 40    ≤ 40
 short_term_rental_registration  26186 published  26178 accepted     8 rejected
   toronto-public-health        webhook           9721        0      40      40
   jiangcheng-social-security-… kafka                0        7      40      40";
        assert_eq!(drawn(80, 24).join("\n"), expected.trim_start_matches('\n'));
    }

    #[test]
    fn a_wide_terminal_shows_whole_names() {
        let lines = drawn(140, 40);
        assert!(lines.iter().any(|line| line.contains(" jiangcheng-social-security-and-more ")), "{lines:#?}");
    }

    #[test]
    fn a_low_terminal_says_what_it_leaves_out() {
        let lines = drawn(80, 8);
        assert_eq!(lines.len(), 7);
        let last = "   … 2 more lines: 9721 delivered, 7 behind (enlarge the window)";
        assert_eq!(lines.last().map(String::as_str), Some(last), "{lines:#?}");
    }

    #[test]
    fn no_size_makes_a_line_that_the_terminal_would_break_or_a_screen_that_would_scroll() {
        for columns in 1..150 {
            for rows in 1..30 {
                let lines = drawn(columns, rows);
                assert!(lines.len() < rows.max(2), "{columns}×{rows}: {lines:#?}");
                assert!(lines.iter().all(|line| line.chars().count() < columns.max(2)), "{columns}×{rows}: {lines:#?}");
            }
        }
    }
}
