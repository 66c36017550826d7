//! One field's way from cells to a value, compiled from the mapping and the field's kind.

use freshet_catalog_model::mapping::FieldMapping;
use serde_json::Value;

use crate::form::{Form, Vocabularies};
use crate::json;
use crate::kind::{Field, Kind};
use crate::row::{Cell, cell};
use crate::value::date;
use crate::value::vocabulary::ListError;

#[derive(Debug, Clone)]
pub struct FieldReader {
    pub field: Field,
    pub columns: Vec<String>,
    pub optional: bool,
    null_when: Vec<String>,
    trim: bool,
    form: Form,
    /// Its texts are personal data: messages do not quote them.
    sensitive: bool,
}

impl FieldReader {
    /// The error is a sentence about the mapping's field.
    pub fn compile(
        field: &Field,
        mapping: &FieldMapping,
        vocabularies: &Vocabularies,
        sensitive: bool,
    ) -> Result<Self, String> {
        if mapping.from.is_empty() {
            return Err("names no column in `from`".to_owned());
        }
        if !mapping.null_when.is_empty() && !field.nullable {
            return Err("has `null_when`, but the schema does not allow null here".to_owned());
        }
        if mapping.optional && !field.nullable && !field.has_default {
            return Err("is optional, but the schema has neither null nor a default here".to_owned());
        }
        Ok(Self {
            field: field.clone(),
            columns: mapping.from.clone(),
            optional: mapping.optional,
            null_when: mapping.null_when.clone(),
            trim: mapping.trim,
            form: Form::compile(&field.kind, &mapping.read, vocabularies)?,
            sensitive,
        })
    }

    /// Null by the mapping's word for it. JSON null is null.
    pub fn is_null(&self, cell: &Cell<'_>) -> bool {
        match cell {
            Cell::Null => true,
            Cell::Text(text) => self.null_when.iter().any(|null| null == self.trimmed(text)),
            _ => false,
        }
    }

    fn trimmed<'a>(&self, text: &'a str) -> &'a str {
        if self.trim { text.trim() } else { text }
    }

    /// The value in natural JSON. The error is a sentence for a clerk.
    pub fn read(&self, cell: &Cell<'_>) -> Result<Value, String> {
        if self.is_null(cell) {
            return if self.field.nullable { Ok(Value::Null) } else { Err("null is not allowed here".to_owned()) };
        }
        match cell {
            Cell::Text(text) => self.read_text(self.trimmed(text)),
            Cell::Number(text) => match &self.form {
                Form::Json => serde_json::from_str(text).map_err(|_| format!("{} is not a number", self.quoted(text))),
                _ => self.read_text(text),
            },
            Cell::Boolean(value) => match &self.form {
                Form::Boolean { .. } | Form::Json => Ok(Value::Bool(*value)),
                _ if self.sensitive => Err(format!("{} is not {}", self.quoted(""), self.form.what())),
                _ => Err(format!("{value} without quotation marks is not {}", self.form.what())),
            },
            Cell::Nested(json) => self.read_nested(json),
            Cell::Null => Ok(Value::Null),
        }
    }

    fn read_text(&self, text: &str) -> Result<Value, String> {
        let is_not = |what: &str| match text {
            "" => format!("the column is empty, it should hold {}", what.split(':').next().unwrap_or(what)),
            _ => format!("{} is not {what}", self.quoted(text)),
        };
        match &self.form {
            Form::Text | Form::Json => Ok(Value::from(text)),
            Form::Whole => self.whole(text).map_err(|what| is_not(&what)),
            Form::Floating => floating(text).ok_or_else(|| is_not("a number")),
            Form::Amount(form) => match form.read(text) {
                Ok(number) => self.amount(number).map_err(|what| is_not(&what)),
                Err(why) => Err(is_not(&format!("an amount: {why}"))),
            },
            Form::Boolean { true_words, false_words } => match () {
                () if true_words.iter().any(|word| word == text) => Ok(Value::Bool(true)),
                () if false_words.iter().any(|word| word == text) => Ok(Value::Bool(false)),
                () => Err(is_not(&self.form.what())),
            },
            Form::IsoDate => date::iso_date(text).map(as_text).map_err(|what| is_not(&what)),
            Form::Date(formats) => date::date(text, formats).map(as_text).map_err(|what| is_not(&what)),
            Form::Rfc3339 => date::rfc3339(text).map(as_text).map_err(|what| is_not(&what)),
            Form::Time { formats, zone } => {
                date::time(text, formats, zone.as_ref()).map(as_text).map_err(|what| is_not(&what))
            }
            Form::Symbol(symbols) => match symbols.iter().any(|symbol| symbol == text) {
                true => Ok(Value::from(text)),
                false => Err(is_not(&self.form.what())),
            },
            Form::OneOf(known) => known.one(text).map(Value::from).map_err(|what| is_not(&what)),
            Form::List { separator, known: Some(known) } => match known.list(text, separator) {
                Ok(members) => Ok(Value::from(members)),
                Err(ListError::Ambiguous) => {
                    Err(format!("{} can be read as a list of known names in more than one way", self.quoted(text)))
                }
                Err(ListError::Unknown { part, why }) if part == text => Err(is_not(&why)),
                Err(ListError::Unknown { part, why }) => {
                    Err(format!("{} in the list is not {why}", self.quoted(&part)))
                }
            },
            Form::List { separator, known: None } => Ok(text.split(separator.as_str()).map(Value::from).collect()),
        }
    }

    fn whole(&self, text: &str) -> Result<Value, String> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("a whole number".to_owned());
        }
        let (least, most) = match self.field.kind {
            Kind::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.map(|number: i64| Value::from(number)).ok_or_else(|| format!("between {least} and {most}"))
    }

    /// A decimal stays a text, so that it stays exact.
    fn amount(&self, number: String) -> Result<Value, String> {
        match self.field.kind {
            Kind::Int | Kind::Long => self.whole(&number),
            Kind::Floating => floating(&number).ok_or_else(|| "a number".to_owned()),
            _ => Ok(Value::from(number)),
        }
    }

    fn read_nested(&self, json: &str) -> Result<Value, String> {
        let not_json = |error: serde_json::Error| match self.sensitive {
            true => format!("{} cannot be read", self.quoted(json)),
            false => format!("cannot be read: {error}"),
        };
        match &self.form {
            Form::Json => json::value(json.as_bytes()).map_err(not_json),
            Form::List { known, .. } if json.starts_with('[') => {
                let (items, _) = json::items(json.as_bytes(), usize::MAX).map_err(not_json)?;
                let member = |item: &serde_json::value::RawValue| match (cell(item.get()), known) {
                    (Cell::Text(text), Some(known)) => match known.one(&text) {
                        Ok(text) => Ok(text.to_owned()),
                        Err(what) => Err(format!("{} in the list is not {what}", self.quoted(&text))),
                    },
                    (Cell::Text(text), None) => Ok(text.into_owned()),
                    _ => Err(format!("{} in the list is not a text", self.quoted(item.get()))),
                };
                items.into_iter().map(member).collect::<Result<Vec<String>, String>>().map(Value::from)
            }
            _ => Err(format!("{} is not {}", self.quoted(json), self.form.what())),
        }
    }

    /// As a message shows it: short, and not at all where it is personal data.
    fn quoted(&self, text: &str) -> String {
        const SHOWN: usize = 60;
        if self.sensitive {
            return freshet_core::Withheld::INSTEAD.to_owned();
        }
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("\"{}…\"", text[..end].escape_debug()),
            None => format!("\"{}\"", text.replace('\n', "\\n")),
        }
    }
}

fn as_text(value: impl std::fmt::Display) -> Value {
    Value::from(value.to_string())
}

/// JSON's own form of a number; a plain `1e999` is not one.
fn floating(text: &str) -> Option<Value> {
    let number: f64 = serde_json::from_str(text).ok()?;
    serde_json::Number::from_f64(number).map(Value::Number)
}
