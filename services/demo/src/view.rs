//! What one sees while the demo plays: a table that is drawn anew on a terminal, a plain line elsewhere; the books at
//! the end.

mod books;
mod frame;

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

pub use books::books;
use frame::{Frame, Size};

use crate::ledger::{DatasetState, GrantState, Ledger};

const PLAIN_EVERY: Duration = Duration::from_secs(3);
/// Of a terminal that does not say.
const USUAL: Size = Size { columns: 80, rows: 24 };

#[derive(Debug)]
pub struct View {
    begun: Instant,
    is_terminal: bool,
    /// Lines that the last drawing took, and the terminal's size then.
    drawn: usize,
    size: Size,
    last: Option<Instant>,
}

impl View {
    pub fn new() -> Self {
        Self { begun: Instant::now(), is_terminal: std::io::stdout().is_terminal(), drawn: 0, size: USUAL, last: None }
    }

    pub fn show(&mut self, ledger: &Ledger) {
        let (datasets, grants) = (ledger.dataset_states(), ledger.grant_states());
        let mut out = std::io::stdout().lock();
        if self.is_terminal {
            let size = terminal_size::terminal_size()
                .map_or(USUAL, |(width, height)| Size { columns: width.0.into(), rows: height.0.into() });
            let lines = Frame { elapsed: self.begun.elapsed(), datasets: &datasets, grants: &grants }.lines(size);
            let _ = out.write_all(self.redraw(&lines, size).as_bytes());
        } else if self.last.is_none_or(|last| last.elapsed() >= PLAIN_EVERY) {
            self.last = Some(Instant::now());
            let _ = writeln!(out, "{:5.1} s  {}", self.begun.elapsed().as_secs_f64(), line(&datasets, &grants));
        }
        let _ = out.flush();
    }

    /// The lines over those of the last drawing. A terminal that was resized has broken its lines anew, so nobody knows
    /// where that begins, and the screen is cleared.
    fn redraw(&mut self, lines: &[String], size: Size) -> String {
        let mut text = match (self.drawn, self.size == size) {
            (0, _) => String::new(),
            (_, false) => "\x1b[H\x1b[2J".to_owned(),
            (drawn, true) => format!("\x1b[{drawn}A\r"),
        };
        for line in lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        (self.drawn, self.size) = (lines.len(), size);
        text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_covers_the_last_one_and_a_resized_screen_is_cleared() {
        let mut view = View { is_terminal: true, ..View::new() };
        let lines = |count: usize| vec!["x".to_owned(); count];
        let wide = Size { columns: 140, rows: 40 };
        assert_eq!(view.redraw(&lines(2), wide), "x\x1b[K\nx\x1b[K\n\x1b[J", "below what stands there");
        assert_eq!(view.redraw(&lines(1), wide), "\x1b[2A\rx\x1b[K\n\x1b[J", "the second line is gone too");
        assert_eq!(view.redraw(&lines(1), USUAL), "\x1b[H\x1b[2Jx\x1b[K\n\x1b[J", "another size");
        assert_eq!(view.redraw(&lines(1), USUAL), "\x1b[1A\rx\x1b[K\n\x1b[J");
    }
}
