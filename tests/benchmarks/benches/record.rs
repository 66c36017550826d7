//! What the pure parts cost a record: `cargo bench -p freshet-benchmarks`. The records are those of `freshet bench`.

use divan::{Bencher, black_box};
use freshet_avro::{Walk, framing};
use freshet_benchmarks::walker::{Licences, check, identifiers_hold};
use freshet_catalog_model::compiled::CompiledView;
use freshet_core::identifiers::{gb2260, licence, resident_number, uscc};
use jiff::civil::date;

fn main() {
    divan::main();
}

/// One licence after the other, walked, as a service meets them.
fn each_licence(bencher: Bencher<'_, '_>, mut work: impl FnMut(&Licences, &[u8], &Walk)) {
    let licences = Licences::make().expect("the benchmark's own catalogue");
    let plan = &licences.dataset.latest().plan;
    let walked: Vec<(Vec<u8>, Walk)> = licences
        .values
        .iter()
        .map(|value| {
            let (_, datum) = framing::split(value).expect("a framed record");
            let mut walk = Walk::new();
            assert!(plan.check(datum, &mut walk));
            (datum.to_vec(), walk)
        })
        .collect();
    let mut next = walked.iter().cycle();
    bencher.counter(divan::counter::ItemsCount::new(1_u32)).bench_local(|| {
        if let Some((datum, walk)) = next.next() {
            work(&licences, black_box(datum), walk);
        }
    });
}

/// Every byte, complete.
#[divan::bench]
fn walker(bencher: Bencher<'_, '_>) {
    let mut walk = Walk::new();
    each_licence(bencher, |licences, datum, _| {
        assert!(licences.dataset.latest().plan.check(datum, &mut walk));
    });
}

#[divan::bench]
fn walker_with_framing_and_identifiers(bencher: Bencher<'_, '_>) {
    let licences = Licences::make().expect("the benchmark's own catalogue");
    let mut walk = Walk::new();
    let mut next = licences.values.iter().cycle();
    bencher.counter(divan::counter::ItemsCount::new(1_u32)).bench_local(|| {
        if let Some(value) = next.next() {
            assert!(check(licences.dataset.latest(), black_box(value), &mut walk));
        }
    });
}

#[divan::bench]
fn framing_of_a_record(bencher: Bencher<'_, '_>) {
    let licences = Licences::make().expect("the benchmark's own catalogue");
    let mut next = licences.values.iter().cycle();
    bencher.bench_local(|| next.next().map(|value| framing::split(black_box(value)).is_ok()));
}

/// The fields of a grant into a buffer that is used again.
#[divan::bench(args = ["counter", "tax", "police"])]
fn projection(bencher: Bencher<'_, '_>, grant: &str) {
    let licences = Licences::make().expect("the benchmark's own catalogue");
    let view = &licences.catalog.grants[grant].view;
    let view = CompiledView::compile(&licences.catalog, &licences.dataset, view).expect("a view");
    let id = licences.dataset.latest().id;
    let mut out = Vec::new();
    each_licence(bencher, |licences, datum, walk| {
        out.clear();
        if let Some(projection) = view.projection(id) {
            projection.project(&licences.dataset.latest().plan, walk, datum, &mut out);
        }
    });
}

/// `status = 'REVOKED'`, and the two rules of a licence.
#[divan::bench(args = ["row_filter", "rules"])]
fn filter(bencher: Bencher<'_, '_>, which: &str) {
    let licences = Licences::make().expect("the benchmark's own catalogue");
    let schema = licences.dataset.latest();
    let filter = freshet_avro::predicate::Predicate::compile("status = 'REVOKED'", &schema.plan).expect("a filter");
    each_licence(bencher, |licences, datum, walk| {
        let schema = licences.dataset.latest();
        match which {
            "row_filter" => {
                black_box(filter.matches(&schema.plan, walk, datum));
            }
            _ => {
                for (_, predicate) in &schema.rules {
                    black_box(predicate.matches(&schema.plan, walk, datum));
                }
            }
        }
    });
}

#[divan::bench]
fn identifiers_of_a_licence(bencher: Bencher<'_, '_>) {
    each_licence(bencher, |licences, datum, walk| {
        assert!(identifiers_hold(licences.dataset.latest(), datum, walk));
    });
}

#[divan::bench]
fn identifier_uscc() -> bool {
    uscc::check(black_box("91350100M000100Y43")).is_ok()
}

#[divan::bench]
fn identifier_resident_number() -> bool {
    resident_number::check(black_box("11010519491231002X"), date(2026, 1, 1)).is_ok()
}

#[divan::bench]
fn identifier_division() -> bool {
    gb2260::check(black_box("420102"), date(2026, 1, 1)).is_ok()
}

#[divan::bench]
fn identifier_licence() -> bool {
    licence::check(black_box("1.2.156.3005.2.11100000000013338W001.11110000000021135M.00000001.001.C")).is_ok()
}
