//! Identifiers with check digits and code tables: one file each. The checks take the canonical form only, so that one
//! entity has one spelling on the bus (and therefore one key); [`canonical`] says what that form is. None of them
//! allocates when the identifier is good. No error carries the identifier itself: some identify a person.

use std::borrow::Cow;

pub mod gb2260;
pub mod licence;
pub mod resident_number;
pub mod uscc;

/// Why a text is not an identifier of its kind. Positions count characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    #[error("has {found} characters, must have {expected}")]
    Length { expected: &'static str, found: usize },
    #[error("character {position} is not one of {allowed}")]
    Character { position: usize, allowed: &'static str },
    /// Lower-case letters or separators, of a text that would otherwise have the right form.
    #[error("must be written in capitals and digits, without spaces or hyphens")]
    NotCanonical,
    #[error("characters {from} to {to} must be a division code of six digits")]
    Division { from: usize, to: usize },
    #[error("characters 1 and 2 are no province of GB/T 2260")]
    Province,
    #[error("character {position} is not in the table of {table}")]
    Table { position: usize, table: &'static str },
    #[error("characters {from} to {to} are no date")]
    Date { from: usize, to: usize },
    #[error("the date of birth is in the future")]
    Future,
    #[error("the check digit at position {position} must be {expected}")]
    CheckDigit { position: usize, expected: char },
    #[error("part {part} (counted between the dots) {reason}")]
    Part { part: usize, reason: &'static str },
    #[error("code is not in GB/T 2260 at that date")]
    UnknownDivision,
}

impl IdentifierError {
    fn character(position: usize, found: u8, allowed: &'static str) -> Self {
        match found {
            b'a'..=b'z' | b' ' | b'-' => Self::NotCanonical,
            _ => Self::Character { position, allowed },
        }
    }
}

/// The canonical form of an identifier as people write it: capitals, no spaces, no hyphens. For reading files by a
/// mapping that says so; the validator itself changes nothing.
pub fn canonical(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase() || byte == b' ' || byte == b'-') {
        Cow::Owned(text.chars().filter(|c| *c != ' ' && *c != '-').map(|c| c.to_ascii_uppercase()).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The length of a text in characters that must be `expected`, all ASCII. A text that has that length only without its
/// separators is told so.
fn ascii_of_length(text: &str, length: usize, expected: &'static str) -> Result<(), IdentifierError> {
    if text.len() == length && text.is_ascii() {
        return Ok(());
    }
    if text.is_ascii() && canonical(text).len() == length {
        return Err(IdentifierError::NotCanonical);
    }
    let found = text.chars().count();
    if found == length {
        let position = text.chars().position(|c| !c.is_ascii()).map_or(1, |index| index + 1);
        return Err(IdentifierError::Character { position, allowed: "the half-width (ASCII) digits and letters" });
    }
    Err(IdentifierError::Length { expected, found })
}

#[cfg(test)]
mod vectors;
