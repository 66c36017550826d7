//! Puts the shipped catalogue (`schemas/`) into the binary, so that `freshet up` works wherever the binary is.

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(env("CARGO_MANIFEST_DIR")).join("../../schemas");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    files.sort();
    let mut code =
        String::from("/// Path below the catalogue's folder, and content.\npub static FILES: &[(&str, &str)] = &[\n");
    for (name, path) in &files {
        writeln!(code, "    ({name:?}, include_str!({path:?})),").expect("a String takes everything");
    }
    code.push_str("];\n");
    std::fs::write(PathBuf::from(env("OUT_DIR")).join("catalogue.rs"), code).expect("OUT_DIR can be written");
    println!("cargo::rerun-if-changed=../../schemas");
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// The files that the catalogue reads; examples are for tests.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in std::fs::read_dir(folder).expect("schemas/ is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "examples" {
                collect(root, &path, files);
            }
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "avsc") {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            let whole = path.canonicalize().expect("it was just listed").to_string_lossy().into_owned();
            files.push((name, whole));
        }
    }
}
