//! One small mistake at a time in a right catalogue: where the report points, what it says, and the mend. The cases stand in
//! `mistakes.txt`, whose head says how they are written.

use std::fs;
use std::path::Path;

use freshet_catalog::{Error, validate};

/// Stands in the text of an edit where the report has to point; it is no part of the text.
const MARK: char = '▸';

#[derive(Default)]
struct Case {
    title: String,
    edits: Vec<Edit>,
    /// `FILE:LINE:COLUMN: message; mend`
    expected: Vec<String>,
}

struct Edit {
    file: String,
    /// None: the file is written anew.
    find: Option<String>,
    /// None: the file is removed.
    replace: Option<String>,
}

#[test]
fn each_mistake_is_reported_at_its_place_with_its_mend() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let cases = cases(&fs::read_to_string(tests.join("mistakes.txt")).expect("mistakes.txt"));
    assert!(cases.len() >= 30, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let dir = copy(&tests.join("right"));
        let places: Vec<String> = case.edits.iter().flat_map(|edit| make(dir.path(), edit, &case.title)).collect();
        let mut places = places.iter();
        let found = mistakes(dir.path());
        // A line that names no place is what is reported at the next mark.
        let expected: Vec<String> = case
            .expected
            .iter()
            .map(|line| match line.strip_prefix("▸ ") {
                Some(said) => {
                    format!("{}: {said}", places.next().unwrap_or_else(|| panic!("{}: too few marks", case.title)))
                }
                None => line.clone(),
            })
            .collect();
        if found != expected {
            wrong.push(format!(
                "## {}\nexpected\n  {}\nfound\n  {}",
                case.title,
                expected.join("\n  "),
                found.join("\n  ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn the_catalogue_that_they_start_from_is_right() {
    let right = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/right");
    assert_eq!(mistakes(&right), [""; 0]);
}

fn mistakes(dir: &Path) -> Vec<String> {
    match validate(dir) {
        Ok(_) => Vec::new(),
        Err(Error::Refused(mistakes)) => mistakes.iter().map(ToString::to_string).collect(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_folder_that_is_no_catalogue_is_named() {
    let empty = tempfile::tempdir().expect("a folder");
    let file = empty.path().join("file");
    let check =
        |dir: &Path, expected: &str| assert_eq!(mistakes(dir), [expected.replace("DIR", &dir.display().to_string())]);
    check(
        empty.path(),
        ".:1:1: the folder DIR is empty; give the path of a catalogue folder, or write one: docs/catalogue.md shows the form",
    );
    check(
        &empty.path().join("nowhere"),
        ".:1:1: the folder DIR cannot be read: No such file or directory (os error 2); give the path of a catalogue folder",
    );
    fs::write(&file, "").expect("written");
    check(
        &file,
        ".:1:1: the folder DIR cannot be read: Not a directory (os error 20); give the path of a catalogue folder",
    );
    check(
        empty.path(),
        "departments.yaml:1:1: the file is missing; write it (docs/catalogue.md shows the form), or give the folder in \
         which it stands",
    );
}

/// Makes the edit; gives the place of each mark in it.
fn make(dir: &Path, edit: &Edit, title: &str) -> Vec<String> {
    let path = dir.join(&edit.file);
    let Some(replace) = &edit.replace else {
        fs::remove_file(&path).unwrap_or_else(|error| panic!("{title}: {}: {error}", edit.file));
        return Vec::new();
    };
    let marked = match &edit.find {
        None => replace.clone(),
        Some(find) => {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{title}: {}: {error}", edit.file));
            assert_eq!(text.matches(find.as_str()).count(), 1, "{title}: {find:?} in {}", edit.file);
            text.replace(find.as_str(), replace)
        }
    };
    let mut places = Vec::new();
    for (index, line) in marked.split('\n').enumerate() {
        for (count, (column, _)) in line.chars().enumerate().filter(|(_, sign)| *sign == MARK).enumerate() {
            places.push(format!("{}:{}:{}", edit.file, index + 1, column + 1 - count));
        }
    }
    fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
    fs::write(&path, marked.replace(MARK, "")).expect("written");
    places
}

fn copy(from: &Path) -> tempfile::TempDir {
    fn copy_into(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("readable") {
            let entry = entry.expect("readable");
            let target = to.join(entry.file_name());
            match entry.file_type().expect("readable").is_dir() {
                true => copy_into(&entry.path(), &target),
                false => drop(fs::copy(entry.path(), target).expect("copied")),
            }
        }
    }
    let dir = tempfile::tempdir().expect("a folder");
    copy_into(from, dir.path());
    dir
}

fn cases(text: &str) -> Vec<Case> {
    let unescaped = |text: &str| text.replace("\\n", "\n").replace("\\t", "\t");
    let mut cases: Vec<Case> = Vec::new();
    let mut file = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            cases.push(Case { title: title.to_owned(), ..Case::default() });
            continue;
        }
        // What stands before the first case says how they are written.
        let Some(case) = cases.last_mut() else { continue };
        match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => {}
            ("@", name) => file = name,
            ("-", text) => {
                case.edits.push(Edit { file: file.to_owned(), find: Some(unescaped(text)), replace: None });
            }
            ("+", text) => match case.edits.last_mut() {
                Some(edit) if edit.file == file && edit.replace.is_none() => edit.replace = Some(unescaped(text)),
                _ => case.edits.push(Edit { file: file.to_owned(), find: None, replace: Some(unescaped(text)) }),
            },
            ("x", _) => case.edits.push(Edit { file: file.to_owned(), find: None, replace: None }),
            _ => case.expected.push(line.to_owned()),
        }
    }
    cases
}
