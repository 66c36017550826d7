//! What the run needs, checked before anything is started. Each miss is one line with the command that mends it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

const LEAST_JAVA: u32 = 17;
const LEAST_FREE_BYTES: u64 = 2_000_000_000;

/// Something that this machine lacks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    #[error("java is missing (Kafka needs 17 or later): apt-get install openjdk-17-jre-headless")]
    Java,
    #[error("java {found} is too old (Kafka needs 17 or later): apt-get install openjdk-17-jre-headless")]
    JavaVersion { found: String },
    #[error("mvn is missing (it fetches Apache Kafka once, 44 MB): apt-get install maven")]
    Maven,
    #[error("{} has {} MB free, the bus needs {} MB: free some space or give another folder (--data, XDG_CACHE_HOME)",
        folder.display(), free_bytes / 1_000_000, LEAST_FREE_BYTES / 1_000_000)]
    Disk { folder: PathBuf, free_bytes: u64 },
    #[error(
        "port {0} on 127.0.0.1 is taken: end the program that has it (ss -ltnp 'sport = :{0}') or give another --port-base"
    )]
    Port(u16),
    #[error("KAFKA_HOME={} has no libs/kafka_*.jar: unset it or name an installation of Apache Kafka 4", .0.display())]
    KafkaHome(PathBuf),
}

/// The `java` to use: `$JAVA_HOME/bin/java`, or the one on PATH, 17 or later.
pub(super) fn java() -> Result<PathBuf, Missing> {
    let java = match std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        Some(home) if Path::new(&home).join("bin/java").exists() => Path::new(&home).join("bin/java"),
        _ => PathBuf::from("java"),
    };
    let output = Command::new(&java).arg("-version").output().map_err(|_| Missing::Java)?;
    check_version(&String::from_utf8_lossy(&output.stderr))?;
    Ok(java)
}

/// `text` is what `java -version` prints: `openjdk version "17.0.15" 2025-04-15`, or `"1.8.0_402"` for the old ones.
fn check_version(text: &str) -> Result<(), Missing> {
    let Some(found) = text.split('"').nth(1) else { return Err(Missing::Java) };
    let mut numbers = found.split(['.', '-', '_', '+']).map_while(|part| part.parse::<u32>().ok());
    let major = match (numbers.next(), numbers.next()) {
        (Some(1), Some(minor)) => minor,
        (Some(major), _) => major,
        (None, _) => return Err(Missing::JavaVersion { found: found.to_owned() }),
    };
    if major < LEAST_JAVA { Err(Missing::JavaVersion { found: found.to_owned() }) } else { Ok(()) }
}

pub(super) fn maven() -> Result<(), Missing> {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("mvn").is_file()));
    if found { Ok(()) } else { Err(Missing::Maven) }
}

/// `folder` exists.
pub(super) fn disk(folder: &Path) -> Result<(), Missing> {
    let Ok(stat) = nix::sys::statvfs::statvfs(folder) else { return Ok(()) };
    // The types of statvfs differ between systems.
    #[allow(clippy::unnecessary_cast)]
    let free_bytes = stat.blocks_available() as u64 * stat.fragment_size() as u64;
    enough(folder, free_bytes)
}

fn enough(folder: &Path, free_bytes: u64) -> Result<(), Missing> {
    let is_enough = free_bytes >= LEAST_FREE_BYTES;
    if is_enough { Ok(()) } else { Err(Missing::Disk { folder: folder.to_owned(), free_bytes }) }
}

pub(super) fn port_is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), Missing>) {
        assert_eq!(check_version(text), expected, "{text}");
    }

    #[test]
    fn java_versions() {
        let old = |found: &str| Err(Missing::JavaVersion { found: found.to_owned() });
        check("openjdk version \"17.0.15\" 2025-04-15", Ok(()));
        check("openjdk version \"25\" 2025-09-16", Ok(()));
        check("openjdk version \"21-ea\" 2023-09-19", Ok(()));
        check("java version \"1.8.0_402\"", old("1.8.0_402"));
        check("openjdk version \"11.0.22\" 2024-01-16", old("11.0.22"));
        check("sh: java: nonsense", Err(Missing::Java));
    }

    #[test]
    fn a_full_disk_is_told_with_its_numbers() {
        assert_eq!(enough(Path::new("/d"), LEAST_FREE_BYTES), Ok(()));
        let missing = enough(Path::new("/d"), 52_000_000).unwrap_err().to_string();
        assert!(missing.starts_with("/d has 52 MB free, the bus needs 2000 MB: free some space"), "{missing}");
    }

    #[test]
    fn a_held_port_is_not_free() {
        let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert!(!port_is_free(held.local_addr().unwrap().port()));
    }
}
