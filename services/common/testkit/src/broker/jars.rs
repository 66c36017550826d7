//! Apache Kafka's jars: from `KAFKA_HOME`, or resolved once through Maven into a cache folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BrokerError;
use super::checks::{self, Missing};

/// Bound to `POM`: a change of either is another folder.
const FOLDER: &str = "kafka-4.2.2-log4j-2.25.4";

/// 4.3.0 to 4.4.0 leave transactions open for ever where a partition has no leader when they end (KAFKA-20734,
/// `docs/decisions/0009-recovery.md`).
///
/// Kafka logs through slf4j 1.7 and brings no binding; log4j is what its own distribution uses.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>freshet</groupId>
  <artifactId>kafka-runtime</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>4.2.2</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.4</version>
    </dependency>
  </dependencies>
</project>
"#;

/// The class path.
pub(super) fn class_path() -> Result<String, BrokerError> {
    let libs = match std::env::var_os("KAFKA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => installation(Path::new(&home))?,
        None => cached()?,
    };
    Ok(format!("{}/*", libs.display()))
}

fn installation(home: &Path) -> Result<PathBuf, Missing> {
    let libs = home.join("libs");
    let is_kafka = |name: &str| name.starts_with("kafka_") && name.ends_with(".jar");
    let found = fs::read_dir(&libs)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_kafka)));
    if found { Ok(libs) } else { Err(Missing::KafkaHome(home.to_owned())) }
}

fn cached() -> Result<PathBuf, BrokerError> {
    let cache = cache_folder();
    let target = cache.join(FOLDER);
    // The folder appears by a rename, so it is whole where it exists.
    if target.is_dir() {
        return Ok(target);
    }
    checks::maven()?;
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| BrokerError::Io { doing, path, source }
    };
    fs::create_dir_all(&cache).map_err(io("making the cache folder", &cache))?;
    checks::disk(&cache)?;
    // Several test processes may come here at once: one resolves, the others wait for it.
    let lock_path = cache.join("lock");
    let lock = fs::File::create(&lock_path).map_err(io("opening", &lock_path))?;
    lock.lock().map_err(io("locking", &lock_path))?;
    if target.is_dir() {
        return Ok(target);
    }
    eprintln!("fetching Apache Kafka 4.2.2 from Maven Central into {} (once, 44 MB)", target.display());
    let work =
        tempfile::Builder::new().prefix("resolving-").tempdir_in(&cache).map_err(io("making a folder in", &cache))?;
    resolve(work.path())?;
    fs::rename(work.path().join("libs"), &target).map_err(io("moving the jars to", &target))?;
    Ok(target)
}

fn resolve(work: &Path) -> Result<(), BrokerError> {
    let failed = |error: io::Error| BrokerError::Resolve(error.to_string());
    fs::write(work.join("pom.xml"), POM).map_err(failed)?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "-DincludeScope=runtime", "-DoutputDirectory=libs", "dependency:copy-dependencies"])
        .current_dir(work)
        .output()
        .map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().find(|line| line.contains("ERROR")).unwrap_or("mvn failed without a word").trim();
    Err(BrokerError::Resolve(first.to_owned()))
}

fn cache_folder() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("XDG_CACHE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("freshet")
}
