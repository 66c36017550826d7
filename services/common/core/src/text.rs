//! Texts from outside, as they may be shown: in a message, on a terminal, in a log.

/// Signs that are not seen but act: control characters (a terminal obeys them, a log takes them for a new line), the
/// marks that turn the direction of a text (Unicode TR 36 §3.1: what is read is not what stands there), and the byte
/// order mark.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// At most `most` characters, then `…`; what is hidden is escaped.
pub fn shown(text: String, most: usize) -> String {
    // Nearly always: short, and nothing hidden in it.
    if text.len() <= most && !text.contains(is_hidden) {
        return text;
    }
    let mut short = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == most {
            short.push('…');
            break;
        }
        match is_hidden(character) {
            true => short.extend(character.escape_default()),
            false => short.push(character),
        }
    }
    short
}
