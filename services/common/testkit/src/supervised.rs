//! A child process that does not outlive us. It is ended by `Drop`, and, where no destructor runs (`exit`, `kill -9`,
//! a static), by a watchdog: a small shell that holds the read end of a pipe of ours and acts when the pipe closes.
//! That needs no `unsafe` (unlike `PR_SET_PDEATHSIG`, which also fires when merely the spawning *thread* ends).

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `$1` pid, `$2` a text that must be in its command line (so that a reused pid is left alone), `$3` the signal,
/// `$4` a folder to remove afterwards, or empty.
const WATCHDOG: &str = r#"
ours() {
  { if [ -r "/proc/$1/cmdline" ]; then tr '\0' ' ' < "/proc/$1/cmdline"; else ps -ww -o args= -p "$1"; fi; } 2>/dev/null \
    | grep -qF -- "$2"
}
read -r _
if ours "$1" "$2"; then
  kill -"$3" "$1" 2>/dev/null
  tries=0
  while ours "$1" "$2" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
  ours "$1" "$2" && kill -KILL "$1" 2>/dev/null
fi
if [ -n "$4" ]; then rm -rf -- "$4"; fi
"#;

/// How a child is ended.
#[derive(Debug, Clone)]
pub struct Ending {
    /// A text of the command line that only this child has, such as its data folder.
    pub marker: String,
    /// What asks it to stop in good order.
    pub signal: Signal,
    /// After this it is killed.
    pub limit: Duration,
    /// A temporary folder that nobody needs when we are gone.
    pub remove: Option<PathBuf>,
}

/// A running child. Not `Clone`: who holds it, ends it.
#[derive(Debug)]
pub struct Supervised {
    child: Child,
    watchdog: Child,
    ending: Ending,
}

impl Supervised {
    /// Starts `command` in a process group of its own, so that Ctrl-C in the terminal reaches us first and the order
    /// of stopping is ours.
    pub fn spawn(command: &mut Command, ending: Ending) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        let watchdog = Command::new("sh")
            .arg("-c")
            .arg(WATCHDOG)
            .arg("freshet-watchdog")
            .arg(child.id().to_string())
            .arg(&ending.marker)
            .arg(ending.signal.as_str().trim_start_matches("SIG"))
            .arg(ending.remove.as_deref().unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match watchdog {
            Ok(watchdog) => Ok(Self { child, watchdog, ending }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status where the child has ended, by itself or by us.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks, waits up to the limit, kills.
    pub fn stop(&mut self) {
        self.ask();
        self.wait_or_kill();
    }

    /// As `stop`, but asks with this signal.
    pub fn stop_with(&mut self, signal: Signal) {
        self.ending.signal = signal;
        self.stop();
    }

    /// Only asks: for ending several at a time.
    pub fn ask(&mut self) {
        if self.ended().is_none() {
            let _ = kill(Pid::from_raw(self.child.id() as i32), self.ending.signal);
        }
    }

    /// What follows `ask`.
    pub fn wait_or_kill(&mut self) {
        let deadline = Instant::now() + self.ending.limit;
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
    }

    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends processes of an earlier run that was killed together with its watchdog: those whose arguments `is_ours`
/// accepts, and nothing else. Returns the pids that were ended.
pub fn end_orphans(signal: Signal, limit: Duration, is_ours: impl Fn(&[String]) -> bool) -> Vec<u32> {
    let found: Vec<u32> = running().into_iter().filter(|(_, args)| is_ours(args)).map(|(pid, _)| pid).collect();
    for pid in &found {
        let _ = kill(Pid::from_raw(*pid as i32), signal);
    }
    let deadline = Instant::now() + limit;
    let alive = || running().into_iter().filter(|(pid, args)| found.contains(pid) && is_ours(args)).count();
    while !found.is_empty() && alive() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    for (pid, args) in running() {
        if found.contains(&pid) && is_ours(&args) {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
    found
}

/// Every process that we may see, with its arguments. `/proc` keeps arguments apart; `ps` can only be split at blanks.
fn running() -> Vec<(u32, Vec<String>)> {
    let own = std::process::id();
    if let Ok(entries) = std::fs::read_dir("/proc") {
        let mut all = Vec::new();
        for entry in entries.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
            if pid != own && !line.is_empty() {
                let args = line.split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned());
                all.push((pid, args.collect()));
            }
        }
        return all;
    }
    let Ok(output) = Command::new("ps").args(["-axww", "-o", "pid=,args="]).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let pid = words.next()?.parse().ok()?;
            (pid != own).then(|| (pid, words.map(str::to_owned).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(marker: &str) -> bool {
        running()
            .iter()
            .any(|(_, args)| args.first().is_some_and(|arg| arg == "sleep") && args.contains(&marker.to_owned()))
    }

    /// A number of seconds that no other process sleeps, not even another run of these tests.
    fn marker(number: u32) -> String {
        format!("9{number}{}.25", std::process::id())
    }

    fn ending(marker: &str) -> Ending {
        Ending { marker: marker.to_owned(), signal: Signal::SIGTERM, limit: Duration::from_secs(2), remove: None }
    }

    /// A process that has just been started bears no arguments for a moment.
    fn wait_until_alive(marker: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !alive(marker) {
            assert!(Instant::now() < deadline, "no process sleeps {marker}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_child_ends_with_its_guard() {
        let child = Supervised::spawn(Command::new("sleep").arg(marker(1)), ending(&marker(1))).unwrap();
        wait_until_alive(&marker(1));
        drop(child);
        assert!(!alive(&marker(1)));
    }

    /// What `kill -9` of the parent does: nothing of ours runs any more, only the pipe closes.
    #[test]
    fn a_child_ends_when_the_pipe_closes() {
        let mut child = Supervised::spawn(Command::new("sleep").arg(marker(2)), ending(&marker(2))).unwrap();
        drop(child.watchdog.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while child.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(child.ended().is_some());
    }

    #[test]
    fn an_orphan_is_ended_and_nothing_else() {
        let mut ours = Command::new("sleep").arg(marker(3)).spawn().unwrap();
        let mut other = Command::new("sleep").arg(marker(4)).spawn().unwrap();
        wait_until_alive(&marker(3));
        wait_until_alive(&marker(4));
        let reaper = std::thread::spawn(move || ours.wait());
        let ended = end_orphans(Signal::SIGTERM, Duration::from_secs(5), |args| args.contains(&marker(3)));
        assert_eq!(ended.len(), 1);
        assert!(reaper.join().unwrap().is_ok());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
