//! The closed books, for people.

use comfy_table::{CellAlignment, Table, presets};

use crate::books::{Books, DatasetLine, GrantLine};
use crate::ledger::GrantState;

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
