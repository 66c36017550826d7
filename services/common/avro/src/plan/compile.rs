//! From the type tree to steps.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Op, Plan, Step};
use crate::schema::{DecimalType, FieldType, RecordType};

pub(super) fn compile(avsc: String, root: Arc<RecordType>) -> Plan {
    let mut slots = Vec::new();
    collect_slots(&root, "", &mut slots);
    let by_path: HashMap<String, u32> =
        slots.iter().enumerate().map(|(index, (path, _))| (path.clone(), index as u32)).collect();
    let mut compiler = Compiler {
        unused: slots.len() as u32,
        next: 0,
        slots: &slots,
        steps: Vec::new(),
        branches: Vec::new(),
        paths: Vec::new(),
    };
    compiler.fields(&root, "", Addressable::Yes);
    let Compiler { steps, branches, paths, .. } = compiler;
    Plan { avsc, root, steps, branches, paths, slots, by_path, withheld: Default::default() }
}

fn collect_slots(record: &RecordType, prefix: &str, slots: &mut Vec<(String, FieldType)>) {
    for field in &record.fields {
        let path = format!("{prefix}{}", field.name);
        slots.push((path.clone(), field.ty.clone()));
        if let FieldType::Record(inner) = field.ty.without_null() {
            collect_slots(inner, &format!("{path}."), slots);
        }
    }
}

/// Whether the values have slots: not inside arrays, maps, unions.
#[derive(Clone, Copy, PartialEq)]
enum Addressable {
    Yes,
    No,
}

struct Compiler<'a> {
    slots: &'a [(String, FieldType)],
    unused: u32,
    /// The next slot to be given. Slots and steps have the same order.
    next: u32,
    steps: Vec<Step>,
    branches: Vec<(u32, u32)>,
    paths: Vec<String>,
}

impl Compiler<'_> {
    fn fields(&mut self, record: &RecordType, prefix: &str, addressable: Addressable) {
        for field in &record.fields {
            let path = format!("{prefix}{}", field.name);
            let slot = if addressable == Addressable::Yes {
                debug_assert_eq!(self.slots[self.next as usize].0, path);
                self.next += 1;
                self.next - 1
            } else {
                self.unused
            };
            let index = self.path(&path);
            self.value(&field.ty, &path, index, slot, slot, addressable);
        }
    }

    /// The steps of one value, the first of which begins slot `begin`, the last of which ends slot `end`.
    fn value(&mut self, ty: &FieldType, path: &str, index: u32, begin: u32, end: u32, addressable: Addressable) {
        let op = match ty {
            FieldType::Null => Op::Mark,
            FieldType::Boolean => Op::Boolean,
            FieldType::Int => Op::Int,
            // Every `long` of nanoseconds lies in the years 1677 to 2262.
            FieldType::Long | FieldType::TimestampNanos | FieldType::LocalTimestampNanos => Op::Long,
            FieldType::Float => Op::Skip(4),
            FieldType::Double => Op::Skip(8),
            FieldType::Bytes => Op::Bytes,
            FieldType::String => Op::String,
            FieldType::Uuid => Op::Uuid,
            FieldType::Date => Op::Date,
            FieldType::TimeMillis => Op::Time { units_a_second: 1_000, long: false },
            FieldType::TimeMicros => Op::Time { units_a_second: 1_000_000, long: true },
            FieldType::TimestampMillis | FieldType::LocalTimestampMillis => Op::Timestamp { units_a_second: 1_000 },
            FieldType::TimestampMicros | FieldType::LocalTimestampMicros => Op::Timestamp { units_a_second: 1_000_000 },
            FieldType::Decimal(DecimalType { precision, fixed: None, .. }) => {
                Op::DecimalBytes { precision: *precision }
            }
            FieldType::Decimal(DecimalType { precision, fixed: Some(fixed), .. }) => {
                Op::DecimalFixed { precision: *precision, size: clamp(fixed.size) }
            }
            FieldType::Fixed(fixed) | FieldType::UuidFixed(fixed) | FieldType::Duration(fixed) => {
                Op::Skip(clamp(fixed.size))
            }
            FieldType::Enum(symbols) => Op::Enum { symbols: clamp(symbols.symbols.len()) },
            FieldType::Record(record) => {
                self.push(Op::Mark, begin, self.unused, index);
                self.fields(record, &format!("{path}."), addressable);
                self.push(Op::Mark, self.unused, end, index);
                return;
            }
            FieldType::Array(items) => {
                let step = self.push(Op::Mark, begin, end, index);
                self.items(items, path);
                let to = self.here();
                self.steps[step].op = Op::Array { to, min_width: clamp(items.min_width()) };
                return;
            }
            FieldType::Map(values) => {
                let step = self.push(Op::Mark, begin, end, index);
                self.items(values, path);
                let to = self.here();
                self.steps[step].op = Op::Map { to, min_width: clamp(values.min_width().saturating_add(1)) };
                return;
            }
            FieldType::Union(branches) => {
                let step = self.push(Op::Mark, begin, end, index);
                if let Some((null, inner)) = ty.nullable() {
                    self.value(inner, path, index, self.unused, end, addressable);
                    let to = self.here();
                    self.steps[step].op = Op::Nullable { null: null as u8, to };
                } else {
                    let mut bounds = Vec::with_capacity(branches.len());
                    for branch in branches.iter() {
                        let from = self.here();
                        self.value(branch, path, index, self.unused, self.unused, Addressable::No);
                        bounds.push((from, self.here()));
                    }
                    let first = self.branches.len() as u32;
                    self.branches.extend(bounds);
                    self.steps[step].op = Op::Union { first, count: branches.len() as u32, to: self.here() };
                }
                return;
            }
        };
        self.push(op, begin, end, index);
    }

    fn items(&mut self, ty: &FieldType, path: &str) {
        let path = format!("{path}[]");
        let index = self.path(&path);
        self.value(ty, &path, index, self.unused, self.unused, Addressable::No);
    }

    fn push(&mut self, op: Op, begin: u32, end: u32, path: u32) -> usize {
        self.steps.push(Step { op, begin, end, path });
        self.steps.len() - 1
    }

    fn path(&mut self, path: &str) -> u32 {
        self.paths.push(path.to_owned());
        self.paths.len() as u32 - 1
    }

    fn here(&self) -> u32 {
        self.steps.len() as u32
    }
}

/// A size or count beyond `u32` cannot be met by any record, which is smaller: clamping changes no answer.
fn clamp(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
