//! What the parser says of a text that is not YAML, in the words of whoever wrote the text, at the place that has to be
//! mended: the parser often sees a mistake only lines behind it.

use crate::diagnostic::{Diagnostic, Place};

pub const MEND: &str =
    "look at the indentation, and quote texts that begin with a special sign or contain `: ` or ` #`";

/// `place` is where the parser stopped, `info` what it said there.
pub fn explain(text: &str, info: &str, mut place: Place) -> Diagnostic {
    let lines: Vec<&str> = text.lines().collect();
    let line = lines.get(place.line - 1).copied().unwrap_or_default();
    if let Some(at) = line.find(|c: char| !c.is_whitespace() || c == '\t').filter(|at| line[*at..].starts_with('\t')) {
        place.column = line[..at].chars().count() + 1;
        return Diagnostic::new(place, "a tab stands where the line is indented", "indent with blanks");
    }
    if let Some((line, column, open, close)) = open_bracket(&lines[..place.line.min(lines.len())], &place) {
        let place = Place { line, column, ..place };
        return Diagnostic::new(place, format!("the `{open}` is not closed"), format!("add the `{close}`"));
    }
    if info.contains("quoted scalar") {
        return Diagnostic::new(place, "the text in quotes that begins here does not end", "add the closing quote");
    }
    if info.contains("simple key expect") {
        // The line before, which is no `key: value`, is what the parser could not use.
        let before = lines[..(place.line - 1).min(lines.len())].iter().rposition(|line| !line.trim().is_empty());
        let line = before.unwrap_or(place.line - 1);
        place.line = line + 1;
        place.column = lines.get(line).map_or(1, |line| line.chars().take_while(|c| c.is_whitespace()).count() + 1);
        return Diagnostic::new(place, "the line is no `key: value`", "write a colon and a blank behind the key");
    }
    if info.contains("mapping values are not allowed") {
        let mend = "put a text that contains `: ` into double quotes; where a key was meant, indent its line like its \
                    neighbours";
        return Diagnostic::new(place, "a key cannot stand here", mend);
    }
    if info.contains("did not find expected") && info.contains("block") {
        let mend = "begin it in the column in which the lines of the same list or map begin";
        return Diagnostic::new(place, "the line is indented otherwise than its neighbours", mend);
    }
    Diagnostic::new(place, format!("not YAML: {info}"), MEND)
}

/// The innermost bracket that is open where the parser stopped, if a line ended since: brackets over several lines are
/// right, but then the parser finds nothing wrong.
fn open_bracket(lines: &[&str], stop: &Place) -> Option<(usize, usize, char, char)> {
    let mut open: Vec<(usize, usize, char, char)> = Vec::new();
    let mut quote = None;
    for (number, line) in lines.iter().enumerate() {
        let mut before = ' ';
        for (column, sign) in line.chars().enumerate() {
            if number + 1 == stop.line && column + 1 >= stop.column {
                break;
            }
            // A quote or bracket begins something only where a value may begin.
            let is_begin = before == ' ' || "[{,".contains(before);
            match (quote, sign) {
                (Some(end), _) if sign == end => quote = None,
                (Some(_), _) => {}
                (None, '#') if before == ' ' => break,
                (None, '"' | '\'') if is_begin => quote = Some(sign),
                (None, '[') if is_begin => open.push((number + 1, column + 1, '[', ']')),
                (None, '{') if is_begin => open.push((number + 1, column + 1, '{', '}')),
                (None, ']' | '}') => drop(open.pop_if(|(.., close)| *close == sign)),
                (None, _) => {}
            }
            before = sign;
        }
    }
    open.pop().filter(|(line, ..)| *line < stop.line && quote.is_none())
}
