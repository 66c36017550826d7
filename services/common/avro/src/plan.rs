//! A schema, compiled: one step a value, in the order of the bytes.

mod compile;

use std::collections::HashMap;
use std::sync::Arc;

use freshet_core::Withheld;

use crate::schema::{self, FieldType, RecordType, SchemaError};
use crate::walk::Walk;

/// A compiled schema. Immutable; share it in an `Arc`.
#[derive(Debug)]
pub struct Plan {
    avsc: String,
    root: Arc<RecordType>,
    pub(crate) steps: Vec<Step>,
    /// The first and last (exclusive) step of each branch of each union that is not merely nullable.
    pub(crate) branches: Vec<(u32, u32)>,
    /// Templates: `[]` stands for the number of an array's or map's item.
    pub(crate) paths: Vec<String>,
    slots: Vec<(String, FieldType)>,
    by_path: HashMap<String, u32>,
    /// What messages do not quote.
    withheld: Withheld,
}

/// A field of one plan, found once by its path. It means nothing to another plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub(crate) u32);

/// What to check at one place of the record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) op: Op,
    /// The slot that begins here, or the unused one behind the last.
    pub(crate) begin: u32,
    /// The slot that ends behind this.
    pub(crate) end: u32,
    /// Index into [`Plan::paths`].
    pub(crate) path: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// No bytes: null, or the bounds of a record.
    Mark,
    Boolean,
    Int,
    Long,
    /// So many bytes of any content: float, double, fixed.
    Skip(u32),
    Bytes,
    String,
    Uuid,
    Date,
    Time {
        units_a_second: u32,
        long: bool,
    },
    Timestamp {
        units_a_second: u32,
    },
    DecimalBytes {
        precision: u32,
    },
    DecimalFixed {
        precision: u32,
        size: u32,
    },
    Enum {
        symbols: u32,
    },
    /// Union of null and one type, whose steps follow up to `to`.
    Nullable {
        null: u8,
        to: u32,
    },
    /// The items' steps follow up to `to`.
    Array {
        to: u32,
        min_width: u32,
    },
    /// Like `Array`, each item behind its key.
    Map {
        to: u32,
        min_width: u32,
    },
    /// The branches' steps follow up to `to`.
    Union {
        first: u32,
        count: u32,
        to: u32,
    },
}

impl Plan {
    /// Compiles a schema document whose top level is a record.
    pub fn compile(avsc: &str) -> Result<Self, SchemaError> {
        let root = schema::parse(avsc)?;
        Ok(compile::compile(avsc.to_owned(), root))
    }

    /// The same plan, whose violations do not quote these fields' values.
    pub fn withholding(self, withheld: Withheld) -> Self {
        Self { withheld, ..self }
    }

    pub fn withheld(&self) -> &Withheld {
        &self.withheld
    }

    /// The field at a dotted path through records and nullable records, not into arrays, maps or other unions.
    pub fn slot(&self, path: &str) -> Option<Slot> {
        self.by_path.get(path).copied().map(Slot)
    }

    /// Every field that has a slot, records before what they contain, in schema order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Slot, &FieldType)> {
        self.slots.iter().enumerate().map(|(index, (path, ty))| (path.as_str(), Slot(index as u32), ty))
    }

    /// The type of a field. Panics on another plan's slot.
    pub fn type_of(&self, slot: Slot) -> &FieldType {
        &self.slots[slot.0 as usize].1
    }

    /// The dotted path of a field. Panics on another plan's slot.
    pub fn path_of(&self, slot: Slot) -> &str {
        &self.slots[slot.0 as usize].0
    }

    pub fn record(&self) -> &RecordType {
        &self.root
    }

    /// The schema document as it was given.
    pub fn avsc(&self) -> &str {
        &self.avsc
    }

    /// Checks a datum completely: bounds, number ranges, UTF-8, indexes, block sizes, logical types, nothing left over.
    /// True: it is a record of the schema. False: [`Walk::violations`] says what is wrong, every fault up to the first
    /// behind which the bytes have no meaning any more. Nothing is allocated for a good record, once `walk` has seen one
    /// of the plan.
    pub fn check(&self, bytes: &[u8], walk: &mut Walk) -> bool {
        walk.check(self, bytes)
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }
}
