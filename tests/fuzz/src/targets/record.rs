//! The walk over a record, against `apache-avro`; and its JSON, both ways. Parts: schema, datum.

use fastrand::Rng;
use freshet_avro::{Walk, json};

use super::schemas::{Pool, Schemas};
use crate::guard::Guard;
use crate::mutate::{join, parts};
use crate::target::{Kind, Seen, Target, size_class};
use crate::{ask, naive, shape};

pub const KIND: Kind = Kind {
    name: "record",
    what: "an Avro record of any schema: walk, slots, JSON",
    share: 200,
    parts: 2,
    dictionary: &[
        "\"int\"",
        "\"string\"",
        "\"null\"",
        "\"bytes\"",
        "{\"type\":\"array\",\"items\":",
        "{\"type\":\"map\",\"values\":",
        "\"logicalType\":\"decimal\"",
        "\"logicalType\":\"date\"",
        "\"precision\":38",
        "\"size\":0",
        "\"default\":",
        "2024-02-29",
        "\u{7f}\u{0}",
        "王",
    ],
    make: || Box::new(Records::default()),
};

#[derive(Debug, Default)]
struct Records {
    schemas: Schemas,
    pool: Pool,
    walk: Walk,
}

/// What a check, with everything that it may say, and its JSON may hold.
fn record_bytes(length: usize) -> usize {
    (1 << 20) + 256 * length
}

impl Target for Records {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let avsc = self.pool.draw(rng)?;
        let datum = random_datum(avsc, rng)?;
        Some(join(&[avsc.as_bytes(), &datum]))
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let [avsc, datum] = parts(input);
        let Some(compiled) = self.schemas.get(avsc, guard)? else { return Ok(Seen::of("no schema")) };
        let (plan, schema, walk) = (&compiled.plan, &compiled.schema, &mut self.walk);
        let most = record_bytes(datum.len()) + 16 * plan.fields().count();
        let taken = guard.ours("the check of a record", most, || plan.check(datum, walk))?;
        if taken != walk.violations().is_empty() {
            return Err(format!("taken: {taken}, but the violations are {:?}", walk.violations()));
        }
        let value = ask::agree(schema, datum, taken, walk)?;
        if !taken {
            let said: Vec<_> =
                walk.violations().iter().take(3).map(|one| (one.code.as_str(), Seen::kind_of(&one.message))).collect();
            let behind = walk.violations().len();
            return Ok(Seen::of((said, size_class(behind), size_class(datum.len()))));
        }
        if let Some(value) = value {
            for (path, slot, _) in plan.fields() {
                let ours = walk.value(plan, slot, datum);
                if !naive::is_same(ours, naive::at(&value, path)) {
                    return Err(format!("slot {path} holds {ours:?} of {value:?}"));
                }
            }
        }
        let text = guard.ours("a record's JSON", most * 8, || json::decode(plan, datum))?;
        let text = text.map_err(|violations| format!("the check takes what has no JSON: {violations:?}"))?;
        let again = guard.ours("a record from JSON", most * 8, || json::encode(plan, &text))?;
        let again = again.map_err(|violations| format!("its own JSON {text} is refused: {violations:?}"))?;
        let written = text.to_string();
        let mut transcoded = Vec::new();
        let is_taken = guard.ours("a record from a text of JSON", most * 8, || {
            json::Transcoder::new().append(plan, written.as_bytes(), &mut transcoded)
        })?;
        if is_taken && transcoded != again {
            return Err(format!("{written} becomes {transcoded:?} on the way, and {again:?} through a tree"));
        }
        if !plan.check(&again, walk) {
            return Err(format!("what was encoded from {text} is refused: {:?}", walk.violations()));
        }
        Ok(Seen::of(("taken", size_class(datum.len()), again == datum, size_class(plan.fields().count()))))
    }
}

/// A good datum, in one block or in several.
pub fn random_datum(avsc: &str, rng: &mut Rng) -> Option<Vec<u8>> {
    let schema = apache_avro::Schema::parse_str(avsc).ok()?;
    let seed = rng.u64(..);
    let (value, bytes) = shape::value(&schema, seed);
    Some(if rng.bool() { bytes } else { shape::encode_in_blocks(&schema, &value, seed) })
}
