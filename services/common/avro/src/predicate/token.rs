//! Words, texts, numbers and signs, each with its place.

use super::{MAX_LENGTH, PredicateError};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Letters, digits, `_` and `.`: a keyword or a field.
    Word(String),
    /// A field in double quotes.
    Quoted(String),
    Text(String),
    Number(String),
    Sign(&'static str),
    End,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{word}"),
            Self::Quoted(word) => write!(f, "\"{word}\""),
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Sign(sign) => write!(f, "{sign}"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// The last token is `End`. The numbers are characters before the token.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, PredicateError> {
    if text.len() > MAX_LENGTH {
        let message = format!("the condition has {} bytes, at most {MAX_LENGTH} are taken", text.len());
        return Err(PredicateError { at: 0, message });
    }
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let begin = at;
        let token = match character {
            _ if character.is_whitespace() => {
                at += 1;
                continue;
            }
            '\'' => Token::Text(quoted(&characters, &mut at)?),
            '"' => Token::Quoted(quoted(&characters, &mut at)?),
            '0'..='9' | '-' | '+' => Token::Number(run(&characters, &mut at)),
            _ if character.is_alphabetic() || character == '_' => Token::Word(run(&characters, &mut at)),
            _ => Token::Sign(sign(&characters, &mut at)?),
        };
        tokens.push((begin, token));
    }
    tokens.push((characters.len(), Token::End));
    Ok(tokens)
}

/// The first character whatever it is, and the letters, digits, `_` and `.` behind it.
fn run(characters: &[char], at: &mut usize) -> String {
    let begin = *at;
    *at += 1;
    while characters.get(*at).is_some_and(|next| next.is_alphanumeric() || matches!(next, '_' | '.')) {
        *at += 1;
    }
    characters[begin..*at].iter().collect()
}

fn quoted(characters: &[char], at: &mut usize) -> Result<String, PredicateError> {
    let (begin, quote) = (*at, characters[*at]);
    let mut text = String::new();
    loop {
        *at += 1;
        match characters.get(*at) {
            Some(character) if *character == quote => {
                *at += 1;
                if characters.get(*at) != Some(&quote) {
                    return Ok(text);
                }
                text.push(quote);
            }
            Some(character) => text.push(*character),
            None => {
                let message = format!("the text that begins here has no closing {quote}");
                return Err(PredicateError { at: begin, message });
            }
        }
    }
}

fn sign(characters: &[char], at: &mut usize) -> Result<&'static str, PredicateError> {
    const SIGNS: [&str; 9] = ["!=", "<=", ">=", "=", "<", ">", "(", ")", ","];
    let rest: String = characters[*at..].iter().take(2).collect();
    match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
        Some(sign) => {
            *at += sign.len();
            Ok(sign)
        }
        None => {
            let message = format!("`{}` has no meaning here", characters[*at]);
            Err(PredicateError { at: *at, message })
        }
    }
}
