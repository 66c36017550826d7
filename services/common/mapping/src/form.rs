//! How one field's texts are read: the mapping's setting, fitted to the field's kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet_catalog_model::mapping::ReadAs;
use jiff::tz::TimeZone;

use crate::kind::Kind;
use crate::value::amount::AmountForm;
use crate::value::date;
use crate::value::vocabulary::Spellings;

#[derive(Debug, Clone)]
pub enum Form {
    Text,
    Whole,
    Floating,
    Amount(AmountForm),
    Boolean {
        true_words: Vec<String>,
        false_words: Vec<String>,
    },
    IsoDate,
    Date(Vec<String>),
    Rfc3339,
    Time {
        formats: Vec<String>,
        zone: Option<TimeZone>,
    },
    Symbol(Vec<String>),
    OneOf(Arc<Spellings>),
    List {
        separator: String,
        known: Option<Arc<Spellings>>,
    },
    /// JSON in its natural form.
    Json,
}

pub type Vocabularies = BTreeMap<String, Arc<Spellings>>;

impl Form {
    /// The error is a sentence about the mapping's field.
    pub fn compile(kind: &Kind, read: &ReadAs, vocabularies: &Vocabularies) -> Result<Self, String> {
        let unfit = |read: &str| Err(format!("is read as {read}, but the schema has {kind:?} there"));
        let known = |name: &str| {
            vocabularies
                .get(name)
                .cloned()
                .ok_or_else(|| format!("names the vocabulary \"{name}\", which is not there"))
        };
        match read {
            ReadAs::Plain => Ok(plain(kind)),
            ReadAs::Amount { thousands, currency, decimal } => {
                let (precision, scale) = match kind {
                    Kind::Decimal { precision, scale } => (*precision, *scale),
                    Kind::Int | Kind::Long => (19, 0),
                    Kind::Floating => (34, 17),
                    _ => return unfit("an amount"),
                };
                let decimal = decimal.unwrap_or('.');
                if *thousands == Some(decimal) {
                    return Err(format!("has \"{decimal}\" both between thousands and before the fraction"));
                }
                Ok(Form::Amount(AmountForm {
                    thousands: *thousands,
                    currency: currency.clone(),
                    decimal,
                    scale,
                    precision,
                }))
            }
            ReadAs::Date { formats } => match kind {
                Kind::Date | Kind::Text => checked(formats).map(Form::Date),
                _ => unfit("a date"),
            },
            ReadAs::Time { formats, zone } => {
                if !matches!(kind, Kind::Timestamp | Kind::Text) {
                    return unfit("a time");
                }
                let zone = match zone {
                    Some(name) => Some(
                        TimeZone::get(name)
                            .map_err(|_| format!("names the time zone \"{name}\", which is not known"))?,
                    ),
                    None => None,
                };
                Ok(Form::Time { formats: checked(formats)?, zone })
            }
            ReadAs::Boolean { true_words, false_words } => match kind {
                Kind::Boolean => Ok(Form::Boolean { true_words: true_words.clone(), false_words: false_words.clone() }),
                _ => unfit("a boolean"),
            },
            ReadAs::OneOf { vocabulary } => {
                let known = known(vocabulary)?;
                match kind {
                    Kind::Text => Ok(Form::OneOf(known)),
                    Kind::Enum(symbols) => {
                        let is_symbol = |member: &&str| symbols.iter().any(|symbol| symbol == member);
                        let odd = known.members().find(|member| !is_symbol(member)).map(str::to_owned);
                        match odd {
                            Some(member) => {
                                Err(format!("may give \"{member}\", which is no symbol of the schema's enum"))
                            }
                            None => Ok(Form::OneOf(known)),
                        }
                    }
                    _ => unfit("one of a vocabulary"),
                }
            }
            ReadAs::List { separator, vocabulary } => match kind {
                Kind::Texts if separator.is_empty() => Err("has an empty separator".to_owned()),
                Kind::Texts => {
                    let known = vocabulary.as_deref().map(known).transpose()?;
                    Ok(Form::List { separator: separator.clone(), known })
                }
                _ => unfit("a list"),
            },
        }
    }

    /// What a text of this form is, for "… is not …".
    pub fn what(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Whole => "a whole number".to_owned(),
            Self::Floating => "a number".to_owned(),
            Self::Amount(_) => "an amount".to_owned(),
            Self::Boolean { true_words, false_words } => {
                format!("one of {}", true_words.join(", ") + ", " + &false_words.join(", "))
            }
            Self::IsoDate | Self::Date(_) => "a date".to_owned(),
            Self::Rfc3339 | Self::Time { .. } => "a time".to_owned(),
            Self::Symbol(symbols) => format!("one of {}", symbols.join(", ")),
            Self::OneOf(_) => "a known name".to_owned(),
            Self::List { .. } => "a list".to_owned(),
            Self::Json => "a value of the schema".to_owned(),
        }
    }
}

fn plain(kind: &Kind) -> Form {
    match kind {
        Kind::Text | Kind::Uuid => Form::Text,
        Kind::Int | Kind::Long => Form::Whole,
        Kind::Floating => Form::Floating,
        Kind::Decimal { precision, scale } => Form::Amount(AmountForm::plain(*precision, *scale)),
        Kind::Boolean => Form::Boolean { true_words: vec!["true".to_owned()], false_words: vec!["false".to_owned()] },
        Kind::Date => Form::IsoDate,
        Kind::Timestamp => Form::Rfc3339,
        Kind::Enum(symbols) => Form::Symbol(symbols.clone()),
        Kind::Texts | Kind::Other => Form::Json,
    }
}

fn checked(formats: &[String]) -> Result<Vec<String>, String> {
    if formats.is_empty() {
        return Err("has no format".to_owned());
    }
    match formats.iter().find(|format| !date::is_format(format)) {
        Some(format) => Err(format!("has the format \"{format}\", which strptime does not know")),
        None => Ok(formats.to_vec()),
    }
}
