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

#[derive(Debug)]
pub struct Clocks {
    library: PathBuf,
    folder: PathBuf,
}

impl Clocks {
    /// None where the library is not there.
    pub(super) fn find(folder: &Path) -> Option<Self> {
        let library = LIBRARIES.iter().map(PathBuf::from).find(|path| path.is_file())?;
        Some(Self { library, folder: folder.to_owned() })
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
            .env("LD_PRELOAD", &self.library)
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
