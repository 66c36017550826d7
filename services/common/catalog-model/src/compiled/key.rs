//! The record's key, from its fields.

use std::fmt::Write as _;

use freshet_avro::{FieldType, Value, Walk};
use freshet_core::{Code, Violation};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{CompiledDataset, CompiledSchema};
use crate::entry::KeyForm;

/// The plain key, with its separators. Every state that is kept per entity holds its key.
pub const MAX_KEY_BYTES: usize = 1024;

/// The bus's secret for keys that identify a person. Whoever lacks it cannot tell from a key whose it is.
#[derive(Clone)]
pub struct PseudonymKey {
    /// The state behind the secret: cloned for each key, which saves two blocks of SHA-256.
    state: Hmac<Sha256>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a pseudonym key has 32 bytes or more (`openssl rand -hex 32` makes one)")]
    TooShort,
}

impl PseudonymKey {
    pub const MIN_BYTES: usize = 32;

    /// The secret is the bytes of its file; white space at the end is no part of it, so that every service makes the same
    /// of the same file.
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        let secret = secret.trim_ascii_end();
        if secret.len() < Self::MIN_BYTES {
            return Err(KeyError::TooShort);
        }
        let state = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| KeyError::TooShort)?;
        Ok(Self { state })
    }

    /// The first 32 hex digits of HMAC-SHA256 over the dataset's id, 0x1f and the plain key.
    fn write(&self, dataset: &str, plain: &[u8], out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut mac = self.state.clone();
        mac.update(dataset.as_bytes());
        mac.update(&[0x1f]);
        mac.update(plain);
        for byte in &mac.finalize().into_bytes()[..16] {
            out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

impl std::fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PseudonymKey(…)")
    }
}

/// The key of these texts. One text is the key as it is. Several are joined by `|`, and `|` and `\` inside of them get a
/// `\` in front, so that no two different lists give one key.
pub fn plain_key<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<&str> = texts.into_iter().collect();
    if let [text] = texts[..] {
        return text.to_owned();
    }
    let mut key = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            key.push(b'|');
        }
        push_escaped(text, &mut key);
    }
    // Texts and ASCII signs between their characters are UTF-8.
    String::from_utf8(key).unwrap_or_default()
}

fn push_escaped(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if byte == b'|' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

impl CompiledDataset {
    /// The Kafka key of a record that was checked.
    ///
    /// # Errors
    /// Where the key is empty, or the dataset's keys are pseudonyms and there is no pseudonym key here.
    pub fn key_of(
        &self,
        schema: &CompiledSchema,
        walk: &Walk,
        datum: &[u8],
        pseudonym: Option<&PseudonymKey>,
    ) -> Result<Vec<u8>, Violation> {
        let mut plain = Vec::new();
        for (index, slot) in schema.key.iter().enumerate() {
            if index > 0 {
                plain.push(b'|');
            }
            let value = walk.value(&schema.plan, *slot, datum);
            if !push_text(value, schema.key.len() > 1, &mut plain) {
                let field = schema.plan.path_of(*slot);
                return Err(Violation::new(Code::EnvelopeKey, field, "is part of the key and has no value"));
            }
        }
        self.finish_key(plain, pseudonym)
    }

    /// The Kafka key from the key fields' texts in the order of the dataset's key, as [`plain_key`] takes them: for a
    /// delete, of which there is no record.
    pub fn key_of_texts<'a>(
        &self,
        texts: impl IntoIterator<Item = &'a str>,
        pseudonym: Option<&PseudonymKey>,
    ) -> Result<Vec<u8>, Violation> {
        self.finish_key(plain_key(texts).into_bytes(), pseudonym)
    }

    /// The Kafka key from the plain key as one text, as [`plain_key`] gives it: what a publisher sends as `partitionkey`.
    pub fn key_of_plain(&self, plain: &str, pseudonym: Option<&PseudonymKey>) -> Result<Vec<u8>, Violation> {
        self.finish_key(plain.as_bytes().to_vec(), pseudonym)
    }

    fn finish_key(&self, plain: Vec<u8>, pseudonym: Option<&PseudonymKey>) -> Result<Vec<u8>, Violation> {
        if plain.iter().all(|byte| *byte == b'|') {
            let field = self.dataset.key.fields.join(", ");
            return Err(Violation::new(
                Code::EnvelopeKey,
                field,
                "the key is empty: nothing says which entity this is",
            ));
        }
        if plain.len() > MAX_KEY_BYTES {
            let field = self.dataset.key.fields.join(", ");
            let message = format!("the key has {} bytes; at most {MAX_KEY_BYTES} are taken", plain.len());
            return Err(Violation::new(Code::EnvelopeKey, field, message));
        }
        match (self.dataset.key.form, pseudonym) {
            (KeyForm::Plain, _) => Ok(plain),
            (KeyForm::Pseudonym, Some(secret)) => {
                let mut key = Vec::with_capacity(32);
                secret.write(&self.dataset.id, &plain, &mut key);
                Ok(key)
            }
            (KeyForm::Pseudonym, None) => Err(Violation::whole(
                Code::EnvelopeKey,
                format!("the keys of {} are pseudonyms, and this service has no pseudonym key", self.dataset.id),
            )),
        }
    }
}

/// Appends the text of a key field; false where it has none.
fn push_text(value: Value<'_>, is_one_of_many: bool, out: &mut Vec<u8>) -> bool {
    let mut push = |text: &str| match is_one_of_many {
        true => push_escaped(text, out),
        false => out.extend_from_slice(text.as_bytes()),
    };
    let mut digits = String::new();
    match value {
        Value::String(text) | Value::Enum { symbol: text, .. } => push(text),
        // One UUID has two spellings, and is one entity.
        Value::Uuid(text) => push(&text.to_ascii_lowercase()),
        Value::Int(number) => push(write(&mut digits, i64::from(number))),
        Value::Long(number) => push(write(&mut digits, number)),
        Value::Date(days) => match date_text(days) {
            Some(text) => push(&text),
            None => return false,
        },
        _ => return false,
    }
    true
}

fn write(digits: &mut String, number: i64) -> &str {
    // Writing to a String cannot fail.
    let _ = write!(digits, "{number}");
    digits
}

fn date_text(days: i32) -> Option<String> {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok().map(|date| date.to_string())
}

/// Whether a field of this type can be part of a key.
pub(crate) fn can_be_key(ty: &FieldType) -> bool {
    use FieldType as T;
    matches!(ty, T::String | T::Uuid | T::Int | T::Long | T::Enum(_) | T::Date)
}
