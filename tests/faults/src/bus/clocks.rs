//! A wall clock for each process that may be set: libfaketime (Debian: faketime), preloaded. The monotonic clock stays, as it
//! does where somebody sets a machine's clock.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

const WAITS: &str = include_str!("waits.c");

#[derive(Debug)]
pub struct Clocks {
    /// As the loader takes them.
    preloaded: String,
    folder: PathBuf,
}

impl Clocks {
    /// None where the library or a C compiler is not there.
    pub(super) fn find(folder: &Path) -> Option<Self> {
        let library = LIBRARIES.iter().find(|path| Path::new(path).is_file())?;
        let waits = waits(folder)?;
        Some(Self { preloaded: format!("{} {library}", waits.display()), folder: folder.to_owned() })
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.clock"))
    }

    pub(super) fn give_to(&self, id: &str, command: &mut Command) {
        // A clock that was set stays so over a restart, as a machine's does.
        if !self.file(id).exists() && self.set(id, 0).is_err() {
            return;
        }
        command
            .env("LD_PRELOAD", &self.preloaded)
            .env("FAKETIME_TIMESTAMP_FILE", self.file(id))
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            // What the system says of files is as true as before.
            .env("NO_FAKE_STAT", "1");
    }

    /// By so many seconds off. It is seen within about a second.
    pub fn set(&self, id: &str, seconds: i64) -> anyhow::Result<()> {
        let beside = self.folder.join(format!("{id}.clock.new"));
        std::fs::write(&beside, format!("{seconds:+}\n"))
            .and_then(|()| std::fs::rename(&beside, self.file(id)))
            .with_context(|| format!("the clock of {id}"))
    }
}

/// Rust's own linker is a C compiler, so it is there where this was built.
fn waits(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("waits.c"), folder.join("waits.so"));
    std::fs::write(&source, WAITS).ok()?;
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source).status();
    built.is_ok_and(|status| status.success()).then_some(library)
}
