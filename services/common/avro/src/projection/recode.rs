//! Values whose types differ between the records and the view, where no slot reaches: items of arrays and maps, branches
//! of unions. They are read through and written anew; everything else is copied.

use crate::schema::{DecimalType, FieldType, RecordType};
use crate::skip::{block, skip, skip_sized};
use crate::varint;

#[derive(Debug)]
pub(super) enum Recode {
    /// The same bytes.
    Copy(FieldType),
    Record(Vec<Part>),
    Array(Box<Recode>),
    Map(Box<Recode>),
    /// One for each of the writer's branches; the index stays.
    Union(Vec<Recode>),
}

#[derive(Debug)]
pub(super) enum Part {
    Keep(Recode),
    Leave(FieldType),
    Insert(Box<[u8]>),
}

impl Recode {
    /// None where a value of `writer` may be no value of `view`.
    pub(super) fn compile(writer: &FieldType, view: &FieldType) -> Option<Self> {
        if same_bytes(writer, view) {
            return Some(Self::Copy(writer.clone()));
        }
        match (writer, view) {
            (FieldType::Array(writer), FieldType::Array(view)) => {
                Some(Self::Array(Self::compile(writer, view)?.into()))
            }
            (FieldType::Map(writer), FieldType::Map(view)) => Some(Self::Map(Self::compile(writer, view)?.into())),
            (FieldType::Union(writer), FieldType::Union(view)) if writer.len() <= view.len() => {
                let branches: Option<Vec<Self>> =
                    writer.iter().zip(view.iter()).map(|(writer, view)| Self::compile(writer, view)).collect();
                Some(Self::Union(branches?))
            }
            (FieldType::Record(writer), FieldType::Record(view)) => Self::record(writer, view),
            _ => None,
        }
    }

    fn record(writer: &RecordType, view: &RecordType) -> Option<Self> {
        let mut parts = Vec::new();
        let mut sources = writer.fields.iter();
        for field in &view.fields {
            if writer.field(&field.name).is_none() {
                parts.push(Part::Insert(field.default.as_ref()?.bytes.as_slice().into()));
                continue;
            }
            // Fields that both have stand in the same order, or this runs out.
            loop {
                let source = sources.next()?;
                if source.name == field.name {
                    parts.push(Part::Keep(Self::compile(&source.ty, &field.ty)?));
                    break;
                }
                parts.push(Part::Leave(source.ty.clone()));
            }
        }
        parts.extend(sources.map(|source| Part::Leave(source.ty.clone())));
        Some(Self::Record(parts))
    }

    /// Writes the value at `position` and moves behind it. None cannot happen to bytes that have passed the check.
    pub(super) fn run(&self, bytes: &[u8], position: &mut usize, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Copy(ty) => {
                let begin = *position;
                skip(ty, bytes, position)?;
                out.extend_from_slice(bytes.get(begin..*position)?);
            }
            Self::Record(parts) => {
                for part in parts {
                    match part {
                        Part::Keep(recode) => recode.run(bytes, position, out)?,
                        Part::Leave(ty) => skip(ty, bytes, position)?,
                        Part::Insert(default) => out.extend_from_slice(default),
                    }
                }
            }
            Self::Array(items) => {
                while let Some(count) = block(bytes, position)? {
                    varint::write(i64::try_from(count).ok()?, out);
                    for _ in 0..count {
                        items.run(bytes, position, out)?;
                    }
                }
                out.push(0);
            }
            Self::Map(values) => {
                while let Some(count) = block(bytes, position)? {
                    varint::write(i64::try_from(count).ok()?, out);
                    for _ in 0..count {
                        let begin = *position;
                        skip_sized(bytes, position)?;
                        out.extend_from_slice(bytes.get(begin..*position)?);
                        values.run(bytes, position, out)?;
                    }
                }
                out.push(0);
            }
            Self::Union(branches) => {
                let index = varint::read(bytes, position).ok()?;
                varint::write(index, out);
                branches.get(usize::try_from(index).ok()?)?.run(bytes, position, out)?;
            }
        }
        Some(())
    }
}

/// Whether every value of `writer` is, byte for byte, a value of `view`. Names do not matter to the bytes.
pub(super) fn same_bytes(writer: &FieldType, view: &FieldType) -> bool {
    match (writer, view) {
        (FieldType::Array(writer), FieldType::Array(view)) | (FieldType::Map(writer), FieldType::Map(view)) => {
            same_bytes(writer, view)
        }
        (FieldType::Union(writer), FieldType::Union(view)) => {
            writer.len() <= view.len() && writer.iter().zip(view.iter()).all(|(writer, view)| same_bytes(writer, view))
        }
        (FieldType::Record(writer), FieldType::Record(view)) => {
            writer.fields.len() == view.fields.len()
                && writer
                    .fields
                    .iter()
                    .zip(&view.fields)
                    .all(|(writer, view)| writer.name == view.name && same_bytes(&writer.ty, &view.ty))
        }
        (FieldType::Enum(writer), FieldType::Enum(view)) => view.symbols.starts_with(&writer.symbols),
        (FieldType::Fixed(writer), FieldType::Fixed(view)) => writer.size == view.size,
        (FieldType::UuidFixed(_), FieldType::UuidFixed(_)) | (FieldType::Duration(_), FieldType::Duration(_)) => true,
        (FieldType::Decimal(writer), FieldType::Decimal(view)) => {
            let size = |decimal: &DecimalType| decimal.fixed.as_ref().map(|fixed| fixed.size);
            (writer.precision, writer.scale, size(writer)) == (view.precision, view.scale, size(view))
        }
        _ => writer == view,
    }
}
