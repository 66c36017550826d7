//! Nanoseconds for one complete check, one condition and one view of a licence record. Run with `--release`:
//! `cargo run --release -p freshet-avro --example check_speed -- <licence.avsc>`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use freshet_avro::predicate::Predicate;
use freshet_avro::projection::Projection;
use freshet_avro::{Plan, Walk, json};

const BATCHES: u32 = 5_000;
const ROUNDS: u32 = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("the path of licence.avsc is missing")?;
    let plan = Plan::compile(&std::fs::read_to_string(path)?)?;
    let record = serde_json::json!({
        "event_id": "123e4567-e89b-12d3-a456-426614174000", "licence_no": "B02-4812345", "sequence": 1_234_567,
        "status": "GRANTED", "licence_type": "PRIVATE TRANSPORTATION COMPANY", "holder_name": "Example Holdings Limited",
        "holder_reg_no": "91350100M000100Y43", "holder_tax_id": null, "issued_on": "2024-02-29",
        "valid_from": "2024-03-01", "valid_until": "2027-02-28", "revoked_on": null, "authority_code": "CA-ON-TOR",
        "authority_name": "Municipal Licensing and Standards", "premises": {"street": "850 Coxwell Avenue",
        "city": "Toronto", "postcode": "M4C 5R1", "region": "Ontario", "country": "CA"},
        "activity_codes": ["TR-100", "TR-210", "TR-330"], "fee_minor": 129_900, "inspection_score": 97.5, "active": true,
        "conditions": "No operation between 01:00 and 05:00 within 100 m of a school or hospital.",
        "updated_at": "2024-02-29T12:34:56.789012Z", "source_system": "mls-registry-prod"});
    let bytes = json::encode(&plan, &record).map_err(|violations| format!("{violations:?}"))?;
    let predicate = Predicate::compile("status = 'GRANTED' and premises.city = 'Toronto'", &plan)?;
    let fields = ["licence_no", "status", "holder_name", "valid_until", "premises"].map(str::to_owned);
    let projection = Projection::compile(&plan, &fields, &BTreeMap::new())?;
    let mut walk = Walk::new();
    let mut out = Vec::new();

    println!("record of {} bytes, {} fields", bytes.len(), plan.fields().count());
    measure("check", || assert!(plan.check(black_box(&bytes), &mut walk)));
    plan.check(&bytes, &mut walk);
    measure("condition of two fields", || assert!(predicate.matches(&plan, &walk, black_box(&bytes))));
    measure("view of five fields", || {
        out.clear();
        projection.project(&plan, &walk, black_box(&bytes), &mut out);
    });
    Ok(())
}

/// The lowest mean of many short batches: in the longer ones the machine also does other work.
fn measure(what: &str, mut work: impl FnMut()) {
    let mean = |_| {
        let begin = Instant::now();
        (0..ROUNDS).for_each(|_| work());
        begin.elapsed().as_nanos() / u128::from(ROUNDS)
    };
    println!("{what}: {} ns", (0..BATCHES).map(mean).min().unwrap_or_default());
}
