//! Amounts: a decimal number as people write it, to the exact decimal. Nothing is rounded and nothing is guessed.

/// How amounts are written in one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmountForm {
    pub thousands: Option<char>,
    pub currency: Option<String>,
    pub decimal: char,
    /// Digits after the decimal sign, at most.
    pub scale: u32,
    /// Digits altogether, at most.
    pub precision: u32,
}

impl AmountForm {
    /// Digits, a point and nothing else.
    pub fn plain(precision: u32, scale: u32) -> Self {
        Self { thousands: None, currency: None, decimal: '.', scale, precision }
    }

    /// The number in its plain form: `-`, digits without leading zeros, `.` and exactly as many digits as were written.
    /// The error says why the text is no amount, as the end of a sentence.
    pub fn read(&self, text: &str) -> Result<String, String> {
        let (negative, unsigned) = self.sign_and_currency(text)?;
        if unsigned.is_empty() {
            return Err("there are no digits".to_owned());
        }
        self.only_number_characters(unsigned)?;
        let (whole, fraction) = match unsigned.split_once(self.decimal) {
            Some((_, rest)) if rest.contains(self.decimal) => return Err(self.too_many_decimal_signs(unsigned)),
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (unsigned, None),
        };
        let whole = self.without_groups(whole)?;
        let fraction = self.fraction(fraction)?;
        if whole.is_empty() {
            return Err(format!("there is no digit before the \"{}\"", self.decimal));
        }
        let significant = whole.trim_start_matches('0');
        let room = (self.precision - self.scale) as usize;
        if significant.len() > room {
            return Err(format!("{} digits before the decimal sign, {room} are allowed", significant.len()));
        }
        let sign = if negative { "-" } else { "" };
        let whole = if significant.is_empty() { "0" } else { significant };
        Ok(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
    }

    /// `-` and the currency sign in front, in either order; or the sign behind. White space may stand beside the sign.
    fn sign_and_currency<'a>(&self, text: &'a str) -> Result<(bool, &'a str), String> {
        let (mut negative, mut rest) = strip_minus(text);
        let currency = self.currency.as_deref().unwrap_or_default();
        if currency.is_empty() {
            if let Some(sign) = rest.chars().next().filter(|first| is_currency_sign(*first)) {
                return Err(format!("a currency sign \"{sign}\" is not allowed here"));
            }
        } else if let Some(behind) = rest.strip_prefix(currency) {
            rest = behind.trim_start();
            if !negative {
                (negative, rest) = strip_minus(rest);
            }
        } else if let Some(before) = rest.strip_suffix(currency) {
            rest = before.trim_end();
        } else if let Some(sign) = rest.chars().next().filter(|first| is_currency_sign(*first)) {
            return Err(format!("the currency sign \"{sign}\" is not \"{currency}\""));
        }
        Ok((negative, rest))
    }

    fn only_number_characters(&self, text: &str) -> Result<(), String> {
        let part_of_number = |c: char| c.is_ascii_digit() || c == self.decimal || Some(c) == self.thousands;
        let Some((at, odd)) = text.char_indices().find(|(_, c)| !part_of_number(*c)) else {
            return Ok(());
        };
        let behind = &text[at..];
        if odd.is_whitespace() {
            return Err(match behind.trim() {
                "" => "white space at the end".to_owned(),
                after if at > 0 && !after.starts_with(part_of_number) => format!("text \"{after}\" after the number"),
                _ => "white space inside the number".to_owned(),
            });
        }
        Err(match odd {
            ',' if at > 0 => "thousands separators \",\" are not allowed here".to_owned(),
            '-' | '+' => format!("a \"{odd}\" at the wrong place"),
            odd if is_currency_sign(odd) => format!("the currency sign \"{odd}\" is at the wrong place"),
            odd if at > 0 && odd.is_alphabetic() => format!("text \"{behind}\" after the number"),
            odd => format!("\"{odd}\" is not a digit"),
        })
    }

    fn too_many_decimal_signs(&self, text: &str) -> String {
        let name = match self.decimal {
            '.' => "decimal points".to_owned(),
            ',' => "decimal commas".to_owned(),
            other => format!("decimal signs \"{other}\""),
        };
        match text.matches(self.decimal).count() {
            2 => format!("two {name}"),
            many => format!("{many} {name}"),
        }
    }

    /// Either no separator at all, or one before every group of three, the first group having one to three digits.
    fn without_groups(&self, whole: &str) -> Result<String, String> {
        let Some(separator) = self.thousands.filter(|separator| whole.contains(*separator)) else {
            return Ok(whole.to_owned());
        };
        let mut groups = whole.split(separator);
        let first = groups.next().unwrap_or_default();
        if !(1..=3).contains(&first.len()) || groups.any(|group| group.len() != 3) {
            return Err(format!("\"{separator}\" does not stand before groups of three digits"));
        }
        Ok(whole.replace(separator, ""))
    }

    fn fraction<'a>(&self, fraction: Option<&'a str>) -> Result<&'a str, String> {
        let Some(fraction) = fraction else {
            return Ok("");
        };
        if let Some(separator) = self.thousands.filter(|separator| fraction.contains(*separator)) {
            return Err(format!("\"{separator}\" after the decimal sign"));
        }
        if fraction.is_empty() {
            return Err(format!("there is no digit after the \"{}\"", self.decimal));
        }
        if fraction.len() > self.scale as usize {
            return Err(format!("{} digits after the decimal sign, {} are allowed", fraction.len(), self.scale));
        }
        Ok(fraction)
    }
}

fn strip_minus(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

/// Unicode general category Sc, as far as currencies in use need it.
fn is_currency_sign(c: char) -> bool {
    matches!(c, '$' | '¢'..='¥' | '₠'..='⃀' | '﷼' | '＄' | '￠' | '￡' | '￥' | '￦' | '฿' | '৳')
}

#[cfg(test)]
mod tests {
    use super::AmountForm;

    fn dollars() -> AmountForm {
        AmountForm { thousands: Some(','), currency: Some("$".to_owned()), decimal: '.', scale: 2, precision: 15 }
    }

    #[track_caller]
    fn check(form: &AmountForm, text: &str, expected: Result<&str, &str>) {
        assert_eq!(form.read(text), expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn amounts_are_read_exactly() {
        let dollars = dollars();
        for (text, expected) in [
            ("26773.58", "26773.58"),
            ("771,931.57", "771931.57"),
            ("$1,234.50", "1234.50"),
            ("$ 957,477.45", "957477.45"),
            ("0", "0"),
            ("00012.5", "12.5"),
            ("-12", "-12"),
            ("-$12", "-12"),
            ("$-12", "-12"),
            ("1,234.50 $", "1234.50"),
            ("1234567", "1234567"),
            ("9999999999999.99", "9999999999999.99"),
        ] {
            check(&dollars, text, Ok(expected));
        }
    }

    #[test]
    fn the_reason_says_what_is_wrong() {
        let dollars = dollars();
        for (text, reason) in [
            ("", "there are no digits"),
            ("$", "there are no digits"),
            ("3501.872.63", "two decimal points"),
            ("1.2.3.4", "3 decimal points"),
            ("12,34.00", "\",\" does not stand before groups of three digits"),
            ("1,2345", "\",\" does not stand before groups of three digits"),
            (",123", "\",\" does not stand before groups of three digits"),
            ("1234,567", "\",\" does not stand before groups of three digits"),
            ("1.23,4", "\",\" after the decimal sign"),
            ("$982, 900", "white space inside the number"),
            ("12 ", "white space at the end"),
            ("$31.95000", "5 digits after the decimal sign, 2 are allowed"),
            ("S2,035,000.00", "\"S\" is not a digit"),
            ("$12,411,090.76 CAD", "text \"CAD\" after the number"),
            ("12CAD", "text \"CAD\" after the number"),
            ("€12", "the currency sign \"€\" is not \"$\""),
            ("$12$", "the currency sign \"$\" is at the wrong place"),
            ("12€", "the currency sign \"€\" is at the wrong place"),
            (".50", "there is no digit before the \".\""),
            ("50.", "there is no digit after the \".\""),
            ("--5", "a \"-\" at the wrong place"),
            ("99999999999999", "14 digits before the decimal sign, 13 are allowed"),
            ("None", "\"N\" is not a digit"),
        ] {
            check(&dollars, text, Err(reason));
        }
    }

    #[test]
    fn what_is_not_set_is_not_allowed() {
        let plain = AmountForm::plain(10, 2);
        check(&plain, "$5", Err("a currency sign \"$\" is not allowed here"));
        check(&plain, "1,000", Err("thousands separators \",\" are not allowed here"));
        let euro = AmountForm { thousands: Some('.'), decimal: ',', ..AmountForm::plain(12, 2) };
        check(&euro, "1.234,50", Ok("1234.50"));
        check(&euro, "1,2,3", Err("two decimal commas"));
        let french = AmountForm { thousands: Some('\u{202f}'), currency: Some("€".to_owned()), ..euro };
        check(&french, "1\u{202f}234,50\u{a0}€", Ok("1234.50"));
    }
}
