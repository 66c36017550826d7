//! Compiled schemas, kept by their text: parsing costs more than a thousand records.

use std::collections::HashMap;
use std::rc::Rc;

use apache_avro::Schema;
use fastrand::Rng;
use freshet_avro::{FieldType, Plan};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::guard::Guard;
use crate::shape;

const KEPT: usize = 1024;

#[derive(Debug)]
pub struct Compiled {
    pub plan: Plan,
    pub schema: Schema,
}

#[derive(Debug, Default)]
pub struct Schemas(HashMap<Vec<u8>, Option<Rc<Compiled>>>);

impl Schemas {
    /// None: no schema that the bus takes.
    pub fn get(&mut self, avsc: &[u8], guard: &Guard) -> Result<Option<Rc<Compiled>>, String> {
        if let Some(known) = self.0.get(avsc) {
            return Ok(known.clone());
        }
        let compiled = match std::str::from_utf8(avsc) {
            Ok(text) => {
                let plan = guard.ours("a schema", schema_bytes(avsc.len()), || Plan::compile(text))?;
                // The judge of the syntax is the same library, so it has nothing to add here.
                let plan = plan.ok().filter(|plan| plan.fields().all(|(_, _, ty)| largest_fixed(ty) <= MOST_FIXED));
                plan.zip(Schema::parse_str(text).ok()).map(|(plan, schema)| Rc::new(Compiled { plan, schema }))
            }
            Err(_) => None,
        };
        if self.0.len() == KEPT {
            self.0.clear();
        }
        self.0.insert(avsc.to_vec(), compiled.clone());
        Ok(compiled)
    }
}

/// `apache-avro` makes room for a `fixed` before it looks for its bytes: more than this is not asked of it.
const MOST_FIXED: usize = 1 << 20;

fn largest_fixed(ty: &FieldType) -> usize {
    match ty {
        FieldType::Fixed(fixed) => fixed.size,
        FieldType::Decimal(decimal) => decimal.fixed.as_ref().map_or(0, |fixed| fixed.size),
        FieldType::Array(inner) | FieldType::Map(inner) => largest_fixed(inner),
        FieldType::Union(branches) => branches.iter().map(largest_fixed).max().unwrap_or(0),
        FieldType::Record(record) => record.fields.iter().map(|field| largest_fixed(&field.ty)).max().unwrap_or(0),
        _ => 0,
    }
}

/// What a schema of so many bytes may hold while it is compiled.
pub fn schema_bytes(length: usize) -> usize {
    (8 << 20) + 512 * length
}

/// A schema of any shape, as the tests of `freshet-avro` make them.
pub fn random_avsc(rng: &mut Rng) -> Option<String> {
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, random);
    Some(shape::avsc(&shape::shapes().new_tree(&mut runner).ok()?.current()))
}

/// A pool of schemas to draw from: making one costs more than using it.
#[derive(Debug, Default)]
pub struct Pool(Vec<String>);

impl Pool {
    const MOST: usize = 200;

    pub fn draw(&mut self, rng: &mut Rng) -> Option<&str> {
        if self.0.len() < Self::MOST {
            self.0.push(random_avsc(rng)?);
            return self.0.last().map(String::as_str);
        }
        rng.choice(&self.0).map(String::as_str)
    }
}
