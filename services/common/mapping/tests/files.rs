//! Files as they come: CSV and JSON lines of one small dataset, good and broken.

use std::sync::Arc;

use freshet_avro::Plan;
use freshet_catalog_model::mapping::Mapping;
use freshet_catalog_model::{
    Authority, CatalogueFields, Classification, Dataset, DivisionRule, KeyForm, KeyRule, Retention, ShareMethod,
    ShareType, Title, UpdateFrequency, VersionRule,
};
use freshet_mapping::{FileError, Format, Line, Mapper, Operation};

const AVSC: &str = r#"{"type":"record","name":"Award","fields":[
    {"name":"id","type":"string"},
    {"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":15,"scale":2}],"default":null},
    {"name":"day","type":{"type":"int","logicalType":"date"}},
    {"name":"divisions","type":{"type":"array","items":"string"}},
    {"name":"note","type":["null","string"],"default":null}]}"#;

const MAPPING: &str = r#"{
    "ignore": ["_id"],
    "fields": {
        "id": {"from": ["Document Number"], "trim": true},
        "amount": {"from": ["Awarded Amount", "Award"], "null_when": ["", "None"],
                   "read": {"amount": {"thousands": ",", "currency": "$"}}},
        "day": {"from": ["Day"]},
        "divisions": {"from": ["Division"], "read": {"list": {"separator": ",", "vocabulary": "divisions"}}},
        "note": {"from": ["Note"], "optional": true, "null_when": [""]}
    },
    "vocabularies": {"divisions": {"Toronto Water": [], "Parks, Forestry & Recreation": [], "Children's Services": []}}
}"#;

fn mapper(mapping: &str) -> Mapper {
    let title = || Title { en: Some("Awards".to_owned()), zh: None };
    let mapping: Mapping = serde_json::from_str(mapping).expect("the test's mapping");
    let dataset = Dataset {
        id: "award".to_owned(),
        title: title(),
        authorities: vec![Authority { department: "purchasing".to_owned(), divisions: Vec::new() }],
        key: KeyRule { fields: vec!["id".to_owned()], form: KeyForm::Plain },
        version: VersionRule::Sequence,
        division: DivisionRule::default(),
        schema_ids: vec![1],
        partitions: 1,
        catalogue: CatalogueFields {
            summary: title(),
            update_frequency: UpdateFrequency::Daily,
            share_type: ShareType::Unconditional,
            share_method: ShareMethod::FileDownload,
            use_conditions: Vec::new(),
            classification: Classification::General,
            legal_basis: Vec::new(),
            sensitive_fields: vec!["note".to_owned()],
        },
        retention: Retention::default(),
        identifiers: Vec::new(),
        rules: Vec::new(),
        transitions: None,
        mapping: Some(mapping),
    };
    let plan = Plan::compile(AVSC).expect("the test's schema");
    Mapper::new(&dataset, Arc::new(plan)).unwrap_or_else(|error| panic!("{error}"))
}

/// A line as the tests compare it: `number id` where it was mapped, `number: reasons` where not.
fn shown(line: &Line) -> String {
    match &line.outcome {
        Ok(event) => {
            let delete = if event.operation == Operation::Delete { "delete " } else { "" };
            assert_eq!(event.line, line.number);
            assert_eq!(event.datum.is_none(), event.operation == Operation::Delete);
            format!("{} {delete}{}", line.number, event.key.join("|"))
        }
        Err(violations) => {
            let reasons: Vec<String> = violations.iter().map(ToString::to_string).collect();
            format!("{}: {}", line.number, reasons.join(" + "))
        }
    }
}

#[track_caller]
fn check(mapping: &str, format: Format, file: &[u8], expected: &[&str]) {
    let mapper = mapper(mapping).with_limit_bytes(400);
    let rows = mapper.rows(format, file).unwrap_or_else(|error| panic!("{error}"));
    let lines: Vec<String> = rows.map(|line| shown(&line.expect("reading from memory"))).collect();
    assert_eq!(lines, expected);
}

#[track_caller]
fn check_file_error(mapping: &str, format: Format, file: &[u8], expected: &str) {
    let error = match mapper(mapping).rows(format, file) {
        Ok(_) => panic!("the file was taken"),
        Err(error) => error,
    };
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, FileError::Read(_)) || !error.violations().is_empty());
}

#[test]
fn csv_with_everything_that_is_allowed() {
    let file = "\u{feff}Document Number,Awarded Amount,Day,Division,Note,_id\r\n\
        \" D1 \",\"$1,234.50\",2024-02-29,\"Toronto Water,Parks, Forestry & Recreation\",\"two\r\nlines\",1\r\n\
        \r\n\
        D2,None,2024-03-01,Children's Services,,2\r\n";
    check(MAPPING, Format::Csv, file.as_bytes(), &["2 D1", "5 D2"]);
}

/// The registers of some countries come so. A first row that is a header all the same is a row like others.
#[test]
fn a_file_without_a_header_row_is_read_by_the_mappings() {
    let headed =
        MAPPING.replacen('{', r#"{"csv": {"header": ["_id", "Document Number", "Award", "Day", "Division"]},"#, 1);
    let file = "\u{feff}1,D1,5,2024-02-29,Toronto Water\n2,D2,,2024-03-01,Children's Services\n3,D3,5\n";
    check(&headed, Format::Csv, file.as_bytes(), &["1 D1", "2 D2", "3: the row has 3 columns, the header has 5"]);
    check(&headed, Format::Csv, b"", &[]);
}

#[test]
fn csv_rows_that_are_wrong_give_every_reason() {
    let file = "Document Number,Awarded Amount,Day,Division,Note\n\
        D1,3501.872.63,\"OCT 18, 2021\",\"Toronto Water,Fire Hall\",\n\
        D2,5,2024-01-01\n\
        ,5,2024-01-01,Toronto Water,\n\
        D4,,2024-01-01,,\n";
    check(
        MAPPING,
        Format::Csv,
        file.as_bytes(),
        &[
            "2: field amount: \"3501.872.63\" is not an amount: two decimal points + field day: \"OCT 18, 2021\" is not a \
             date of the form 2021-12-31 + field divisions: \"Fire Hall\" in the list is not a known name",
            "3: the row has 3 columns, the header has 5",
            "4: field id: the key is empty: nothing says which entity this is",
            "5: field divisions: the column is empty, it should hold a known name",
        ],
    );
}

#[test]
fn a_quotation_mark_that_is_not_closed_is_named() {
    let file = "Document Number,Awarded Amount,Day,Division\nD1,5,2024-01-01,\"Toronto Water\nD2,5,2024-01-01,Toronto Water,\n";
    let wrong = "2: the row has 4 columns";
    let mapper = mapper(MAPPING);
    let lines: Vec<String> =
        mapper.csv(file.as_bytes()).expect("a header").map(|line| shown(&line.expect("memory"))).collect();
    // The rest of the file is one field: a list that no vocabulary knows, or too few columns, but one line.
    assert_eq!(lines.len(), 1, "{lines:?} {wrong}");
    assert!(lines[0].starts_with("2: field divisions: "), "{lines:?}");
    let file =
        "Document Number,Awarded Amount,Day,Division\nD1,\"5,2024-01-01,Toronto Water\nD2,5,2024-01-01,Toronto Water\n";
    check(
        MAPPING,
        Format::Csv,
        file.as_bytes(),
        &["2: the row has 2 columns, the header has 4; it goes on to line 3: a quotation mark may be missing"],
    );
}

#[test]
fn a_record_that_is_too_long_is_refused_and_the_next_is_read() {
    let long = "x".repeat(1000);
    let file =
        format!("Document Number,Awarded Amount,Day,Division\nD1,5,2024-01-01,{long}\nD2,5,2024-01-01,Toronto Water\n");
    check(MAPPING, Format::Csv, file.as_bytes(), &["2: the line is longer than 400 bytes", "3 D2"]);
    let file = format!("{{\"x\":\"{long}\"}}\n{}\n", json("D2", "\"5\""));
    check(MAPPING, Format::JsonLines, file.as_bytes(), &["1: the line is longer than 400 bytes", "2 D2"]);
}

#[test]
fn renamed_columns() {
    let file = "Document Number,Award,Day,Division\nD1,5,2024-01-01,Toronto Water\n";
    check(MAPPING, Format::Csv, file.as_bytes(), &["2 D1"]);
    let both = "Document Number,Award,Awarded Amount,Day,Division\n\
        D1,,5,2024-01-01,Toronto Water\n\
        D2,5,5,2024-01-01,Toronto Water\n\
        D3,,None,2024-01-01,Toronto Water\n";
    check(
        MAPPING,
        Format::Csv,
        both.as_bytes(),
        &[
            "2 D1",
            "3: field amount: the columns \"Awarded Amount\" and \"Award\" all hold a value; one of them may",
            "4 D3",
        ],
    );
}

#[test]
fn headers_that_do_not_fit_refuse_the_file() {
    check_file_error(
        MAPPING,
        Format::Csv,
        b"Document Number,Amount awarded,Day,Day,Devision\n",
        "the header row does not fit: the column \"Day\" stands in the header more than once; unknown column \"Amount \
         awarded\"; unknown column \"Devision\"; is \"Division\" meant?; none of the columns \"Awarded Amount\", \"Award\" is \
         there; the column \"Division\" is missing",
    );
    check_file_error(
        MAPPING,
        Format::Csv,
        b"D1,5,2024-01-01,Toronto Water\n",
        "the file has no header row (the first line is: D1,5,2024-01-01,Toronto Water); these columns are expected: \
         Document Number,Awarded Amount,Day,Division",
    );
    check_file_error(
        MAPPING,
        Format::Csv,
        b"",
        "the file has no header row (the file is empty); these columns are expected: Document Number,Awarded Amount,Day,\
         Division",
    );
}

#[test]
fn web_pages_and_arrays_are_no_rows() {
    let page = b"\n<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n";
    check_file_error(
        MAPPING,
        Format::Csv,
        page,
        "the file is a web page or XML, probably an error page of the system that it came from; comma-separated values are due",
    );
    check_file_error(
        MAPPING,
        Format::JsonLines,
        page,
        "the file is a web page or XML, probably an error page of the system that it came from; JSON lines are due",
    );
    check_file_error(
        MAPPING,
        Format::JsonLines,
        b"[{\"id\": 1}]",
        "the file is one JSON array; JSON lines are due: one JSON object a line (`jq -c '.[]'` makes them)",
    );
}

#[test]
fn other_encodings() {
    let german = MAPPING.replace("\"ignore\"", "\"csv\": {\"encoding\": \"windows-1252\"}, \"ignore\"");
    let file = b"Document Number,Award,Day,Division\nM\xfcller,5,2024-01-01,Toronto Water\n";
    check(&german, Format::Csv, file, &["2 Müller"]);
    check(MAPPING, Format::Csv, file, &["2: field Document Number: the column \"Document Number\" is not UTF-8 text"]);
    let chinese =
        MAPPING.replace("\"ignore\"", "\"csv\": {\"encoding\": \"gb18030\", \"delimiter\": \";\"}, \"ignore\"");
    let file = b"Document Number;Award;Day;Division\n\xbd\xad\xb3\xc7;5;2024-01-01;Toronto Water\n";
    check(&chinese, Format::Csv, file, &["2 江城"]);
}

#[test]
fn operations_and_sequences_of_csv() {
    let csv = r#""csv": {"operation": "Op", "upsert_words": ["new"], "delete_words": ["gone"], "sequence": "No", "time": "At"},
        "ignore""#;
    let mapping = MAPPING.replace("\"ignore\"", csv);
    let file = "Document Number,Award,Day,Division,Op,No,At\n\
        D1,5,2024-01-01,Toronto Water,new,1,2024-01-01T00:00:00Z\n\
        D1,not read,,,gone,2,2024-01-02T00:00:00+08:00\n\
        D1,5,2024-01-01,Toronto Water,changed,3,2024-01-01T00:00:00Z\n\
        D1,5,2024-01-01,Toronto Water,new,1.5,yesterday\n";
    check(
        &mapping,
        Format::Csv,
        file.as_bytes(),
        &[
            "2 D1",
            "3 delete D1",
            "4: field operation: \"changed\" is not an operation; known are new, gone",
            "5: field sequence: \"1.5\" is not a sequence number: only digits, at most 18446744073709551615 + field time: \
             \"yesterday\" is not a time of the form 2021-12-31T23:59:59Z",
        ],
    );
}

fn json(id: &str, amount: &str) -> String {
    format!(r#"{{"Document Number":"{id}","Award":{amount},"Day":"2024-01-01","Division":["Toronto Water"]}}"#)
}

#[test]
fn json_lines() {
    let file = [
        json("D1", "\"5\""),
        String::new(),
        // A number is taken as it is written, not as floating point has it.
        json("D2", "9007199254740993.01").replace("9007199254740993", "9999999999993"),
        json("D3", "null"),
        json("D4", "true"),
        "{\"Document Number\":".to_owned(),
        "7".to_owned(),
        json("D5", "5").replace("\"Day\"", "\"Date\""),
        json("D6", "5").replace('{', "{\"Day\":\"2024-01-01\","),
        json("D7", "5").replace("Toronto Water", "Torronto Water"),
    ];
    check(
        MAPPING,
        Format::JsonLines,
        file.join("\n").as_bytes(),
        &[
            "1 D1",
            "3 D2",
            "4 D3",
            "5: field amount: true without quotation marks is not an amount",
            "6: the line is not a JSON object: EOF while parsing a value at line 1 column 19",
            "7: the line is not a JSON object: invalid type: integer `7`, expected a JSON object at line 1 column 1",
            "8: field Date: unknown column \"Date\" + field day: the column \"Day\" is missing",
            "9: field Day: the column \"Day\" stands in the row more than once",
            "10: field divisions: \"Torronto Water\" in the list is not a known name (nearest: \"Toronto Water\")",
        ],
    );
}

#[test]
fn a_number_in_json_stays_exact() {
    let mapper = mapper(MAPPING);
    let event = mapper.map_json(1, json("D", "9999999999993.01").as_bytes()).expect("a good line");
    let plan = Plan::compile(AVSC).expect("the test's schema");
    let row = freshet_avro::json::decode(&plan, &event.datum.expect("an upsert")).expect("a good datum");
    assert_eq!(row["amount"], "9999999999993.01");
}

#[test]
fn envelopes() {
    let envelope = r#""envelope": {"row": "/after", "deleted_row": "/before", "operation": "/op", "upsert_words": ["c"],
        "delete_words": ["d"], "sequence": "/seq", "time": "/at"}, "ignore""#;
    let mapping = MAPPING.replace("\"ignore\"", envelope);
    let row = json("D1", "\"5\"");
    let file = [
        format!(r#"{{"op":"c","seq":1,"at":"2024-01-01T00:00:00Z","after":{row},"more":1}}"#),
        r#"{"op":"d","seq":2,"at":"2024-01-01T00:00:00Z","before":{"Document Number":" D1"}}"#.to_owned(),
        r#"{"op":"c","at":"2024-01-01T00:00:00Z","before":{}}"#.to_owned(),
        r#"{"op":"c","seq":3,"at":"2024-01-01T00:00:00Z","before":{}}"#.to_owned(),
    ];
    check(
        &mapping,
        Format::JsonLines,
        file.join("\n").as_bytes(),
        &["1 D1", "2 delete D1", "3: the line has nothing at /seq", "4: the line has no JSON object at /after"],
    );
}

#[test]
fn personal_data_is_not_quoted() {
    let mapping = MAPPING
        .replace(r#""null_when": [""]"#, r#""null_when": [""], "read": {"one_of": {"vocabulary": "divisions"}}"#);
    let file = "Document Number,Award,Day,Division,Note\nD1,5,2024-01-01,Toronto Water,Zhang San\n";
    check(
        &mapping,
        Format::Csv,
        file.as_bytes(),
        &["2: field note: the value (not shown: personal data) is not a known name"],
    );
}

#[test]
fn names_of_files_and_media_types() {
    assert_eq!(Format::of_file_name("awards.JSONL"), Some(Format::JsonLines));
    assert_eq!(Format::of_file_name("a.b.csv"), Some(Format::Csv));
    assert_eq!(Format::of_file_name("awards"), None);
    assert_eq!(Format::of_content_type("text/csv; charset=utf-8"), Some(Format::Csv));
    assert_eq!(Format::of_content_type("application/json"), None);
}
