//! The corpus of every target, and a share of mutations of it from one seed.

use fuzz::run::{Job, run};
use fuzz::{save, targets};

const SEED: u64 = 20_261_128;
/// Of all targets together, about ten seconds in a debug build.
const INPUTS: u64 = 20_000;

#[test]
fn the_corpus_and_a_share_of_mutations_do_what_they_should() {
    let shares: u64 = targets::ALL.iter().map(|kind| kind.share).sum();
    let mut failures = Vec::new();
    for (number, kind) in targets::ALL.into_iter().enumerate() {
        let corpus = save::corpus(kind.name);
        assert!(!corpus.is_empty(), "{} has no corpus", kind.name);
        let inputs = corpus.len() as u64 + INPUTS * kind.share / shares;
        let report = run(&Job { kind, inputs, seed: SEED, number, grow_bytes: 0 });
        assert!(report.seen.len() > 3, "{} sees no difference between its inputs", kind.name);
        println!(
            "{:<12} {} inputs in {:?}, {} different outcomes",
            kind.name,
            report.inputs,
            report.took,
            report.seen.len()
        );
        failures.extend(report.failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_corpus_stays_small() {
    let bytes: usize = targets::ALL.iter().flat_map(|kind| save::corpus(kind.name)).map(|(_, input)| input.len()).sum();
    assert!(bytes < 2_000_000, "the corpus has {bytes} bytes; a repository is no place for more than 2 MB of it");
}
