//! What `freshet up` says where the machine lacks something: at once, in one line, with exit code 5. The machine is a PATH
//! of our own, so that nothing has to be uninstalled.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A PATH with a `java` of the given version, which does nothing, or with none.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new(java: Option<&str>) -> Self {
        let machine = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(machine.path("bin")).expect("bin");
        if let Some(version) = java {
            let program = machine.path("bin/java");
            std::fs::write(&program, format!("#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")).expect("java");
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("java");
        }
        machine
    }

    /// A folder that looks like an installation of Kafka, so that none is fetched.
    fn with_kafka(self) -> Self {
        std::fs::create_dir_all(self.path("kafka/libs")).expect("libs");
        File::create(self.path("kafka/libs/kafka_2.13-4.2.2.jar")).expect("a jar");
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Exit code, and the one line on standard error.
    fn up(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
        command
            .arg("--data")
            .arg(self.path("data"))
            .arg("up")
            .args(arguments)
            .env("PATH", self.path("bin"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env_remove("JAVA_HOME")
            .env_remove("KAFKA_HOME");
        if self.path("kafka").exists() {
            command.env("KAFKA_HOME", self.path("kafka"));
        }
        let output = command.output().expect("freshet");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        (output.status.code(), text)
    }

    fn lacks(&self, arguments: &[&str], expected: &str) {
        let (code, text) = self.up(arguments);
        assert!(text.contains(expected), "{text}");
        assert_eq!(code, Some(5), "{text}");
    }
}

#[test]
fn java_or_maven_is_missing() {
    let install_java = "apt-get install openjdk-17-jre-headless";
    Machine::new(None).lacks(&[], &format!("java is missing (Kafka needs 17 or later): {install_java}"));
    Machine::new(Some("11.0.22"))
        .lacks(&[], &format!("java 11.0.22 is too old (Kafka needs 17 or later): {install_java}"));
    Machine::new(Some("17.0.15"))
        .lacks(&[], "mvn is missing (it fetches Apache Kafka once, 44 MB): apt-get install maven");
}

#[test]
fn the_installation_of_kafka_is_none() {
    let machine = Machine::new(Some("21"));
    std::fs::create_dir(machine.path("kafka")).expect("a folder");
    machine.lacks(&[], "has no libs/kafka_*.jar: unset it or name an installation of Apache Kafka 4");
}

/// Of the services and of the brokers, before anything is started.
#[test]
fn a_port_is_taken() {
    let machine = Machine::new(Some("17.0.15")).with_kafka();
    for offset in [2, 10] {
        let (held, base) = hold(offset);
        let taken = held.local_addr().expect("an address").port();
        machine.lacks(
            &["--port-base", &base.to_string()],
            &format!("port {taken} on 127.0.0.1 is taken: end the program"),
        );
    }
}

/// A port that is taken, and the base that it is so far above.
fn hold(offset: u16) -> (TcpListener, u16) {
    loop {
        let held = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let base = held.local_addr().expect("an address").port() - offset;
        let others = (base..base + 12).filter(|port| *port != base + offset);
        if others.clone().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return (held, base);
        }
    }
}

#[test]
fn a_second_bus_on_one_folder_is_refused() {
    let machine = Machine::new(Some("17.0.15")).with_kafka();
    let lock = lock_of(&machine.path("data/kafka"));
    lock.try_lock().expect("the first");
    let (code, text) = machine.up(&[]);
    assert!(text.contains("is in use by another freshet; stop that one or give --data another folder"), "{text}");
    assert_eq!(code, Some(1), "{text}");
}

fn lock_of(kafka: &Path) -> File {
    std::fs::create_dir_all(kafka).expect("a folder");
    File::create(kafka.join("lock")).expect("the lock")
}
