//! `validate` without a bus: the shipped catalogue, the one of the documentation, and what only the compilers can refuse.

use std::fs;
use std::path::{Path, PathBuf};

use freshet_catalog::{Error, validate};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_shipped_catalogue_is_good() {
    if let Err(error) = validate(&repository().join("schemas")) {
        panic!("{error}");
    }
}

/// Writes the files that the documentation shows: a line with the file's name, then its text.
fn documented(dir: &Path) {
    let text = fs::read_to_string(repository().join("docs/catalogue.md")).expect("docs/catalogue.md");
    let (_, example) = text.split_once("## A complete example").expect("the example");
    let mut parts = example.split("```");
    while let (Some(before), Some(block)) = (parts.next(), parts.next()) {
        let name = before.trim().trim_end_matches(':').rsplit('`').nth(1).expect("a file's name");
        let (_, content) = block.split_once('\n').expect("a language");
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
        fs::write(path, content).expect("written");
    }
}

#[test]
fn the_documented_example_is_good() {
    let folder = tempfile::tempdir().expect("a folder");
    documented(folder.path());
    match validate(folder.path()) {
        Ok(source) => assert_eq!((source.departments.len(), source.datasets.len(), source.grants.len()), (2, 1, 1)),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_only_the_mapping_knows_is_refused_at_the_mapping() {
    let folder = tempfile::tempdir().expect("a folder");
    documented(folder.path());
    let edit = |file: &str, from: &str, to: &str| {
        let file = folder.path().join(file);
        let text = fs::read_to_string(&file).expect("written before");
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replace(from, to)).expect("written");
    };
    // A key field with a default needs a column all the same.
    edit("vehicle/vehicle.avsc", r#""type": "string", "doc""#, r#""type": "string", "default": "", "doc""#);
    edit("vehicle/dataset.yaml", "    plate: {from: Regnr, trim: true}\n", "");
    let Err(Error::Refused(diagnostics)) = validate(folder.path()) else { panic!("taken") };
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    assert!(lines[0].starts_with("vehicle/dataset.yaml:19:1: key field plate has no column"), "{lines:?}");
}
