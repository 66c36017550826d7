//! What a mask leaves of a text.

use crate::value::sized;
use crate::varint;

/// How a granted field is coarsened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MaskKind {
    /// The first character and `*` (王*); an empty text stays empty. Texts only.
    FirstCharacter,
    /// `*` and the last four characters; a text of four or fewer becomes `***`. Texts only.
    LastFour,
    /// `***`. Texts only.
    Redact,
    /// Null. Nullable fields of any type.
    Null,
}

const REDACTED: &str = "***";

impl MaskKind {
    /// Appends the masked form of an encoded string. None where it is no string.
    pub(super) fn apply(self, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let text = simdutf8::basic::from_utf8(sized(raw)?).ok()?;
        let (before, after) = self.parts(text);
        varint::write((before.len() + after.len()) as i64, out);
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(after.as_bytes());
        Some(())
    }

    fn parts(self, text: &str) -> (&str, &str) {
        match self {
            Self::FirstCharacter => match text.chars().next() {
                Some(first) => (&text[..first.len_utf8()], "*"),
                None => ("", ""),
            },
            Self::LastFour => {
                let mut ends = text.char_indices().rev();
                match (ends.nth(3), ends.next()) {
                    (Some((begin, _)), Some(_)) => ("*", &text[begin..]),
                    _ => (REDACTED, ""),
                }
            }
            Self::Redact | Self::Null => (REDACTED, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mask: MaskKind, text: &str, expected: &str) {
        let (before, after) = mask.parts(text);
        assert_eq!(format!("{before}{after}"), expected, "{mask:?} of {text:?}");
    }

    #[test]
    fn masks_count_characters_not_bytes() {
        check(MaskKind::FirstCharacter, "王小明", "王*");
        check(MaskKind::FirstCharacter, "A", "A*");
        check(MaskKind::FirstCharacter, "", "");
        check(MaskKind::LastFour, "13812345678", "*5678");
        check(MaskKind::LastFour, "一二三四五", "*二三四五");
        check(MaskKind::LastFour, "5678", "***");
        check(MaskKind::LastFour, "", "***");
        check(MaskKind::Redact, "anything", "***");
        check(MaskKind::Redact, "", "***");
    }
}
