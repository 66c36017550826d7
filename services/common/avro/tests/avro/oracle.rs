//! The plan's check against `apache-avro`'s decode and validate, on good, mutated, cut and extended bytes.

use apache_avro::Schema;
use freshet_avro::{Plan, Walk};
use proptest::prelude::*;

use crate::ask::{self, Answer, ask};
use crate::naive;
use crate::shape::{self, shapes};

#[derive(Debug, Clone)]
pub enum Edit {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Extend(Vec<u8>),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    use prop::sample::Index;
    // Small bytes are counts, lengths and indexes; small odd ones are negative.
    let byte = || prop_oneof![any::<u8>(), 0u8..12, Just(0x80u8), Just(0xffu8)];
    let edit = prop_oneof![
        3 => (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        2 => (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        2 => any::<Index>().prop_map(Edit::Cut),
        2 => (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        1 => any::<Index>().prop_map(Edit::Remove),
        1 => prop::collection::vec(byte(), 1..4).prop_map(Edit::Extend),
    ];
    prop::collection::vec(edit, 1..4)
}

fn apply(edits: &[Edit], bytes: &mut Vec<u8>) {
    for edit in edits {
        match edit {
            Edit::Extend(more) => bytes.extend_from_slice(more),
            Edit::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
            _ if bytes.is_empty() => {}
            Edit::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Edit::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Edit::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Edit::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
        }
    }
}

/// The two agree about these bytes, or their difference has a name.
fn agree(plan: &Plan, schema: &Schema, bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut walk = Walk::new();
    let ours = plan.check(bytes, &mut walk);
    prop_assert_eq!(ours, walk.violations().is_empty());
    ask::agree(schema, bytes, ours, &walk).map(drop).map_err(TestCaseError::fail)
}

fn compile(shape: &shape::Shape) -> (String, Plan, Schema) {
    let avsc = shape::avsc(shape);
    let plan = Plan::compile(&avsc).unwrap_or_else(|error| panic!("{error}: {avsc}"));
    let schema = Schema::parse_str(&avsc).expect("the plan has parsed it");
    (avsc, plan, schema)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn good_records_pass(shape in shapes(), seed: u64) {
        let (avsc, plan, schema) = compile(&shape);
        let (_, bytes) = shape::value(&schema, seed);
        let mut walk = Walk::new();
        prop_assert!(plan.check(&bytes, &mut walk), "{:?} {avsc}", walk.violations());
        agree(&plan, &schema, &bytes)?;
    }

    #[test]
    fn the_check_agrees_on_mutated_bytes(shape in shapes(), seed: u64, edits in prop::collection::vec(edits(), 8)) {
        let (_, plan, schema) = compile(&shape);
        let (_, good) = shape::value(&schema, seed);
        for edits in edits {
            let mut bytes = good.clone();
            apply(&edits, &mut bytes);
            agree(&plan, &schema, &bytes)?;
        }
    }

    #[test]
    fn the_check_agrees_on_blocks(shape in shapes(), seed: u64, edits in prop::collection::vec(edits(), 4)) {
        let (_, plan, schema) = compile(&shape);
        let (value, _) = shape::value(&schema, seed);
        let good = shape::encode_in_blocks(&schema, &value, seed);
        let mut walk = Walk::new();
        prop_assert!(plan.check(&good, &mut walk), "{:?}", walk.violations());
        let Answer::Taken { value: reread, left: 0 } = ask(&schema, &good) else {
            return Err(TestCaseError::fail("apache-avro refuses the blocks"));
        };
        prop_assert_eq!(reread, value);
        for edits in edits {
            let mut bytes = good.clone();
            apply(&edits, &mut bytes);
            agree(&plan, &schema, &bytes)?;
        }
    }

    /// What [`Walk::value`] gives for each slot is what stands at its path in the tree.
    #[test]
    fn slots_hold_the_fields(shape in shapes(), seed: u64) {
        let (_, plan, schema) = compile(&shape);
        let (value, bytes) = shape::value(&schema, seed);
        let mut walk = Walk::new();
        prop_assert!(plan.check(&bytes, &mut walk));
        for (path, slot, _) in plan.fields() {
            let ours = walk.value(&plan, slot, &bytes);
            prop_assert!(naive::is_same(ours, naive::at(&value, path)), "{path}: {ours:?} in {value:?}");
        }
    }

    #[test]
    fn the_check_agrees_on_every_prefix(shape in shapes(), seed: u64) {
        let (_, plan, schema) = compile(&shape);
        let (_, good) = shape::value(&schema, seed);
        for end in 0..good.len() {
            agree(&plan, &schema, &good[..end])?;
        }
    }

    #[test]
    fn the_check_agrees_on_random_bytes(shape in shapes(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let (_, plan, schema) = compile(&shape);
        agree(&plan, &schema, &bytes)?;
    }
}
