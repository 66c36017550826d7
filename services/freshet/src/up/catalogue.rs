//! The catalogue that a bus on this machine begins with: a folder that is given, or the one in the binary.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

/// The folder to apply. The shipped catalogue is written into the data folder, so that one can read it.
pub fn folder(data: &Path, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let folder = data.join("schemas");
    write_shipped(&folder)?;
    Ok(folder)
}

fn write_shipped(folder: &Path) -> anyhow::Result<()> {
    // What an older version shipped and this one does not would otherwise stay.
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("clearing {}", folder.display()))?;
    }
    for (name, text) in FILES {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_catalogue_is_valid() {
        let data = tempfile::tempdir().unwrap();
        let folder = folder(data.path(), None).unwrap();
        let source = freshet_catalog_model::yaml::load(&folder).unwrap_or_else(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"))
        });
        assert!(source.datasets.len() >= 8 && source.grants.len() >= 6);
    }
}
