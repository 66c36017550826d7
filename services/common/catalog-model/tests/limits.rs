//! The limits of a catalogue's files: at each and one beyond.

use std::fs;
use std::path::Path;

use freshet_catalog_model::yaml;

/// What the loader says of a folder with these files.
fn said(write: impl FnOnce(&Path)) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path());
    yaml::load(folder.path()).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn has(said: &[String], part: &str) -> bool {
    said.iter().any(|line| line.contains(part))
}

#[test]
fn a_file_at_its_bytes_and_one_more() {
    for (bytes, is_refused) in [(1 << 20, false), ((1 << 20) + 1, true)] {
        let good = "roads:\n  title: {en: Roads}\n# ";
        let text = good.to_owned() + &"x".repeat(bytes - good.len());
        let said = said(|folder| fs::write(folder.join("departments.yaml"), text).expect("written"));
        assert_eq!(has(&said, "larger than 1 MiB"), is_refused, "{bytes}: {said:?}");
    }
}

#[test]
fn a_catalogue_at_its_grants_and_datasets_and_one_more() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("grants")).expect("a folder");
    let add = |number: usize| {
        fs::write(folder.path().join(format!("grants/g{number}.yaml")), "").expect("written");
        fs::create_dir(folder.path().join(format!("d{number}"))).expect("a folder");
        fs::write(folder.path().join(format!("d{number}/dataset.yaml")), "").expect("written");
    };
    let too_many = || {
        let said = yaml::load(folder.path()).err().unwrap_or_default();
        said.iter().map(ToString::to_string).filter(|line| line.contains("at most 10000 are taken")).collect::<Vec<_>>()
    };
    (0..10_000).for_each(add);
    assert_eq!(too_many(), Vec::<String>::new());
    add(10_000);
    let said = too_many();
    assert!(has(&said, "10001 grants") && has(&said, "10001 datasets"), "{said:?}");
}

fn dataset(more: &str) -> String {
    format!(
        "title: {{en: A}}\nauthorities: [roads]\nkey: f\nversion: sequence\n{more}\ncatalogue:\n  summary: {{en: A}}\n  \
         update_frequency: realtime\n  share_type: unconditional\n  share_method: service_interface\n  classification: general\n"
    )
}

fn said_of_dataset(id: &str, more: &str) -> Vec<String> {
    let text = dataset(more);
    said(|folder| {
        fs::write(folder.join("departments.yaml"), "roads:\n  title: {en: Roads}\n  sources: [urn:roads]\n")
            .expect("written");
        fs::create_dir(folder.join(id)).expect("a folder");
        fs::write(folder.join(id).join("dataset.yaml"), text).expect("written");
        let avsc = r#"{"type":"record","name":"R","fields":[{"name":"f","type":"string"}]}"#;
        fs::write(folder.join(id).join(format!("{id}.avsc")), avsc).expect("written");
    })
}

#[test]
fn rules_partitions_and_names_at_their_limits_and_one_more() {
    let rules = |count: usize| {
        let rules: String = (0..count)
            .map(|number| format!("  - {{name: r{number}, require: \"f != 'x'\", message: {{en: A}}}}\n"))
            .collect();
        format!("partitions: 1\nrules:\n{rules}")
    };
    assert_eq!(said_of_dataset("a", &rules(200)), Vec::<String>::new());
    assert!(has(&said_of_dataset("a", &rules(201)), "201 rules; at most 200 are taken"));
    assert_eq!(said_of_dataset("a", "partitions: 1000"), Vec::<String>::new());
    assert_eq!(said_of_dataset("a", "partitions: 1001").len(), 1);
    assert_eq!(said_of_dataset(&"a".repeat(64), "partitions: 1"), Vec::<String>::new());
    assert!(has(&said_of_dataset(&"a".repeat(65), "partitions: 1"), "cannot be a dataset's id"));
}

/// A catalogue is a folder of somebody's: no name in it leads out of it.
#[test]
fn a_name_in_a_catalogue_is_no_path() {
    let said = said(|folder| {
        fs::write(folder.join("departments.yaml"), "../roads:\n  title: {en: Roads}\n").expect("written");
        fs::create_dir(folder.join("grants")).expect("a folder");
        fs::write(folder.join("grants/..yaml"), "subscriber: x\n").expect("written");
        fs::write(folder.join("grants/a b.yaml"), "subscriber: x\n").expect("written");
    });
    assert!(has(&said, "departments.yaml:1:1"), "{said:?}");
    assert!(has(&said, "the file's name cannot be a grant's id"), "{said:?}");
}
