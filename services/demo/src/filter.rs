//! Row filters evaluated a second time, slowly, over JSON: the demo's own reading of `docs/catalogue.md`, so that the
//! books do not rest on the code that they check.

use serde_json::Value as Json;

#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    All,
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Compare(String, &'static str, Operand),
    In(String, Vec<Operand>),
    Contains(String, String),
    StartsWith(String, String),
    IsNull(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Text(String),
    Number(f64),
    Boolean(bool),
    Field(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(f64),
    Sign(&'static str),
}

impl Filter {
    /// `None`: every row.
    pub fn read(text: Option<&str>) -> Result<Self, String> {
        let Some(text) = text else { return Ok(Self::All) };
        let mut reader = Reader { tokens: tokens(text)?, at: 0 };
        let filter = reader.any()?;
        if reader.at < reader.tokens.len() {
            return Err(format!("cannot read the filter `{text}` from part {} on", reader.at + 1));
        }
        Ok(filter)
    }

    /// A comparison with null is false.
    pub fn takes(&self, row: &Json) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.takes(row)),
            Self::Or(parts) => parts.iter().any(|part| part.takes(row)),
            Self::Not(part) => !part.takes(row),
            Self::Compare(path, sign, operand) => compare(field(row, path), sign, operand, row),
            Self::In(path, operands) => operands.iter().any(|operand| compare(field(row, path), "=", operand, row)),
            Self::Contains(path, text) => match field(row, path) {
                Json::Array(items) => items.iter().any(|item| item == text),
                Json::String(found) => found.contains(text.as_str()),
                _ => false,
            },
            Self::StartsWith(path, text) => {
                field(row, path).as_str().is_some_and(|found| found.starts_with(text.as_str()))
            }
            Self::IsNull(path) => field(row, path).is_null(),
        }
    }
}

fn field<'a>(row: &'a Json, path: &str) -> &'a Json {
    path.split('.').fold(row, |value, name| value.get(name).unwrap_or(&Json::Null))
}

fn compare(left: &Json, sign: &str, operand: &Operand, row: &Json) -> bool {
    use std::cmp::Ordering;
    let number = |json: &Json| json.as_f64().or_else(|| json.as_str().and_then(|text| text.parse().ok()));
    let order = match operand {
        Operand::Text(text) => left.as_str().map(|found| found.cmp(text)),
        Operand::Number(value) => number(left).and_then(|found| found.partial_cmp(value)),
        Operand::Boolean(value) => left.as_bool().map(|found| found.cmp(value)),
        Operand::Field(path) => match (left, field(row, path)) {
            (Json::String(a), Json::String(b)) => Some(a.cmp(b)),
            (a, b) => number(a).zip(number(b)).and_then(|(a, b)| a.partial_cmp(&b)),
        },
    };
    let Some(order) = order else { return false };
    match sign {
        "=" => order == Ordering::Equal,
        "!=" => order != Ordering::Equal,
        "<" => order == Ordering::Less,
        "<=" => order != Ordering::Greater,
        ">" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }
}

const SIGNS: [&str; 9] = ["!=", "<=", ">=", "=", "<", ">", "(", ")", ","];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            found.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let mut value = String::new();
            let mut left = quoted;
            loop {
                let end = left.find('\'').ok_or_else(|| format!("a quote is not closed in `{text}`"))?;
                value.push_str(&left[..end]);
                left = &left[end + 1..];
                // Two quotes are one.
                match left.strip_prefix('\'') {
                    Some(more) => {
                        value.push('\'');
                        left = more;
                    }
                    None => break,
                }
            }
            found.push(Token::Text(value));
            rest = left;
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "=!<>(),'".contains(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("cannot read `{rest}` in the filter `{text}`"));
            }
            let word = &rest[..end];
            let numeric = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+'));
            match word.parse::<f64>() {
                Ok(number) if numeric => found.push(Token::Number(number)),
                _ => found.push(Token::Word(word.to_owned())),
            }
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    fn take_word(&mut self, word: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(is);
        is
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Sign(found)) if *found == sign);
        self.at += usize::from(is);
        is
    }

    fn next(&mut self) -> Result<Token, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("the filter ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn any(&mut self) -> Result<Filter, String> {
        let mut parts = vec![self.all()?];
        while self.take_word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Or(parts) })
    }

    fn all(&mut self) -> Result<Filter, String> {
        let mut parts = vec![self.one()?];
        while self.take_word("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::And(parts) })
    }

    fn one(&mut self) -> Result<Filter, String> {
        if self.take_word("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take_sign("(") {
            let inner = self.any()?;
            return if self.take_sign(")") { Ok(inner) } else { Err("a parenthesis is not closed".to_owned()) };
        }
        let Token::Word(path) = self.next()? else { return Err("a field's name was expected".to_owned()) };
        if self.take_word("is") {
            let not = self.take_word("not");
            if !self.take_word("null") {
                return Err(format!("`null` was expected behind `{path} is`"));
            }
            // Null compares false, but `is not null` is no comparison.
            return Ok(if not { Filter::Not(Box::new(Filter::IsNull(path))) } else { Filter::IsNull(path) });
        }
        if self.take_word("contains") {
            return Ok(Filter::Contains(path, self.text()?));
        }
        if self.take_word("starts_with") {
            return Ok(Filter::StartsWith(path, self.text()?));
        }
        let not = self.take_word("not");
        if self.take_word("in") {
            let members = Filter::In(path.clone(), self.list()?);
            return Ok(if not {
                Filter::And(vec![Filter::Not(Box::new(Filter::IsNull(path))), Filter::Not(Box::new(members))])
            } else {
                members
            });
        }
        match self.next()? {
            Token::Sign(sign) if !["(", ")", ","].contains(&sign) => Ok(Filter::Compare(path, sign, self.operand()?)),
            other => Err(format!("{other:?} is no comparison")),
        }
    }

    fn list(&mut self) -> Result<Vec<Operand>, String> {
        if !self.take_sign("(") {
            return Err("`(` was expected behind `in`".to_owned());
        }
        let mut members = vec![self.operand()?];
        while self.take_sign(",") {
            members.push(self.operand()?);
        }
        if self.take_sign(")") { Ok(members) } else { Err("a list is not closed".to_owned()) }
    }

    fn text(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Text(text) => Ok(text),
            other => Err(format!("a text was expected, not {other:?}")),
        }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        Ok(match self.next()? {
            Token::Text(text) => Operand::Text(text),
            Token::Number(number) => Operand::Number(number),
            Token::Word(word) if word == "true" || word == "false" => Operand::Boolean(word == "true"),
            Token::Word(word) => Operand::Field(word),
            Token::Sign(sign) => return Err(format!("a value was expected, not `{sign}`")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filter: &str, expected: bool) {
        let row = serde_json::json!({"a": {"b": "x"}, "n": 5, "amount": "100000.50", "on": "2024-02-29", "none": null,
            "list": ["Parks, Forestry & Recreation", "Toronto Water"], "name": "Children's Services"});
        assert_eq!(Filter::read(Some(filter)).unwrap().takes(&row), expected, "{filter}");
    }

    #[test]
    fn every_form_of_the_language() {
        check("a.b = 'x'", true);
        check("a.b != 'x'", false);
        check("n >= 5 and n < 6", true);
        check("n = +5 and n > -5", true);
        check("amount >= 100000", true);
        check("amount > 100000.5", false);
        check("on >= '2024-03-01'", false);
        check("list contains 'Toronto Water'", true);
        check("list contains 'Water'", false);
        check("name contains 'Services'", true);
        check("name = 'Children''s Services'", true);
        check("name starts_with 'Child'", true);
        check("n in (1, 5)", true);
        check("n not in (1, 5)", false);
        check("none is null and n is not null", true);
        check("none = 'x' or none != 'x'", false);
        check("none not in ('x')", false);
        check("not (a.b = 'y' or n = 6)", true);
    }

    #[test]
    fn what_it_cannot_read_is_an_error() {
        for wrong in ["a =", "a = 'x", "(a = 1", "a b", "a = 1 b", "in (1)"] {
            assert!(Filter::read(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
