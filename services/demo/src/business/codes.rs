//! Codes with right check digits, computed here by the standards' tables and not by the code that checks them.

use fastrand::Rng;
use jiff::civil::Date;

const CREDIT: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// GB 32100-2015: registered by the market authority (9), enterprise (1), division, organisation code, check.
/// `number` makes it unique.
pub fn uscc(rng: &mut Rng, division: &str, number: u64) -> String {
    // MA…: the range given out since 2015. Five base-31 characters hold 28 million, then one at random.
    let mut body = String::from("MA");
    let mut rest = number;
    for _ in 0..5 {
        body.push(char::from(CREDIT[(rest % 31) as usize]));
        rest /= 31;
    }
    body.push(char::from(CREDIT[rng.usize(0..31)]));
    let code = format!("91{division}{body}{}", organisation_check(&body));
    let check = credit_check(&code);
    code + &check.to_string()
}

/// GB 11714-1997.
fn organisation_check(body: &str) -> char {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = body.chars().zip(WEIGHTS).map(|(c, weight)| c.to_digit(36).unwrap_or(0) * weight).sum();
    match 11 - sum % 11 {
        10 => 'X',
        11 => '0',
        digit => char::from_digit(digit, 10).unwrap_or('0'),
    }
}

fn credit_check(code: &str) -> char {
    let mut weight = 1;
    let mut sum = 0;
    for byte in code.bytes() {
        let value = CREDIT.iter().position(|c| *c == byte).unwrap_or(0);
        sum += value * weight;
        weight = weight * 3 % 31;
    }
    char::from(CREDIT[(31 - sum % 31) % 31])
}

/// GB 11643-1999.
pub fn resident_number(rng: &mut Rng, division: &str, birth: Date) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let body = format!("{division}{}{:03}", birth.strftime("%Y%m%d"), rng.u32(1..1000));
    let sum: u32 = body.chars().zip(WEIGHTS).map(|(c, weight)| c.to_digit(10).unwrap_or(0) * weight).sum();
    let check = b"10X98765432"[(sum % 11) as usize];
    body + &char::from(check).to_string()
}

/// The same code with a wrong check digit.
pub fn spoil(code: &str) -> String {
    let mut spoiled = code.to_owned();
    let wrong = if spoiled.pop() == Some('1') { '2' } else { '1' };
    spoiled.push(wrong);
    spoiled
}
