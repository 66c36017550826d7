//! Amounts are exact: what is read is what a separate computation in whole cents says, and nothing else is read at all.

use freshet_mapping::value::amount::AmountForm;
use proptest::prelude::*;

fn dollars() -> AmountForm {
    AmountForm { thousands: Some(','), currency: Some("$".to_owned()), decimal: '.', scale: 2, precision: 30 }
}

/// Cents, by digit arithmetic alone. None where the text is not `-?digits(.digits{1,2})?`.
fn cents(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 2 {
        return None;
    }
    let mut total: i128 = 0;
    for digit in whole.chars().chain(fraction.chars().chain("00".chars()).take(2)) {
        total = total.checked_mul(10)?.checked_add(i128::from(digit.to_digit(10)?))?;
    }
    Some(sign * total)
}

/// `1234567` → `1,234,567`.
fn grouped(digits: &str) -> String {
    let first = (digits.len() - 1) % 3 + 1;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        text.push(',');
        text.extend(group.iter().map(|byte| char::from(*byte)));
    }
    text
}

proptest! {
    #[test]
    fn every_way_of_writing_an_amount_gives_the_same_cents(
        whole in 0_u64..=u64::MAX,
        fraction in proptest::option::of("[0-9]{1,2}"),
        negative: bool,
        groups: bool,
        currency in prop_oneof!["", "\\$", "\\$ "],
    ) {
        let digits = whole.to_string();
        let written = if groups { grouped(&digits) } else { digits.clone() };
        let fraction = fraction.map(|fraction| format!(".{fraction}")).unwrap_or_default();
        let sign = if negative { "-" } else { "" };
        let read = dollars().read(&format!("{sign}{currency}{written}{fraction}"));
        prop_assert_eq!(cents(&read.clone().expect("a good amount")), cents(&format!("{sign}{digits}{fraction}")), "{:?}", read);
    }

    #[test]
    fn what_is_read_has_no_other_meaning(text in "[-0-9$,. ]{0,12}") {
        if let Ok(read) = dollars().read(&text) {
            let bare: String = text.chars().filter(|c| !matches!(c, '$' | ',' | ' ')).collect();
            prop_assert!(cents(&read).is_some(), "{read:?}");
            prop_assert_eq!(cents(&read), cents(&bare));
        } else {
            // A plain number with at most two digits after the point is always read.
            prop_assert!(cents(&text).is_none(), "{text:?} was refused");
        }
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_reason(text in "\\PC{0,40}") {
        match dollars().read(&text) {
            Ok(read) => prop_assert!(cents(&read).is_some()),
            Err(reason) => prop_assert!(!reason.is_empty()),
        }
    }
}
