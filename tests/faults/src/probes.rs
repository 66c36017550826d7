//! Plays the liveness probe of the chart: who does not say three times in a row that he lives is killed, and the
//! supervisor starts him again. In a cluster this would mend a process that is alive but stuck; here it is a finding, and
//! what its threads were doing is kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, INSTANCES};
use crate::ledger::now;

/// As `helm/templates/deployments.yaml` has it.
const EVERY: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const FAILURES: u32 = 3;
/// How long a debugger may take for a process's threads.
const LOOK_LIMIT: &str = "60";

/// A process that did not say that it lives.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Unresponsive {
    pub id: &'static str,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// What the last probe came to.
    pub answer: String,
}

#[derive(Debug)]
pub struct Probes {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Vec<Unresponsive>>,
}

impl Probes {
    pub fn start(bus: Arc<Bus>) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        let stop = CancellationToken::new();
        let ended = stop.clone();
        let task = tokio::spawn(async move {
            let (mut killed, mut failures) = (Vec::new(), BTreeMap::new());
            while ended.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
                let looks = INSTANCES.iter().map(|id| look(&bus, &client, id));
                for (id, looked) in INSTANCES.iter().zip(futures::future::join_all(looks).await) {
                    let count = failures.entry(*id).or_insert(0);
                    let Some(answer) = looked else {
                        *count = 0;
                        continue;
                    };
                    *count += 1;
                    if *count == FAILURES {
                        *count = 0;
                        let bus = Arc::clone(&bus);
                        // A panic there would be one of this program.
                        let _ = tokio::task::spawn_blocking(move || end(&bus, id)).await;
                        killed.push(Unresponsive { id, at: now(), answer });
                    }
                }
            }
            killed
        });
        Ok(Self { stop, task })
    }

    pub async fn stop(self) -> Vec<Unresponsive> {
        self.stop.cancel();
        self.task.await.unwrap_or_default()
    }
}

/// What it answers where it does not say that it lives. Who has no process now, or was stopped by a fault, is not asked.
async fn look(bus: &Bus, client: &reqwest::Client, id: &str) -> Option<String> {
    let (pid, port) = bus.try_role(id).and_then(|role| Some((role.pid()?, role.admin_port)))?;
    let answer = client.get(format!("http://127.0.0.1:{port}/live")).send().await;
    let said = match answer {
        Ok(answer) if answer.status().is_success() => return None,
        Ok(answer) => format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()),
        Err(error) => format!("{error:?}"),
    };
    let is_same = bus.try_role(id).is_some_and(|role| role.pid() == Some(pid));
    (is_same && !is_stopped(pid)).then_some(said)
}

/// proc(5): the state follows the name, which is in parentheses.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn end(bus: &Bus, id: &'static str) {
    let role = bus.role(id);
    let Some(pid) = role.pid() else { return };
    if is_stopped(pid) {
        return;
    }
    if let Err(error) = keep_threads(pid, &bus.folder().join(format!("{id}.{pid}.threads"))) {
        eprintln!("what the threads of {id} were doing cannot be kept: {error}");
    }
    role.end_unasked();
}

/// Where there is a debugger: without one the finding stands all the same.
fn keep_threads(pid: u32, file: &Path) -> std::io::Result<()> {
    let file = File::create(file)?;
    let mut command = Command::new("timeout");
    command.args([LOOK_LIMIT, "gdb", "-p", &pid.to_string(), "-batch", "-nx", "-ex", "thread apply all bt 40"]);
    command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file).status().map(drop)
}
