//! How much memory a process may have: a control group of the kernel where this machine lets us make one, so that whoever
//! takes more is killed, otherwise only measured.

use std::path::{Path, PathBuf};
use std::process::Command;

const V2: &str = "/sys/fs/cgroup";
const V1: &str = "/sys/fs/cgroup/memory";

/// What holds a process to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    CgroupV2,
    CgroupV1,
    /// Nobody: the largest resident size is read and compared.
    Measured,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CgroupV2 => "held by a control group (version 2)",
            Self::CgroupV1 => "held by a control group (version 1)",
            Self::Measured => "only measured: no control group can be made here (it needs root)",
        })
    }
}

/// A control group of one process and those that come after it in its place.
#[derive(Debug)]
pub struct Cell {
    pub held: Held,
    folder: Option<PathBuf>,
}

impl Cell {
    pub fn new(name: &str, mib: u64) -> Self {
        let own = format!("freshet-{}-{name}", std::process::id());
        let bytes = (mib << 20).to_string();
        // A group may only limit what its parent hands down.
        let _ = std::fs::write(Path::new(V2).join("cgroup.subtree_control"), "+memory");
        let made = [
            (Held::CgroupV2, Path::new(V2).join(&own), "memory.max", Some(("memory.swap.max", "0"))),
            (Held::CgroupV1, Path::new(V1).join(&own), "memory.limit_in_bytes", None),
        ];
        for (held, folder, file, more) in made {
            if std::fs::create_dir(&folder).is_err() {
                continue;
            }
            if folder.join(file).exists() && std::fs::write(folder.join(file), &bytes).is_ok() {
                // Not every kernel accounts for swap.
                if let Some((file, text)) = more {
                    let _ = std::fs::write(folder.join(file), text);
                }
                return Self { held, folder: Some(folder) };
            }
            let _ = std::fs::remove_dir(&folder);
        }
        Self { held: Held::Measured, folder: None }
    }

    /// The same command, inside.
    pub fn wrap(&self, command: Command) -> Command {
        let Some(folder) = &self.folder else { return command };
        let mut wrapped = Command::new("sh");
        wrapped.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(folder.join("cgroup.procs"));
        wrapped.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }

    /// How often the kernel killed somebody inside for his memory.
    pub fn kills(&self) -> u64 {
        let Some(folder) = &self.folder else { return 0 };
        let file = if self.held == Held::CgroupV2 { "memory.events" } else { "memory.oom_control" };
        let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Fails while a process is inside; then it stays behind, empty soon, and does no harm.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// The largest resident size of a process so far, KiB.
pub fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nothing holds it there is nothing to show.
    #[test]
    fn whoever_takes_more_is_killed_and_counted() {
        let cell = Cell::new("test", 32);
        if cell.held == Held::Measured {
            eprintln!("memory limits are {}", cell.held);
            return;
        }
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            cell.wrap(command).status().expect("a shell")
        };
        assert!(run("true").success());
        assert_eq!(cell.kills(), 0);
        // `tail` keeps the last line, which never ends.
        assert!(!run("head -c 200000000 /dev/zero | tail -n 1 > /dev/null; exit $?").success());
        assert!(cell.kills() > 0);
    }
}
