//! Exports as other countries write them, by the settings that the tutorial names.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod shipped;

use freshet_avro::json;
use freshet_mapping::{Line, Mapper, Operation};
use serde_json::json;

fn mapper(id: &str) -> (Mapper, freshet_catalog_model::compiled::CompiledDataset) {
    let dataset = shipped::dataset(&shipped::repository().join("tests/catalogues/elsewhere"), id);
    let mapper = Mapper::compile(&dataset).unwrap_or_else(|error| panic!("{error}"));
    (mapper, dataset)
}

#[test]
fn a_german_export() {
    let (mapper, dataset) = mapper("unternehmen");
    let text = "Satzart;Lfd;Registernummer;Firma;Stammkapital;Breite;Gründung;Änderung;Aktiv;Rechtsform;Branchen;Mitarbeiter;\
        Ort;PLZ;Zweigstelle\r\n\
        N;1;HRB 1; Müller & Söhne ;25.000,50 €;52,5;31.12.1999;01.07.2024 12:00;Ja;Gesellschaft mit beschränkter Haftung;\
        Bau / Handel;1.250;Köln;01067;\r\n\
        L;2;HRB 1;;;;;;;;;;;;\r\n\
        A;3;HRB 2;Zwei;1,234.50;;1999-12-31;27.10.2024 02:30;ja;OHG;Bau;;Köln;01067;Bonn\r\n";
    let (file, _, _) = encoding_rs::WINDOWS_1252.encode(text);
    let lines: Vec<Line> = mapper
        .csv(&file[..])
        .unwrap_or_else(|error| panic!("{error}"))
        .map(|line| line.expect("from memory"))
        .collect();
    let event = lines[0].outcome.as_ref().unwrap_or_else(|violations| panic!("{violations:?}"));
    assert_eq!((event.sequence, &event.key[..]), (Some(1), &["HRB 1".to_owned()][..]));
    let datum = event.datum.as_deref().expect("an upsert");
    assert_eq!(
        json::decode(&dataset.latest().plan, datum).expect("a good datum"),
        json!({
            "nummer": "HRB 1", "name": "Müller & Söhne", "kapital": "25000.50", "breite": 52.5,
            "gegruendet": "1999-12-31", "geaendert": "2024-07-01T10:00:00Z", "aktiv": true, "rechtsform": "GMBH",
            "branchen": ["Bau", "Handel"], "mitarbeiter": 1250, "sitz": {"ort": "Köln", "plz": "01067"}, "zweigstelle": null
        })
    );
    assert_eq!(lines[1].outcome.as_ref().map(|event| event.operation), Ok(Operation::Delete));
    let refusals = lines[2].outcome.as_ref().expect_err("a bad row");
    let refusals: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert_eq!(
        refusals,
        [
            "field kapital: \"1,234.50\" is not an amount: \".\" after the decimal sign",
            "field gegruendet: \"1999-12-31\" is not a date of the form 31.12.2021",
            "field geaendert: \"27.10.2024 02:30\" is not one moment: the clock was put back or forward at that hour",
            "field aktiv: \"ja\" is not one of Ja, Nein",
            "field rechtsform: \"OHG\" is not a known name",
        ]
    );
}

#[test]
fn json_with_objects_inside() {
    let (mapper, dataset) = mapper("company");
    let row = r#"{"company_number": "00012345", "company_name": "A \"B\" Ltd", "turnover": 12345678901234567.89, "etag": "x",
        "registered_office_address": {"postal_code": "SW1A 1AA"}, "links": {"changed_at": "2024-01-02T03:04:05.678901Z"},
        "previous_company_names": [{"name": "Old Ltd", "until": "2020-02-29"}], "officers": {"7": "director"}}"#;
    let line = format!(
        r#"{{"event": {{"type": "changed", "timepoint": 77, "published_at": "2024-01-02T03:05:00+00:00"}}, "data": {row}}}"#
    );
    let event = mapper.map_json(1, line.as_bytes()).unwrap_or_else(|violations| panic!("{violations:?}"));
    assert_eq!((event.sequence, event.time.as_deref()), (Some(77), Some("2024-01-02T03:05:00+00:00")));
    let datum = event.datum.expect("an upsert");
    assert_eq!(
        json::decode(&dataset.latest().plan, &datum).expect("a good datum"),
        json!({
            "number": "00012345", "name": "A \"B\" Ltd", "postcode": "SW1A 1AA", "turnover": "12345678901234567.89",
            "previous_names": [{"name": "Old Ltd", "until": "2020-02-29"}], "officers": {"7": "director"},
            "changed_at": "2024-01-02T03:04:05.678901Z"
        })
    );
    let bare = r#"{"event": {"type": "changed", "timepoint": 78, "published_at": "2024-01-02T03:05:00Z"},
        "data": {"company_number": "1", "company_name": "B", "links": {"changed_at": "2024-01-02T03:04:05Z"}}}"#;
    assert!(mapper.map_json(2, bare.as_bytes()).is_ok(), "{:?}", mapper.map_json(2, bare.as_bytes()));
}

/// Without a mapping, the columns are the schema's own fields.
#[test]
fn a_dataset_without_a_mapping_takes_its_own_form() {
    let folder = shipped::repository().join("schemas");
    let dataset = shipped::dataset(&folder, "licence");
    let mapper = Mapper::compile(&dataset).unwrap_or_else(|error| panic!("{error}"));
    let example =
        std::fs::read_to_string(folder.join("licence/examples/good/granted.json")).expect("a shipped example");
    let example: serde_json::Value = serde_json::from_str(&example).expect("JSON");
    let event = mapper.map_json(1, example["data"].to_string().as_bytes()).unwrap_or_else(|all| panic!("{all:?}"));
    assert_eq!(
        (event.operation, event.sequence, &event.key[..]),
        (Operation::Upsert, None, &["PM-2025-000001".to_owned()][..])
    );
    let datum = event.datum.expect("an upsert");
    assert_eq!(json::decode(&dataset.latest().plan, &datum).expect("a good datum"), example["data"]);
    let refused = mapper.map_json(1, br#"{"licence_no": "1", "licence": "2"}"#).expect_err("a bad line");
    assert!(refused.iter().any(|v| v.message == "unknown column \"licence\"; is \"licence_no\" meant?"), "{refused:?}");
    assert!(refused.iter().any(|v| v.message == "the column \"/premises/street\" is missing"), "{refused:?}");
    assert!(refused.iter().all(|v| v.field.as_deref() != Some("premises")), "once is enough: {refused:?}");
}
