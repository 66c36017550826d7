//! `tests/bad` holds mistakes of every kind; `tests/bad.txt` says where each is, what it is and the mend. Where a change of
//! the messages is meant, run with `FRESHET_WRITE_GOLDEN=1` and proofread the difference.

use std::fs;
use std::path::Path;

use freshet_catalog_model::{Diagnostic, yaml};

#[test]
fn every_mistake_is_reported_at_its_place() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let found = yaml::load(&tests.join("bad")).expect_err("nothing but mistakes");
    let found: String = found.iter().map(|diagnostic| format!("{diagnostic}\n")).collect();
    let golden = tests.join("bad.txt");
    if std::env::var_os("FRESHET_WRITE_GOLDEN").is_some() {
        fs::write(&golden, &found).expect("written");
    }
    let expected = fs::read_to_string(&golden).expect("bad.txt");
    let missing: Vec<&str> = expected.lines().filter(|line| !found.lines().any(|found| found == *line)).collect();
    let new: Vec<&str> = found.lines().filter(|line| !expected.lines().any(|known| known == *line)).collect();
    assert!(missing.is_empty() && new.is_empty(), "missing: {missing:#?}\nnew: {new:#?}");
}

fn load(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    let dir = tempfile::tempdir().expect("a folder");
    for (file, text) in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
        fs::write(path, text).expect("written");
    }
    yaml::load(dir.path()).err().unwrap_or_default()
}

#[test]
fn a_large_file_is_not_read() {
    let large = format!("a: {}\n", "x".repeat(1 << 20));
    let found = load(&[("departments.yaml", &large)]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().starts_with("departments.yaml:1:1: larger than 1 MiB"), "{}", found[0]);
}

#[test]
fn a_bomb_of_aliases_is_refused_at_its_first_anchor() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n";
    let found = load(&[("departments.yaml", bomb)]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().starts_with("departments.yaml:1:"), "{}", found[0]);
}

#[test]
fn not_utf8_and_look_alikes_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("departments.yaml"), b"a:\n  title: {en: \xff}\n").expect("written");
    fs::write(dir.path().join("departments.yml"), "a: b").expect("written");
    fs::create_dir_all(dir.path().join("d")).expect("a folder");
    fs::write(dir.path().join("d/dataset.yml"), "a: b").expect("written");
    let found = yaml::load(dir.path()).expect_err("mistakes");
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "d/dataset.yml:1:1: not read: unknown name; rename it to `dataset.yaml`",
            "departments.yaml:1:1: line 2 is not UTF-8; save the file as UTF-8",
            "departments.yml:1:1: not read: unknown name; rename it to `departments.yaml`",
        ]
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let found = yaml::load(Path::new("/nowhere/at/all")).expect_err("no folder");
    assert!(found[0].message.contains("/nowhere/at/all"), "{found:?}");
}
