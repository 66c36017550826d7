//! Where inputs lie: the corpus in the repository, failures under `target/fuzz`.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// The corpus of a target, as the repository has it.
pub fn corpus_folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs of the corpus, by file name. A folder that is missing is an empty corpus.
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(corpus_folder(target)) else { return Vec::new() };
    let mut inputs: Vec<(String, Vec<u8>)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.to_owned(), fs::read(&path).ok()?))
        })
        .collect();
    inputs.sort();
    inputs
}

fn output_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")).join("fuzz")
}

/// A name that says what an input is, the same for the same bytes.
pub fn name_of(input: &[u8]) -> String {
    format!("{:016x}", xxh3_64(input))
}

/// Writes an input that failed. What to tell, with the command that plays it again.
pub fn failure(target: &str, input: &[u8], reason: &str) -> String {
    let folder = output_folder().join("failures").join(target);
    let path = folder.join(name_of(input));
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input));
    let place = match written {
        Ok(()) => path.canonicalize().unwrap_or(path).display().to_string(),
        Err(error) => format!("<not written to {}: {error}>", path.display()),
    };
    format!("{target}: {reason}\n  cargo run --release -p fuzz -- --target {target} --replay {place}")
}

/// Adds an input to the corpus.
pub fn keep(target: &str, input: &[u8]) -> std::io::Result<()> {
    let folder = corpus_folder(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name_of(input)), input)
}

/// The input under way, in a file: the only trace that a stack overflow leaves.
#[derive(Debug)]
pub struct UnderWay(Option<fs::File>);

impl UnderWay {
    pub fn of(target: &str, job: usize) -> Self {
        let folder = output_folder();
        let open = || {
            fs::create_dir_all(&folder)?;
            fs::File::create(folder.join(format!("{target}.{job}.under-way")))
        };
        Self(open().ok())
    }

    pub fn write(&self, input: &[u8]) {
        if let Self(Some(file)) = self {
            // Where it cannot be written, the run goes on without it.
            let _ = file.write_all_at(input, 0).and_then(|()| file.set_len(input.len() as u64));
        }
    }
}
