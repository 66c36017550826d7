//! A register that nobody here has seen, added by files alone: the tutorial's catalogue reads the whole export.

mod shipped;

use std::io::Read;

use freshet_mapping::{Line, Mapper};

#[test]
fn the_whole_export_is_read() {
    let catalogue = shipped::repository().join("tests/catalogues/dinesafe");
    let dataset = shipped::dataset(&catalogue, "food_inspection");
    let mapper = Mapper::compile(&dataset).unwrap_or_else(|error| panic!("{error}"));
    let rows = mapper.csv(shipped::open("toronto-dinesafe-2021.csv.gz")).unwrap_or_else(|error| panic!("{error}"));
    let lines: Vec<Line> = rows.map(|line| line.expect("the shipped file can be read")).collect();
    let refused: Vec<&Line> = lines.iter().filter(|line| line.outcome.is_err()).collect();
    assert_eq!((lines.len(), refused.len()), (9_070, 0), "{:?}", refused.first());
    let keys: std::collections::BTreeSet<&[String]> =
        lines.iter().filter_map(|line| line.outcome.as_ref().ok()).map(|event| &event.key[..]).collect();
    assert_eq!(keys.len(), 9_070, "every row is an entity of its own");
}

/// The two lines that the tutorial spoils, and what it says of them.
#[test]
fn the_tutorials_broken_rows() {
    let mut export = String::new();
    shipped::open("toronto-dinesafe-2021.csv.gz").read_to_string(&mut export).expect("the shipped file can be read");
    let mut lines: Vec<String> = export.lines().take(3).map(str::to_owned).collect();
    lines[1] = lines[1].replace("\"2021-12-08\"", "\"DEC 8, 2021\"").replace("M - Minor", "M - Mino");
    lines[2] = lines[2].replace("\"3\"", "\"three\"");
    let catalogue = shipped::repository().join("tests/catalogues/dinesafe");
    let mapper = Mapper::compile(&shipped::dataset(&catalogue, "food_inspection")).unwrap_or_else(|e| panic!("{e}"));
    let file = lines.join("\n");
    let refusals: Vec<String> = mapper
        .csv(file.as_bytes())
        .unwrap_or_else(|error| panic!("{error}"))
        .flat_map(|line| line.expect("reading from memory").outcome.expect_err("a spoiled line"))
        .map(|violation| violation.to_string())
        .collect();
    assert_eq!(
        refusals,
        [
            "field inspection_date: \"DEC 8, 2021\" is not a date of the form 2021-12-31",
            "field severity: \"M - Mino\" is not a known name (nearest: \"M - Minor\")",
            "field inspections_a_year: \"three\" is not a whole number",
        ]
    );
}
