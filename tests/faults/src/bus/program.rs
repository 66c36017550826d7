//! The program under test, built as this one was.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

/// `FRESHET_PROGRAM`, or what cargo builds beside us.
pub fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("FRESHET_PROGRAM") {
        return Ok(path.into());
    }
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--package", "freshet"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    if !command.status().context("starting cargo")?.success() {
        bail!("cargo could not build the package freshet");
    }
    let own = std::env::current_exe().context("finding this program")?;
    // Tests lie one folder deeper.
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join("freshet")).find(|path| path.is_file());
    found.with_context(|| format!("no program freshet near {}", own.display()))
}
