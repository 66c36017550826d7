//! A file on its way: read and mapped on a thread of its own, published in order with a bounded number in flight, told
//! line by line. Memory is bounded, whatever the size of the file; a full publisher slows the reading down.

mod answer;
mod line;
mod reading;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use freshet_core::Violation;
use freshet_kafka::publisher::{Acknowledgement, PublishError};
use freshet_mapping::Line;
use tokio::sync::mpsc;

pub use answer::UploadAnswerLine;
pub use reading::Reading;

use crate::admission::Decision;
use crate::datasets::{Compiled, Dataset};
use crate::limits::{Held, TooFast};
use crate::metrics::Outcome;
use crate::problem::Problem;
use crate::state::Gateway;
use answer::{RefusedLine, Summary};

/// Lines of one file that wait for their acknowledgement.
const WINDOW: usize = 2_000;
/// How long a full publisher is waited for, and how often it is asked.
const FULL_LIMIT: Duration = Duration::from_secs(30);
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// What the department said about its file.
#[derive(Debug, Clone)]
pub struct Choices {
    pub name: String,
    pub source: Option<String>,
    pub divcode: Option<String>,
    pub sequence_base: Option<u64>,
}

/// Everything that a line is judged by.
#[derive(Debug)]
pub struct Job {
    gateway: Gateway,
    compiled: Arc<Compiled>,
    dataset: Arc<Dataset>,
    department: String,
    name: String,
    source: String,
    divcode: Option<String>,
    sequence_base: u64,
}

/// A file whose beginning was read and fits.
pub struct Upload {
    job: Job,
    lines: mpsc::Receiver<reading::Read>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("dataset", &self.job.dataset.id()).finish_non_exhaustive()
    }
}

/// A line that was handed to the publisher.
struct Pending {
    number: u64,
    /// Empty for an accepted one.
    violations: Vec<Violation>,
    acknowledged: Acknowledgement,
    _share: Held,
}

impl Upload {
    /// Starts to read. The error is a file that cannot be taken at all.
    pub async fn begin(
        job: Job,
        reading: Reading,
        parts: impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<Self, Problem> {
        let lines = reading.start(Arc::clone(&job.dataset), parts).await?;
        Ok(Self { job, lines })
    }

    /// Publishes line by line until the end of the file, a fault, or the gateway's stop; the summary comes last.
    pub async fn run(mut self, answers: mpsc::UnboundedSender<Bytes>) {
        let in_flight = &self.job.gateway.metrics.in_flight;
        in_flight.inc();
        let mut told = Told { answers, summary: Summary::new(&self.job), listed_bytes: 0 };
        let mut pending = VecDeque::new();
        let ended = publish_lines(&self.job, &mut self.lines, &mut pending, &mut told).await;
        // What was handed over is waited for in any case, so that the counts are true.
        let drained = told.drain(&self.job, &mut pending, 0).await;
        told.summary.end(ended.and(drained));
        told.send(&told.summary.line());
        in_flight.dec();
    }
}

async fn publish_lines(
    job: &Job,
    lines: &mut mpsc::Receiver<reading::Read>,
    pending: &mut VecDeque<Pending>,
    told: &mut Told,
) -> Result<(), String> {
    let mut walk = freshet_avro::Walk::new();
    let stop = job.gateway.stop.clone();
    loop {
        let read = tokio::select! {
            biased;
            () = stop.cancelled() => return Err("the gateway is stopping".to_owned()),
            read = lines.recv() => read,
        };
        match read {
            None => return Err("the reader ended before the file did".to_owned()),
            Some(reading::Read::End) => return Ok(()),
            Some(reading::Read::Broken(reason)) => return Err(reason),
            Some(reading::Read::Line(line)) => {
                told.summary.lines += 1;
                pace(job).await;
                publish_line(job, line, &mut walk, pending, told).await?;
                told.drain(job, pending, WINDOW).await?;
            }
        }
    }
}

/// Files keep to the department's rate as well; they wait instead of being refused.
async fn pace(job: &Job) {
    while let Err(TooFast(wait)) = job.gateway.rate.take(&job.department, 1, std::time::Instant::now()) {
        tokio::time::sleep(wait).await;
    }
}

async fn publish_line(
    job: &Job,
    line: Line,
    walk: &mut freshet_avro::Walk,
    pending: &mut VecDeque<Pending>,
    told: &mut Told,
) -> Result<(), String> {
    let number = line.number;
    let (record, violations) = match job.judge(line, walk) {
        Decision::Publish(record) => (record, Vec::new()),
        Decision::Refuse { violations, record } => (record, violations),
    };
    let begun = tokio::time::Instant::now();
    loop {
        // A part of what may be in flight that others have is waited for like a full publisher.
        let share = job.gateway.shares.events.take(&job.department, 1).map_err(|_| PublishError::Full);
        let taken = share.and_then(|share| Ok((share, job.gateway.sink.enqueue(&record)?)));
        match taken {
            Ok((share, acknowledged)) => {
                pending.push_back(Pending { number, violations, acknowledged, _share: share });
                return Ok(());
            }
            Err(PublishError::Full) if begun.elapsed() < FULL_LIMIT => {
                // Our own acknowledgements make room; where it is others' fault, time does.
                if pending.is_empty() {
                    tokio::time::sleep(FULL_PAUSE).await;
                } else {
                    told.drain(job, pending, pending.len() - 1).await?;
                }
            }
            Err(error) => {
                told.failed(job);
                return Err(format!("line {number}: {error}"));
            }
        }
    }
}

/// What the department was told so far.
struct Told {
    answers: mpsc::UnboundedSender<Bytes>,
    summary: Summary,
    /// Of the lines that were listed. What a slow reader has not fetched is in memory.
    listed_bytes: usize,
}

impl Told {
    /// Waits for the oldest until `most` are left. After the first failure the others are waited for, but the file is
    /// given up.
    async fn drain(&mut self, job: &Job, pending: &mut VecDeque<Pending>, most: usize) -> Result<(), String> {
        let mut result = Ok(());
        while pending.len() > most {
            let Some(Pending { number, violations, acknowledged, _share }) = pending.pop_front() else { break };
            match acknowledged.wait().await {
                Ok(_) if violations.is_empty() => {
                    self.summary.accepted += 1;
                    job.gateway.metrics.event(job.dataset.id(), Outcome::Accepted);
                }
                Ok(_) => self.refused(job, number, violations),
                Err(error) => {
                    self.failed(job);
                    if result.is_ok() {
                        result = Err(format!("line {number}: {error}"));
                    }
                }
            }
        }
        result
    }

    fn refused(&mut self, job: &Job, line: u64, violations: Vec<Violation>) {
        job.gateway.metrics.event(job.dataset.id(), Outcome::Refused);
        self.summary.refuse(&violations);
        let config = &job.gateway.config;
        if self.summary.listed < config.max_listed_refusals && self.listed_bytes < config.max_listed_bytes {
            self.summary.listed += 1;
            self.listed_bytes += self.send(&RefusedLine::new(line, violations));
        }
    }

    fn failed(&mut self, job: &Job) {
        self.summary.failed += 1;
        job.gateway.metrics.event(job.dataset.id(), Outcome::Failed);
    }

    /// The department may have gone away; its file is published all the same, as far as it came. The line's bytes.
    fn send<T: serde::Serialize>(&self, line: &T) -> usize {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        let bytes = text.len();
        let _ = self.answers.send(Bytes::from(text));
        bytes
    }
}
