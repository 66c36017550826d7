//! Cost grows with distinct grants, not with subscribers: the router with 1,000 subscribers on 20 distinct grants, in turns
//! with 20 subscribers on the same 20.

use crate::Ratio;
use crate::catalogue::{self, COUNTER_FIELDS};
use crate::cluster::Cluster;
use crate::delivery::validate;
use crate::figure::Figure;
use crate::hops::{Turns, measured};
use crate::measure::median;

const FIELDS: &[&str] = &[
    COUNTER_FIELDS,
    "licence_no, status, holder_reg_no, holder_tax_id, issued_on, authority_code, premises.city, fee_minor",
    "licence_no, status, updated_at",
    "event_id, licence_no, sequence, status, licence_type, holder_name, premises, activity_codes, conditions",
];
/// With the fields, 20 distinct grants. A row passes one or two of the filters.
const ROWS: &[&str] = &[
    "status = 'APPLIED' or status = 'GRANTED'",
    "status = 'AMENDED'",
    "status = 'SUSPENDED'",
    "status in ('REVOKED', 'EXPIRED')",
    "holder_reg_no is null",
];
const DISTINCT: usize = FIELDS.len() * ROWS.len();
const MANY: usize = 1_000;

pub fn grants(turns: Turns) -> anyhow::Result<Vec<Figure>> {
    let with = |subscribers: usize| {
        let mut files = catalogue::without_grants();
        for number in 0..subscribers {
            let (fields, rows) = (FIELDS[number % FIELDS.len()], ROWS[number / FIELDS.len() % ROWS.len()]);
            catalogue::add_subscriber(&mut files, &format!("subscriber-{number}"), "licence", (fields, Some(rows)));
        }
        files
    };
    let (few, many) = (with(DISTINCT), with(MANY));
    let mut cluster = Cluster::with(&few)?;
    // Half of the records for each of the two; and a turn that ends has a batch or two more under way.
    let records = 2 * (turns.records + u64::from(turns.rounds) * 20_000);
    cluster.load(records)?;
    validate(&cluster, records)?;
    let mut pairs = Vec::new();
    for round in 1..=turns.rounds {
        let mut turn = |files| {
            cluster.change(files)?;
            let service = cluster.start_service(|connection, context| {
                freshet_router::run(freshet_router::Config::default(), connection, context)
            });
            measured(service, &cluster, "freshet_router_records_total", turns)
        };
        // Each goes first in turn: whoever does meets what the round before left behind.
        let pair = if round % 2 == 1 {
            let first = turn(&few)?;
            (first, turn(&many)?)
        } else {
            let first = turn(&many)?;
            (turn(&few)?, first)
        };
        let pair = (pair.0.cpu_us_per_event(), pair.1.cpu_us_per_event());
        eprintln!(
            "  round {round}: {DISTINCT} subscribers {:.2}, {MANY} subscribers {:.2} µs CPU an event",
            pair.0, pair.1
        );
        pairs.push(pair);
    }
    let ratios: Vec<f64> = pairs.iter().map(|(few, many)| many / few).collect();
    let what = format!("router's CPU an event, {MANY} ÷ {DISTINCT} subscribers of the same {DISTINCT} grants");
    Ok(vec![
        Figure::ratio(what, Ratio::of(&ratios)).at_most(1.05),
        Figure::new(
            format!("router's CPU an event, {DISTINCT} distinct grants of which an event passes four or eight"),
            median(&pairs.iter().map(|(few, _)| *few).collect::<Vec<f64>>()),
            "µs",
        ),
    ])
}
