//! What to do with one record, compiled and run.

use std::collections::BTreeMap;

use super::recode::{Recode, same_bytes};
use super::{MaskKind, ProjectionError};
use crate::plan::{Plan, Slot};
use crate::schema::{Field, FieldType, RecordType};
use crate::{Walk, varint};

#[derive(Debug)]
pub(super) enum Op {
    /// From the beginning of one field to the end of another; nothing that stands between them is left out.
    Copy {
        first: Slot,
        last: Slot,
    },
    /// A default, or the index of a null branch.
    Write(Box<[u8]>),
    /// A text; `null` is the branch of null where it is nullable.
    Mask {
        slot: Slot,
        mask: MaskKind,
        null: Option<usize>,
    },
    /// A nullable record: `body` where it is not null.
    Optional {
        slot: Slot,
        null: usize,
        body: Vec<Op>,
    },
    Recode {
        slot: Slot,
        recode: Recode,
    },
}

pub(super) fn compile(
    writer: &Plan,
    view: &RecordType,
    masks: &BTreeMap<String, MaskKind>,
) -> Result<Vec<Op>, ProjectionError> {
    let compiler = Compiler { writer, masks };
    let mut block = Block::default();
    compiler.record(writer.record(), view, "", &mut block)?;
    Ok(block.ops)
}

/// Operations on values that stand in one sequence of bytes, with the number of values (records without null around them
/// taken apart) before the place reached in the writer's record.
#[derive(Default)]
struct Block {
    ops: Vec<Op>,
    /// The number of the value behind the last operation, where that is a copy.
    copied_to: Option<usize>,
    at: usize,
}

impl Block {
    fn copy(&mut self, slot: Slot, values: usize) {
        match self.ops.last_mut() {
            Some(Op::Copy { last, .. }) if self.copied_to == Some(self.at) => *last = slot,
            _ => self.ops.push(Op::Copy { first: slot, last: slot }),
        }
        self.at += values;
        self.copied_to = Some(self.at);
    }

    fn push(&mut self, op: Op) {
        self.ops.push(op);
        self.copied_to = None;
    }
}

struct Compiler<'a> {
    writer: &'a Plan,
    masks: &'a BTreeMap<String, MaskKind>,
}

impl Compiler<'_> {
    fn record(
        &self,
        writer: &RecordType,
        view: &RecordType,
        prefix: &str,
        block: &mut Block,
    ) -> Result<(), ProjectionError> {
        let mut sources = writer.fields.iter();
        for field in &view.fields {
            let path = format!("{prefix}{}", field.name);
            if writer.field(&field.name).is_none() {
                block.push(Op::Write(self.default(field, &path)?));
                continue;
            }
            loop {
                let Some(source) = sources.next() else {
                    return Err(wrong(&path, "stands in another order in the records than in the view".to_owned()));
                };
                if source.name == field.name {
                    self.field(&source.ty, &field.ty, &path, block)?;
                    break;
                }
                block.at += values(&source.ty);
            }
        }
        block.at += sources.map(|source| values(&source.ty)).sum::<usize>();
        Ok(())
    }

    fn field(
        &self,
        writer: &FieldType,
        view: &FieldType,
        path: &str,
        block: &mut Block,
    ) -> Result<(), ProjectionError> {
        let Some(slot) = self.writer.slot(path) else {
            return Err(wrong(path, "the records have no such field".to_owned()));
        };
        if let Some(mask) = self.masks.get(path) {
            block.push(mask_op(slot, *mask, writer, view, path)?);
            block.at += values(writer);
            return Ok(());
        }
        let below = format!("{path}.");
        let masked_inside = self.masks.keys().any(|masked| masked.starts_with(&below));
        if !masked_inside && same_bytes(writer, view) {
            block.copy(slot, values(writer));
            return Ok(());
        }
        match (writer, view) {
            (FieldType::Record(writer), FieldType::Record(view)) => self.record(writer, view, &below, block),
            (writer_ty, view_ty) => {
                if let (Some((null, FieldType::Record(writer))), Some((view_null, FieldType::Record(view)))) =
                    (writer_ty.nullable(), view_ty.nullable())
                    && null == view_null
                {
                    let mut inner = Block::default();
                    self.record(writer, view, &below, &mut inner)?;
                    block.push(Op::Optional { slot, null, body: inner.ops });
                } else {
                    let recode = Recode::compile(writer_ty, view_ty).ok_or_else(|| {
                        wrong(path, format!("a {writer_ty} in the records, which is not shown as a {view_ty}"))
                    })?;
                    block.push(Op::Recode { slot, recode });
                }
                block.at += 1;
                Ok(())
            }
        }
    }

    /// The bytes of a field that the writer lacks, masked as the writer's would be.
    fn default(&self, field: &Field, path: &str) -> Result<Box<[u8]>, ProjectionError> {
        let Some(default) = &field.default else {
            return Err(wrong(path, "the records have no such field, and the view has no default for it".to_owned()));
        };
        let Some(mask) = self.masks.get(path) else { return Ok(default.bytes.as_slice().into()) };
        let mut out = Vec::new();
        mask_value(*mask, null_branch(&field.ty), &default.bytes, &mut out)
            .ok_or_else(|| wrong(path, format!("the mask does not fit a {}", field.ty)))?;
        Ok(out.into())
    }
}

fn wrong(path: &str, message: String) -> ProjectionError {
    ProjectionError::Field { path: path.to_owned(), message }
}

/// How many values of its block a value takes.
fn values(ty: &FieldType) -> usize {
    match ty {
        FieldType::Record(record) => record.fields.iter().map(|field| values(&field.ty)).sum(),
        _ => 1,
    }
}

fn null_branch(ty: &FieldType) -> Option<usize> {
    match ty {
        FieldType::Union(branches) => branches.iter().position(|branch| *branch == FieldType::Null),
        _ => None,
    }
}

fn mask_op(
    slot: Slot,
    mask: MaskKind,
    writer: &FieldType,
    view: &FieldType,
    path: &str,
) -> Result<Op, ProjectionError> {
    let misfit = || wrong(path, format!("the mask does not fit a {writer} that is shown as a {view}"));
    let null = null_branch(writer);
    if null != null_branch(view) {
        return Err(misfit());
    }
    if mask == MaskKind::Null {
        let mut index = Vec::new();
        match (null, writer) {
            (Some(null), _) => varint::write(null as i64, &mut index),
            (None, FieldType::Null) => {}
            (None, _) => return Err(misfit()),
        }
        return Ok(Op::Write(index.into()));
    }
    match (writer.without_null(), view.without_null()) {
        (FieldType::String | FieldType::Uuid, FieldType::String) => Ok(Op::Mask { slot, mask, null }),
        _ => Err(misfit()),
    }
}

/// Writes the masked form of the encoded value `raw`.
fn mask_value(mask: MaskKind, null: Option<usize>, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let Some(null) = null else { return if mask == MaskKind::Null { None } else { mask.apply(raw, out) } };
    if mask == MaskKind::Null {
        varint::write(null as i64, out);
        return Some(());
    }
    let mut position = 0;
    let index = varint::read(raw, &mut position).ok()?;
    varint::write(index, out);
    if usize::try_from(index) == Ok(null) { Some(()) } else { mask.apply(&raw[position..], out) }
}

/// None cannot happen to a record that has passed the check.
pub(super) fn run(ops: &[Op], walk: &Walk, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for op in ops {
        match op {
            Op::Copy { first, last } => {
                out.extend_from_slice(bytes.get(walk.raw(*first).start..walk.raw(*last).end)?);
            }
            Op::Write(written) => out.extend_from_slice(written),
            Op::Mask { slot, mask, null } => mask_value(*mask, *null, bytes.get(walk.raw(*slot))?, out)?,
            Op::Optional { slot, null, body } => {
                let raw = bytes.get(walk.raw(*slot))?;
                let index = varint::read(raw, &mut 0).ok()?;
                varint::write(index, out);
                if usize::try_from(index) != Ok(*null) {
                    run(body, walk, bytes, out)?;
                }
            }
            Op::Recode { slot, recode } => recode.run(bytes.get(walk.raw(*slot))?, &mut 0, out)?,
        }
    }
    Some(())
}
