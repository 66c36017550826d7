//! One measured number that has no limit beside it, and what it should reach.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Ratio;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    /// Empty: a ratio.
    pub unit: String,
    /// What it should be at most, where that is said.
    pub at_most: Option<f64>,
    /// Where it is a ratio of several rounds.
    pub rounds: Option<Ratio>,
}

impl Figure {
    pub fn new(what: impl Into<String>, value: f64, unit: &str) -> Self {
        Self { what: what.into(), value, unit: unit.to_owned(), at_most: None, rounds: None }
    }

    pub fn ratio(what: impl Into<String>, ratio: Ratio) -> Self {
        Self { rounds: Some(ratio), ..Self::new(what, ratio.middle, "") }
    }

    pub fn at_most(self, goal: f64) -> Self {
        Self { at_most: Some(goal), ..self }
    }
}

/// A row of a table: what, the value, the goal.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: f64| match value.abs() {
            0.0..10.0 => format!("{value:.2}"),
            10.0..100.0 => format!("{value:.1}"),
            _ => format!("{value:.0}"),
        };
        let space = if self.unit.is_empty() { "" } else { " " };
        let goal = self.at_most.map_or_else(|| "–".to_owned(), |goal| format!("≤ {goal}{space}{}", self.unit));
        let value = self.rounds.map_or_else(|| shown(self.value), |ratio| ratio.to_string());
        write!(f, "| {} | {value}{space}{} | {goal} |", self.what, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_a_row_with_its_goal() {
        let figure = Figure::new("walker", 312.4, "ns").at_most(500.0);
        assert_eq!(figure.to_string(), "| walker | 312 ns | ≤ 500 ns |");
        assert_eq!(Figure::new("ratio", 1.0421, "").to_string(), "| ratio | 1.04 | – |");
        let of_rounds = Figure::ratio("cost", Ratio::of(&[1.2, 0.9, 1.0])).at_most(1.05);
        assert_eq!(of_rounds.to_string(), "| cost | 1.00 (0.90–1.20) | ≤ 1.05 |");
    }
}
