//! Views: a subset of a record's fields, some of them masked, as runs of copied bytes.

mod mask;
mod program;
mod recode;
mod select;

use std::collections::BTreeMap;

pub use mask::MaskKind;

use crate::schema::{self, SchemaError, SchemaWriter};
use crate::{Plan, Walk};
use program::Op;

/// Why there is no such view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectionError {
    #[error("no fields: a view shows at least one")]
    NoFields,
    #[error("field {path}: {message}")]
    Field { path: String, message: String },
    #[error("the view's schema: {0}")]
    Schema(#[from] SchemaError),
}

/// A view of the records of one plan, compiled.
#[derive(Debug)]
pub struct Projection {
    avsc: String,
    masks: BTreeMap<String, MaskKind>,
    ops: Vec<Op>,
}

impl Projection {
    /// The view of `fields` (dotted paths; a record's path takes all of it) over records of `writer`. Its schema keeps
    /// names, order, defaults and docs; a masked UUID is a string.
    pub fn compile(
        writer: &Plan,
        fields: &[String],
        masks: &BTreeMap<String, MaskKind>,
    ) -> Result<Self, ProjectionError> {
        let view = select::select(writer, fields, masks)?;
        Self::compile_into(writer, &SchemaWriter::write(&view), masks)
    }

    /// The view of schema `view_avsc` over records of any version of the dataset's schema: a field that the records lack
    /// holds the view's default, a field that the view lacks is left out. `masks` are those with which the view was made.
    pub fn compile_into(
        writer: &Plan,
        view_avsc: &str,
        masks: &BTreeMap<String, MaskKind>,
    ) -> Result<Self, ProjectionError> {
        let view = schema::parse(view_avsc)?;
        let ops = program::compile(writer, &view, masks)?;
        Ok(Self { avsc: view_avsc.to_owned(), masks: masks.clone(), ops })
    }

    /// The same view over records of another version.
    pub fn compile_for(&self, writer: &Plan) -> Result<Self, ProjectionError> {
        Self::compile_into(writer, &self.avsc, &self.masks)
    }

    /// The schema of the view's records, named types written out at their first use.
    pub fn avsc(&self) -> &str {
        &self.avsc
    }

    /// Appends the view's datum to `out`. `plan` is the one that this was compiled for, `walk` and `bytes` are those of a
    /// check that passed; for others the datum has no meaning.
    pub fn project(&self, plan: &Plan, walk: &Walk, bytes: &[u8], out: &mut Vec<u8>) {
        let _ = plan;
        let done = program::run(&self.ops, walk, bytes, out);
        debug_assert!(done.is_some(), "a projection met a record that had not passed the check");
    }
}
