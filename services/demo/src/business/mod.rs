//! A Chinese business register (市场主体登记) made from a seed: the same seed gives the same events. The bodies are
//! invented; the codes are right: unified social credit codes with both check digits (GB 32100-2015), resident numbers
//! (GB 11643-1999), divisions of GB/T 2260. A known share of the events is wrong, each in one known way.

mod codes;
mod words;

use fastrand::Rng;
use jiff::civil::{Date, date};
use jiff::{Timestamp, ToSpan};

pub use codes::{resident_number, uscc};
use words::{DIVISIONS, Division, GIVEN, INDUSTRIES, SCOPES, STREETS, SURNAMES, TRADES};

/// What the register says of one business after one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Business {
    pub uscc: String,
    pub name: String,
    pub status: Status,
    pub legal_representative: String,
    pub legal_representative_number: String,
    /// Yuan, two digits after the point.
    pub registered_capital: String,
    pub founded_on: Date,
    pub address: String,
    pub scope: String,
    /// GB/T 2260, the county.
    pub division: String,
    pub authority: String,
    /// The day until which it is closed, where it is closed for a time.
    pub closed_until: Option<Date>,
}

/// 登记状态.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// 存续
    Operating,
    /// 歇业
    ClosedTemporarily,
    /// 吊销
    LicenceRevoked,
    /// 注销
    Deregistered,
}

impl Status {
    fn symbol(self) -> &'static str {
        match self {
            Self::Operating => "OPERATING",
            Self::ClosedTemporarily => "CLOSED_TEMPORARILY",
            Self::LicenceRevoked => "LICENCE_REVOKED",
            Self::Deregistered => "DEREGISTERED",
        }
    }
}

/// What is wrong with a planted event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    CreditCodeCheckDigit,
    ResidentNumberCheckDigit,
    UnknownDivision,
    ForeignDivision,
    IllegalTransition,
    StaleVersion,
    EmptyName,
    AmountWithTwoPoints,
}

impl Fault {
    pub const ALL: [Self; 8] = [
        Self::CreditCodeCheckDigit,
        Self::ResidentNumberCheckDigit,
        Self::UnknownDivision,
        Self::ForeignDivision,
        Self::IllegalTransition,
        Self::StaleVersion,
        Self::EmptyName,
        Self::AmountWithTwoPoints,
    ];

    /// The reason code that it must be refused with.
    pub fn code(self) -> &'static str {
        match self {
            Self::CreditCodeCheckDigit | Self::ResidentNumberCheckDigit => "identifier.invalid",
            Self::UnknownDivision => "division.unknown",
            Self::ForeignDivision => "source.authority",
            Self::IllegalTransition => "transition.illegal",
            Self::StaleVersion => "version.stale",
            Self::EmptyName => "rule.violated",
            Self::AmountWithTwoPoints => "schema.type",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Event {
    /// Unique within the register.
    pub number: u64,
    /// When the register recorded it: the version of the business.
    pub at: Timestamp,
    /// The CloudEvents source of the department that publishes it.
    pub source: &'static str,
    pub division: String,
    pub business: Business,
    /// True: the record was entered by mistake and is withdrawn.
    pub is_delete: bool,
    pub fault: Option<Fault>,
}

impl Event {
    /// The record as the department's system writes it: the schema's fields, in natural JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let business = &self.business;
        serde_json::json!({
            "uscc": business.uscc,
            "name": business.name,
            "organisation_type": "有限责任公司",
            "legal_representative": business.legal_representative,
            "legal_representative_number": business.legal_representative_number,
            "registered_capital": business.registered_capital,
            "address": business.address,
            "business_scope": business.scope,
            "registration_authority": business.authority,
            "founded_on": business.founded_on.to_string(),
            "valid_until": null,
            "division": business.division,
            "status": business.status.symbol(),
            "closed_until": business.closed_until.map(|day| day.to_string()),
            "updated_at": self.at.to_string(),
        })
    }
}

/// About one event in this many is wrong.
const ONE_WRONG_IN: u64 = 60;

/// `count` events from `seed`, in the order of their time.
pub fn events(seed: u64, count: usize) -> Vec<Event> {
    let mut rng = Rng::with_seed(seed);
    let mut events = Vec::with_capacity(count);
    let mut living: Vec<Life> = Vec::new();
    let start: Timestamp = date(2024, 2, 22).in_tz("UTC").map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp());
    // Thirty months, evenly.
    let step_ms = 30 * 30 * 86_400_000 / i64::try_from(count.max(1)).unwrap_or(i64::MAX);
    for number in 0..count as u64 {
        let at = start + (step_ms * number as i64).milliseconds();
        let is_new = living.len() < 8 || rng.u64(0..100) < 38;
        let is_wrong = living.len() > 8 && rng.u64(0..ONE_WRONG_IN) == 0;
        let event = if is_wrong {
            let fault = Fault::ALL[rng.usize(0..Fault::ALL.len())];
            wrong(&mut rng, &mut living, fault, number, at)
        } else if is_new {
            let mut life = Life::new(&mut rng, number);
            life.last = at;
            let event = life.event(number, at);
            living.push(life);
            event
        } else {
            let index = rng.usize(0..living.len());
            let event = living[index].change(&mut rng, number, at);
            if event.is_delete || living[index].business.status == Status::Deregistered {
                living.swap_remove(index);
            }
            event
        };
        events.push(event);
    }
    events
}

/// A business that can still change.
#[derive(Debug, Clone)]
struct Life {
    business: Business,
    source: &'static str,
    last: Timestamp,
}

impl Life {
    fn new(rng: &mut Rng, number: u64) -> Self {
        let Division { code, source, city_name, county } = pick(rng, DIVISIONS);
        let industry = pick(rng, INDUSTRIES);
        let trade = format!("{}{}", pick(rng, TRADES), pick(rng, TRADES));
        let birth = date(1955, 1, 1).saturating_add(rng.i64(0..16_000).days());
        let founded_on = date(2001, 1, 1).saturating_add(rng.i64(0..8_000).days());
        let business = Business {
            uscc: uscc(rng, code, number),
            name: format!("{city_name}{trade}{industry}有限公司"),
            status: Status::Operating,
            legal_representative: person(rng),
            legal_representative_number: resident_number(rng, code, birth),
            registered_capital: format!("{}.{:02}", rng.u64(3..5_000) * 10_000, rng.u64(0..100)),
            founded_on,
            address: format!("{city_name}{county}{}{}号", pick(rng, STREETS), rng.u32(1..400)),
            scope: (*pick(rng, SCOPES)).to_owned(),
            division: (*code).to_owned(),
            authority: format!("{city_name}{county}市场监督管理局"),
            closed_until: None,
        };
        Self { business, source, last: Timestamp::UNIX_EPOCH }
    }

    fn event(&self, number: u64, at: Timestamp) -> Event {
        Event {
            number,
            at,
            source: self.source,
            division: self.business.division.clone(),
            business: self.business.clone(),
            is_delete: false,
            fault: None,
        }
    }

    /// The next true thing that happens to it.
    fn change(&mut self, rng: &mut Rng, number: u64, at: Timestamp) -> Event {
        self.last = at;
        let business = &mut self.business;
        let chance = rng.u64(0..100);
        match business.status {
            Status::Operating if chance < 6 => business.status = Status::ClosedTemporarily,
            Status::Operating if chance < 9 => business.status = Status::LicenceRevoked,
            Status::Operating if chance < 14 => business.status = Status::Deregistered,
            Status::ClosedTemporarily if chance < 60 => business.status = Status::Operating,
            Status::ClosedTemporarily | Status::LicenceRevoked => business.status = Status::Deregistered,
            Status::Operating | Status::Deregistered => match rng.u64(0..4) {
                0 => business.legal_representative = person(rng),
                1 => business.registered_capital = format!("{}.00", rng.u64(3..9_000) * 10_000),
                2 => business.scope = (*pick(rng, SCOPES)).to_owned(),
                _ => business.address = format!("{}附{}号", business.address, rng.u32(1..9)),
            },
        }
        business.closed_until = (business.status == Status::ClosedTemporarily)
            .then(|| at.to_zoned(jiff::tz::TimeZone::UTC).date().saturating_add(180.days()));
        let mut event = self.event(number, at);
        event.is_delete = chance == 99;
        event
    }
}

/// An event that must be refused. It changes nothing: what is true of the business goes on as if it had not been sent.
fn wrong(rng: &mut Rng, living: &mut [Life], fault: Fault, number: u64, at: Timestamp) -> Event {
    let index = rng.usize(0..living.len());
    let mut event = living[index].event(number, at);
    event.fault = Some(fault);
    let business = &mut event.business;
    match fault {
        // A code of nobody: the key is another one, so that no true entity is touched.
        Fault::CreditCodeCheckDigit => business.uscc = codes::spoil(&business.uscc),
        Fault::ResidentNumberCheckDigit => {
            business.legal_representative_number = codes::spoil(&business.legal_representative_number);
        }
        Fault::UnknownDivision => {
            // A county that its city does not have.
            business.division = format!("{}99", &business.division[..4]);
            event.division = business.division.clone();
        }
        Fault::ForeignDivision => {
            let elsewhere = DIVISIONS.iter().find(|division| division.source != event.source);
            business.division = elsewhere.map_or("110101", |division| division.code).to_owned();
            event.division = business.division.clone();
        }
        Fault::IllegalTransition => {
            // A business cannot begin revoked.
            let mut other = Life::new(rng, number);
            other.business.status = Status::LicenceRevoked;
            event.business = other.business;
            event.source = other.source;
            event.division = event.business.division.clone();
        }
        Fault::StaleVersion => event.at = living[index].last,
        Fault::EmptyName => business.name = String::new(),
        Fault::AmountWithTwoPoints => {
            business.registered_capital = business.registered_capital.replacen("0000.", ".000.", 1);
        }
    }
    event
}

fn person(rng: &mut Rng) -> String {
    format!("{}{}", pick(rng, SURNAMES), pick(rng, GIVEN))
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(0..from.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use freshet_core::identifiers;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_register() {
        let (one, two) = (events(7, 500), events(7, 500));
        assert!(one.iter().zip(&two).all(|(a, b)| a.business == b.business && a.at == b.at));
        assert_ne!(events(8, 500)[0].business.uscc, one[0].business.uscc);
    }

    #[test]
    fn codes_are_right_but_where_they_are_planted() {
        let today = date(2026, 6, 1);
        for event in events(7, 4000) {
            let business = &event.business;
            let planted = |fault: Fault| event.fault == Some(fault);
            assert_eq!(identifiers::uscc::check(&business.uscc).is_err(), planted(Fault::CreditCodeCheckDigit));
            assert_eq!(
                identifiers::resident_number::check(&business.legal_representative_number, today).is_err(),
                planted(Fault::ResidentNumberCheckDigit)
            );
            assert_eq!(
                identifiers::gb2260::check(&event.division, today).is_err(),
                planted(Fault::UnknownDivision),
                "{}",
                event.division
            );
        }
    }

    #[test]
    fn each_business_goes_forward_and_every_fault_is_there() {
        let mut last: HashMap<String, Timestamp> = HashMap::new();
        let mut faults: BTreeMap<Fault, usize> = BTreeMap::new();
        let all = events(1, 36_000);
        for event in &all {
            if let Some(fault) = event.fault {
                *faults.entry(fault).or_default() += 1;
                continue;
            }
            let before = last.insert(event.business.uscc.clone(), event.at);
            assert!(before.is_none_or(|before| before < event.at));
        }
        assert_eq!(faults.len(), Fault::ALL.len());
        let wrong: usize = faults.values().sum();
        assert!((400..800).contains(&wrong), "{wrong}");
        assert!(last.len() > 8_000, "{}", last.len());
    }
}
