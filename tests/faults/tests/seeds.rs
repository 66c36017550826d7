//! The instrument itself, on one seed. A slow machine injects as many faults and waits longer for the end; it fails only for
//! a broken promise, or where the bus is stuck.

use std::time::Duration;

use faults::run::{Options, run};

const LENGTH: Duration = Duration::from_secs(70);
const DRAIN_LIMIT: Duration = Duration::from_secs(600);
const SEED: u64 = 20_261_124;
/// A program without optimisation is larger, and so is what it holds.
const LIMIT_MIB: u64 = 512;

#[test]
fn every_promise_is_kept_under_faults() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let options = Options { drain_limit: DRAIN_LIMIT, rate: 80.0, limit_mib: LIMIT_MIB, ..Options::new(SEED, LENGTH) };
    let played = runtime.block_on(run(&options));
    // Not dropped: a department's client that locked itself up would never close.
    runtime.shutdown_background();
    let report = played.unwrap_or_else(|error| panic!("seed {SEED}: {error:#}"));
    println!("{report}");
    assert!(report.is_good(), "seed {SEED}: {:?}\n{report}", report.violations);
    assert!(report.faults > 10 && report.deliveries > 0, "seed {SEED} played too little:\n{report}");
}
