//! Many inputs of one target, on one thread.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::guard::{Guard, caught};
use crate::mutate::{Source, mutate};
use crate::save::{self, UnderWay};
use crate::target::{Kind, Seen, Target};

/// Inputs that are kept for their newness; then an old one goes for each.
const POOL: usize = 4096;
/// After so many failures a target has said enough.
const ENOUGH: usize = 5;
const NEWEST: usize = 64;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    pub kind: Kind,
    pub inputs: u64,
    pub seed: u64,
    /// Of several jobs with the same target, which; only names a file.
    pub number: usize,
    /// Write what shows something new into the corpus, if it is no longer than this.
    pub grow_bytes: usize,
}

#[derive(Debug, Default)]
pub struct Report {
    pub inputs: u64,
    /// Different things seen.
    pub seen: HashSet<Seen>,
    /// Reason and how to play it again, one for each different reason.
    pub failures: Vec<String>,
    pub took: Duration,
}

/// The corpus first, then mutations of it.
pub fn run(job: &Job) -> Report {
    let kind = job.kind;
    let corpus: Vec<Vec<u8>> = save::corpus(kind.name).into_iter().map(|(_, input)| input).collect();
    let mut run = Run {
        job: *job,
        guard: Guard::of_this_thread(kind.name),
        under_way: UnderWay::of(kind.name, job.number),
        target: (kind.make)(),
        report: Report::default(),
        reasons: HashSet::new(),
    };
    let begun = Instant::now();
    let mut pool: Vec<Vec<u8>> = Vec::new();
    for input in corpus {
        run.one(&input);
        pool.push(input);
    }
    if pool.is_empty() {
        pool.push(Vec::new());
    }
    let first = pool.len();
    let mut rng = Rng::with_seed(job.seed ^ Seen::of(kind.name).number());
    while run.report.inputs < job.inputs && run.report.failures.len() < ENOUGH {
        let fresh = if rng.u8(..10) == 0 { run.target.fresh(&mut rng) } else { None };
        let is_fresh = fresh.is_some();
        let mut input = fresh.unwrap_or_else(|| pick(&pool, &mut rng).clone());
        // Of the fresh ones, some stay good.
        if !is_fresh || rng.u8(..4) > 0 {
            mutate(&mut input, &Source { pool: &pool, dictionary: kind.dictionary, parts: kind.parts }, &mut rng);
        }
        if run.one(&input) {
            if pool.len() < POOL {
                pool.push(input);
            } else {
                let place = first.min(POOL - 1) + rng.usize(..(POOL - first).max(1));
                pool[place.min(POOL - 1)] = input;
            }
        }
    }
    run.report.took = begun.elapsed();
    run.report
}

fn pick<'a>(pool: &'a [Vec<u8>], rng: &mut Rng) -> &'a Vec<u8> {
    let newest = pool.len().saturating_sub(NEWEST);
    if rng.bool() { &pool[rng.usize(newest..pool.len())] } else { &pool[rng.usize(..pool.len())] }
}

struct Run {
    job: Job,
    guard: std::sync::Arc<Guard>,
    under_way: UnderWay,
    target: Box<dyn Target>,
    report: Report,
    reasons: HashSet<String>,
}

impl Run {
    /// Whether it showed something new.
    fn one(&mut self, input: &[u8]) -> bool {
        self.guard.begin(input);
        self.under_way.write(input);
        self.report.inputs += 1;
        let kind = self.job.kind;
        match caught(|| self.target.run(input, &self.guard)) {
            Ok(seen) => {
                let is_new = self.report.seen.insert(seen);
                if is_new && input.len() <= self.job.grow_bytes {
                    // A corpus that cannot be written grows by hand.
                    let _ = save::keep(kind.name, input);
                }
                is_new
            }
            Err(reason) => {
                if self.reasons.insert(Seen::kind_of(&reason)) {
                    let after = self.report.inputs;
                    let told = save::failure(kind.name, input, &reason);
                    self.report.failures.push(format!("{told}\n  after {after} inputs, seed {}", self.job.seed));
                }
                // A panic may have left it half done.
                self.target = (kind.make)();
                false
            }
        }
    }
}

/// One input, alone.
pub fn replay(kind: &Kind, input: &[u8]) -> Result<Seen, String> {
    let guard = Guard::of_this_thread(kind.name);
    let mut target = (kind.make)();
    guard.begin(input);
    caught(|| target.run(input, &guard))
}
