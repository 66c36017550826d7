//! Something of ours beside its limit, in turns.

use anyhow::Context as _;

use crate::measure::{Stretch, median};
use crate::{Ratio, Row};

/// A name, and what is measured once a round.
pub type Turn<'a> = (&'a str, &'a dyn Fn() -> anyhow::Result<Stretch>);

/// Limit and service take turns (limit, ours, limit, ours, …), so that a noisy machine disturbs both. Two rows: of each the
/// middle round, and how the service stands to the limit of the same round.
pub fn in_turns(limit: Turn<'_>, own: Turn<'_>, rounds: u32) -> anyhow::Result<Vec<Row>> {
    let mut pairs = Vec::new();
    for round in 1..=rounds {
        let pair = (limit.1()?, own.1()?);
        for (name, stretch) in [(limit.0, pair.0), (own.0, pair.1)] {
            let (rate, cpu) = (stretch.events_per_second(), stretch.cpu_us_per_event());
            eprintln!("  round {round}: {name}: {rate:.0} events/s, {cpu:.2} µs CPU an event");
        }
        pairs.push(pair);
    }
    let of = |pick: &dyn Fn(&(Stretch, Stretch)) -> f64| pairs.iter().map(pick).collect::<Vec<f64>>();
    let ratios = of(&|(limit, own)| own.events_per_second() / limit.events_per_second());
    let cpu_ratios = of(&|(limit, own)| own.cpu_us_per_event() / limit.cpu_us_per_event());
    let first = pairs.first().context("no rounds")?.1;
    let first_second = first.first_second.map(|events| events as f64 / first.events_per_second());
    let peak = |pick: &dyn Fn(&(Stretch, Stretch)) -> Stretch| {
        pairs.iter().map(|pair| pick(pair).peak_memory_mib).max().unwrap_or_default()
    };
    let limit_row = Row {
        what: limit.0.to_owned(),
        events: pairs.iter().map(|pair| pair.0.events).sum(),
        events_per_second: median(&of(&|pair| pair.0.events_per_second())),
        cpu_us_per_event: median(&of(&|pair| pair.0.cpu_us_per_event())),
        peak_memory_mib: Some(peak(&|pair| pair.0)),
        ..Row::default()
    };
    let own_row = Row {
        what: own.0.to_owned(),
        events: pairs.iter().map(|pair| pair.1.events).sum(),
        events_per_second: median(&of(&|pair| pair.1.events_per_second())),
        cpu_us_per_event: median(&of(&|pair| pair.1.cpu_us_per_event())),
        ratio: Some(Ratio::of(&ratios)),
        cpu_ratio: Some(Ratio::of(&cpu_ratios)),
        peak_memory_mib: Some(peak(&|pair| pair.1)),
        first_second,
    };
    Ok(vec![limit_row, own_row])
}
