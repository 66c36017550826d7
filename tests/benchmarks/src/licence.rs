//! The workload: licence records made from a seed, as `schemas/licence/licence.avsc` says, in the Confluent wire format.
//! Three of four have a unified social credit code, a third of the names is Chinese, 1 % is bad in four equal parts.

use freshet_core::identifiers::uscc;

/// What is wrong with a record on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    None,
    /// A status index outside of the enum.
    Status,
    /// A wrong check digit.
    CheckDigit,
    /// `valid_until` before `valid_from`.
    Dates,
    /// Cut off inside the last field.
    CutOff,
}

#[derive(Debug, Clone)]
pub struct Licence {
    pub key: String,
    pub sequence: u64,
    pub value: Vec<u8>,
    pub defect: Defect,
}

#[derive(Debug)]
pub struct Generator {
    random: fastrand::Rng,
    schema_id: u32,
    entities: u64,
    made: u64,
    /// How long the conditions of each licence are, in bytes; 0: it has none.
    padding: usize,
}

const WORDS: &str = "no operation between hours on public holidays within metres of a school the holder keeps register \
    vehicles and drivers for inspection at any time waste water is not to be discharged into river fire \
    exits remain free food prepared cold stored below degrees noise may exceed decibels after sunset signed \
    copy displayed entrance each";

/// Of a value without padding.
pub const PLAIN_BYTES: usize = 320;
const STATUSES: [(u32, u8); 6] = [(0, 5), (1, 60), (2, 20), (3, 5), (4, 5), (5, 5)];
const USCC_ALPHABET: &[u8] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

impl Generator {
    pub fn new(seed: u64, schema_id: u32, entities: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), schema_id, entities, made: 0, padding: 0 }
    }

    /// Entities and sequences that begin after `first`.
    pub fn from(schema_id: u32, first: u64) -> Self {
        Self { made: first, ..Self::new(first, schema_id, u64::MAX) }
    }

    /// The same with so many bytes of conditions in each.
    pub fn padded(self, bytes: usize) -> Self {
        Self { padding: bytes, ..self }
    }

    /// About how large a value is.
    pub fn value_bytes(&self) -> usize {
        PLAIN_BYTES + self.padding
    }

    /// The next record. Each hundredth is bad, so that a count needs no chance.
    pub fn next_licence(&mut self) -> Licence {
        self.made += 1;
        let defect = match (self.made % 100, self.made / 100 % 4) {
            (0, 0) => Defect::Status,
            (0, 1) => Defect::CheckDigit,
            (0, 2) => Defect::Dates,
            (0, _) => Defect::CutOff,
            _ => Defect::None,
        };
        let entity = if self.made <= self.entities { self.made } else { self.random.u64(1..=self.entities) };
        let key = format!("LIC-{entity:09}");
        let value = self.record(&key, defect);
        Licence { key, sequence: self.made, value, defect }
    }

    fn record(&mut self, key: &str, defect: Defect) -> Vec<u8> {
        let mut out = Vec::with_capacity(400);
        out.push(0);
        out.extend_from_slice(&self.schema_id.to_be_bytes());
        let event = self.random.u128(..);
        text(&mut out, &uuid_text(event));
        text(&mut out, key);
        long(&mut out, self.made as i64);
        long(&mut out, if defect == Defect::Status { 17 } else { i64::from(self.status()) });
        text(&mut out, "FOOD-SERVICE");
        let chinese = self.random.u8(0..3) == 0;
        text(&mut out, if chinese { "江城示范餐饮管理有限公司" } else { "Riverside Catering & Provisions Limited" });
        let with_code = defect == Defect::CheckDigit || self.random.u8(0..4) != 0;
        let code = with_code.then(|| self.credit_code(defect));
        optional(&mut out, code.as_deref());
        optional(&mut out, (self.random.u8(0..2) == 0).then_some("TAX-0042-8871-33"));
        let issued = 19_000 + self.random.i64(0..1_000);
        long(&mut out, issued);
        long(&mut out, issued + 1);
        match (defect, self.random.u8(0..4)) {
            (Defect::Dates, _) => date(&mut out, issued - 30),
            (_, 0) => out.push(0),
            _ => date(&mut out, issued + 1_826),
        }
        out.push(0);
        text(&mut out, "420100");
        text(&mut out, "Municipal Licensing Office");
        text(&mut out, "18 Harbour Street, Unit 4");
        text(&mut out, "Rivertown");
        text(&mut out, "430014");
        optional(&mut out, Some("Central"));
        text(&mut out, "CN");
        long(&mut out, 2);
        text(&mut out, "I5610");
        text(&mut out, "I5622");
        out.push(0);
        long(&mut out, 12_500);
        out.push(2);
        out.extend_from_slice(&self.random.f64().to_le_bytes());
        out.push(1);
        let conditions = self.conditions();
        optional(&mut out, conditions.as_deref());
        long(&mut out, 1_760_000_000_000_000 + self.made as i64);
        text(&mut out, "licensing-core-3");
        if defect == Defect::CutOff {
            out.truncate(out.len() - 5);
        }
        out
    }

    /// Words in any order. One sentence again and again compresses so well that what is measured is the bound on what an
    /// answer may become (docs/decisions/0018).
    fn conditions(&mut self) -> Option<String> {
        if self.padding == 0 {
            return None;
        }
        let words: Vec<&str> = WORDS.split(' ').collect();
        let mut text = String::with_capacity(self.padding + 16);
        while text.len() < self.padding {
            text.push_str(words[self.random.usize(..words.len())]);
            text.push(' ');
        }
        text.truncate(self.padding);
        Some(text)
    }

    fn status(&mut self) -> u32 {
        let mut at = self.random.u8(0..100);
        for (status, weight) in STATUSES {
            if at < weight {
                return status;
            }
            at -= weight;
        }
        1
    }

    /// A code with both check digits right, unless that is the defect.
    fn credit_code(&mut self, defect: Defect) -> String {
        let body: String = (0..8).map(|_| char::from(b'0' + self.random.u8(0..10))).collect();
        let inner = organisation_check(&body);
        let mut code = format!("91420100{body}{inner}");
        let right = uscc_check(&code);
        let check = if defect == Defect::CheckDigit { (right + 1) % USCC_ALPHABET.len() } else { right };
        code.push(char::from(USCC_ALPHABET[check]));
        debug_assert_eq!(uscc::check(&code).is_ok(), defect != Defect::CheckDigit);
        code
    }
}

/// GB 11714: the check character of the organisation code inside.
fn organisation_check(body: &str) -> char {
    let weights = [3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = body.bytes().zip(weights).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum();
    match 11 - sum % 11 {
        10 => 'X',
        11 => '0',
        digit => char::from(b'0' + digit as u8),
    }
}

/// GB 32100: position of the check character in the alphabet.
fn uscc_check(code: &str) -> usize {
    let weights = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
    let sum: usize = code
        .bytes()
        .zip(weights)
        .map(|(byte, weight)| USCC_ALPHABET.iter().position(|c| *c == byte).unwrap_or(0) * weight)
        .sum();
    (31 - sum % 31) % 31
}

fn uuid_text(value: u128) -> String {
    let hex = format!("{value:032x}");
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn text(out: &mut Vec<u8>, value: &str) {
    long(out, value.len() as i64);
    out.extend_from_slice(value.as_bytes());
}

fn optional(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => {
            out.push(2);
            text(out, value);
        }
        None => out.push(0),
    }
}

fn date(out: &mut Vec<u8>, days: i64) {
    out.push(2);
    long(out, days);
}
