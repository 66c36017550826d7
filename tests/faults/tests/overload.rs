//! The overload for some seconds, with what holds on every machine, however slow it is.

use std::time::Duration;

use faults::overload::{Options, run};

#[test]
fn what_was_accepted_arrives_and_all_else_is_told_when_to_come_back() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let options = Options { measured: Duration::from_secs(5), aside: false, ..Options::new(Duration::from_secs(8)) };
    let report = runtime.block_on(run(&options)).unwrap_or_else(|error| panic!("{error:#}"));
    println!("{report}");
    assert!(report.broken().is_empty(), "{:#?}\n{report}", report.broken());
}
