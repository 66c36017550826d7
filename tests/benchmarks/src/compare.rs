//! `freshet bench compare`: two runs, of two commits on one machine, row by row.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::Report;

/// A table of what both runs measured.
pub fn compare(before: &Path, after: &Path) -> anyhow::Result<String> {
    Ok(table(&read(before)?, &read(after)?))
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what `freshet bench --json` prints", path.display()))
}

fn table(before: &Report, after: &Report) -> String {
    let mut out = String::new();
    if before.machine != after.machine {
        let _ = writeln!(out, "Two machines: {}; {}.\n", before.machine, after.machine);
    }
    let _ = writeln!(out, "| What | before | after | after ÷ before |\n|---|---|---|---|");
    let mut line = |what: String, before: f64, after: f64| {
        let _ = writeln!(out, "| {what} | {before:.2} | {after:.2} | {:.2} |", after / before);
    };
    for (before, after) in pairs(&before.rows, &after.rows, |row| row.what.clone()) {
        let what = &after.what;
        line(format!("{what}: events/s"), before.events_per_second, after.events_per_second);
        line(format!("{what}: CPU µs an event"), before.cpu_us_per_event, after.cpu_us_per_event);
        for (name, before, after) in
            [("events/s ÷ limit", before.ratio, after.ratio), ("CPU ÷ limit", before.cpu_ratio, after.cpu_ratio)]
        {
            if let (Some(before), Some(after)) = (before, after) {
                line(format!("{what}: {name}"), before.middle, after.middle);
            }
        }
    }
    for (before, after) in pairs(&before.figures, &after.figures, |figure| figure.what.clone()) {
        line(after.what.clone(), before.value, after.value);
    }
    let name = |row: &crate::LatencyRow| format!("{}, {} events/s", row.what, row.rate_per_second);
    for (before, after) in pairs(&before.latency, &after.latency, name) {
        line(format!("{}: p50 ms", name(after)), before.p50_ms, after.p50_ms);
        line(format!("{}: p99 ms", name(after)), before.p99_ms, after.p99_ms);
    }
    out
}

/// What both have, in the order of the second.
fn pairs<'a, T>(before: &'a [T], after: &'a [T], name: impl Fn(&T) -> String) -> Vec<(&'a T, &'a T)> {
    let find = |one: &'a T| before.iter().find(|other| name(other) == name(one)).map(|other| (other, one));
    after.iter().filter_map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Figure;
    use crate::{Ratio, Row};

    fn report(cpu: f64, ns: f64) -> Report {
        let mut report = Report::new(10);
        report.machine = "one".to_owned();
        report.rows.push(Row {
            what: "validator".to_owned(),
            cpu_us_per_event: cpu,
            events_per_second: 100.0,
            ratio: Some(Ratio::of(&[1.0])),
            ..Row::default()
        });
        report.figures.push(Figure::new("walker", ns, "ns"));
        report.figures.push(Figure::ratio("grants", Ratio::of(&[ns / 300.0, ns / 100.0])));
        report
    }

    #[test]
    fn two_runs_are_compared_by_what_both_have() {
        let folder = tempfile::tempdir().expect("a folder");
        let save = |name: &str, report: &Report| {
            let path = folder.path().join(name);
            std::fs::write(&path, serde_json::to_string(report).expect("JSON")).expect("written");
            path
        };
        let mut after = report(5.0, 300.0);
        after.rows.push(Row { what: "new".to_owned(), ..Row::default() });
        let table = compare(&save("a.json", &report(10.0, 600.0)), &save("b.json", &after)).expect("a table");
        assert!(table.contains("| validator: CPU µs an event | 10.00 | 5.00 | 0.50 |"), "{table}");
        assert!(table.contains("| walker | 600.00 | 300.00 | 0.50 |"), "{table}");
        assert!(table.contains("| grants | 2.00 | 1.00 | 0.50 |"), "{table}");
        assert!(!table.contains("new") && !table.contains("CPU ÷ limit"), "{table}");
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.json");
        std::fs::write(&path, "{}").expect("written");
        let error = compare(&path, &path).expect_err("no report").to_string();
        assert!(error.contains("x.json") && error.contains("bench --json"), "{error}");
    }
}
