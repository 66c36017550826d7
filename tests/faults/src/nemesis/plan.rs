//! Which fault comes when. A function of the seed and the length.

use std::time::Duration;

use crate::bus::{BETWEEN_BROKERS, BROKERS, INSTANCES, TO_CONTROLLERS, WAYS, WEBHOOKS};
use crate::catalogue::{self, SuspendOrRemove};
use crate::proxy::Condition;
use crate::workload::webhook::Behaviour;

/// A fault, and how long it lasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// From the start.
    pub at: Duration,
    pub lasts: Duration,
    pub act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    Kill(&'static str),
    /// SIGSTOP, and SIGCONT when it is over: a process that wakes up into a world that went on without it.
    Freeze(&'static str),
    Restart(&'static str),
    KillBroker(usize),
    FreezeBroker(usize),
    RestartBroker(usize),
    KillAllBrokers,
    FillDisk,
    ToBrokers {
        who: &'static str,
        broker: Option<usize>,
        condition: Condition,
    },
    Way {
        way: &'static str,
        condition: Condition,
    },
    KillDatabase,
    RestartDatabase,
    LockTable(usize),
    Webhook {
        grant: usize,
        behaviour: Behaviour,
    },
    AddGrant {
        number: usize,
        way: &'static str,
    },
    EndGrant(SuspendOrRemove),
    AddPartitions,
    /// The wall clock is so many seconds off, and right again when it is over.
    SetClock {
        who: &'static str,
        seconds: i64,
    },
}

/// The kinds that take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Kill,
    Freeze,
    Restart,
    KillBroker,
    FreezeBroker,
    RestartBroker,
    KillAllBrokers,
    FillDisk,
    ToBrokers,
    BetweenBrokers,
    ToControllers,
    Way,
    KillDatabase,
    RestartDatabase,
    LockTable,
    Webhook,
    AddGrant,
    EndGrant,
    AddPartitions,
    SetClock,
}

/// One round: what is cheap and likely comes more than once.
const DECK: [Kind; 29] = [
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Kill,
    Kind::Freeze,
    Kind::Freeze,
    Kind::Freeze,
    Kind::Restart,
    Kind::Restart,
    Kind::KillBroker,
    Kind::FreezeBroker,
    Kind::RestartBroker,
    Kind::KillAllBrokers,
    Kind::FillDisk,
    Kind::ToBrokers,
    Kind::ToBrokers,
    Kind::ToBrokers,
    Kind::BetweenBrokers,
    Kind::ToControllers,
    Kind::Way,
    Kind::Way,
    Kind::KillDatabase,
    Kind::RestartDatabase,
    Kind::LockTable,
    Kind::Webhook,
    Kind::AddGrant,
    Kind::EndGrant,
    Kind::AddPartitions,
    Kind::SetClock,
];

/// Faults of brokers follow each other with this between them, so that the cluster has a majority again.
const BROKER_REST: Duration = Duration::from_secs(12);
/// Nothing happens before, so that every kind of traffic has begun.
const CALM: Duration = Duration::from_secs(5);

/// Every fault of a run of this length, in order of time, each over before the end. Of these kinds; of all where none is
/// named.
pub fn plan(seed: u64, length: Duration, only: &[Kind]) -> Vec<Fault> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut faults = Vec::new();
    let (mut at, mut brokers_free) = (CALM, CALM);
    let mut deck = Vec::new();
    let mut grants = 0;
    while at < length {
        if deck.is_empty() {
            deck = DECK.to_vec();
            deck.retain(|kind| only.is_empty() || only.contains(kind));
            random.shuffle(&mut deck);
        }
        let Some(kind) = deck.pop() else { break };
        let (act, lasts) = draw(&mut random, kind, &mut grants);
        let mut begins = at;
        if act.concerns_brokers() {
            begins = begins.max(brokers_free);
            brokers_free = begins + lasts + BROKER_REST;
        }
        if begins + lasts < length {
            faults.push(Fault { at: begins, lasts, act });
        }
        at += Duration::from_millis(random.u64(1_500..5_500));
    }
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn draw(random: &mut fastrand::Rng, kind: Kind, grants: &mut usize) -> (Act, Duration) {
    let instance = INSTANCES[random.usize(0..INSTANCES.len())];
    let broker = random.usize(0..BROKERS);
    match kind {
        Kind::Kill => (Act::Kill(instance), seconds_of(random, 0, 4)),
        // Longer than a session (6 s), a transaction (10 s), or both.
        Kind::Freeze => (Act::Freeze(instance), seconds_of(random, 3, 22)),
        Kind::Restart => (Act::Restart(instance), Duration::ZERO),
        Kind::KillBroker => (Act::KillBroker(broker), seconds_of(random, 0, 6)),
        Kind::FreezeBroker => (Act::FreezeBroker(broker), seconds_of(random, 4, 20)),
        Kind::RestartBroker => (Act::RestartBroker(broker), Duration::ZERO),
        Kind::KillAllBrokers => (Act::KillAllBrokers, seconds_of(random, 0, 3)),
        Kind::FillDisk => (Act::FillDisk, seconds_of(random, 5, 10)),
        Kind::ToBrokers => {
            let broker = (random.u8(0..2) == 0).then_some(broker);
            (Act::ToBrokers { who: instance, broker, condition: condition(random) }, seconds_of(random, 2, 16))
        }
        Kind::BetweenBrokers => {
            let condition = condition(random);
            let broker = Some(broker);
            (Act::ToBrokers { who: BETWEEN_BROKERS, broker, condition }, seconds_of(random, 2, 12))
        }
        // All of them: nobody decides who leads, and brokers may lose their registrations (9 s).
        Kind::ToControllers => {
            let broker = (random.u8(0..3) > 0).then_some(broker);
            let condition = condition(random);
            (Act::ToBrokers { who: TO_CONTROLLERS, broker, condition }, seconds_of(random, 2, 14))
        }
        Kind::Way => {
            let way = WAYS[random.usize(0..WAYS.len())];
            (Act::Way { way, condition: condition(random) }, seconds_of(random, 2, 12))
        }
        Kind::KillDatabase => (Act::KillDatabase, seconds_of(random, 0, 5)),
        Kind::RestartDatabase => (Act::RestartDatabase, seconds_of(random, 0, 3)),
        Kind::LockTable => (Act::LockTable(random.usize(0..100)), seconds_of(random, 3, 15)),
        Kind::Webhook => {
            let behaviour = match random.u8(0..7) {
                0 => Behaviour::Slow(seconds_of(random, 1, 7)),
                1 => Behaviour::Hang,
                2 => Behaviour::Refuse(500),
                3 => Behaviour::Refuse(410),
                4 => Behaviour::Refuse(302),
                5 => Behaviour::Garbage(100),
                _ => Behaviour::Garbage(100_000_000),
            };
            if random.u8(0..8) == 0 {
                return (Act::Way { way: WEBHOOKS, condition: Condition::Cut }, seconds_of(random, 2, 8));
            }
            (Act::Webhook { grant: random.usize(0..100), behaviour }, seconds_of(random, 4, 12))
        }
        Kind::AddGrant => {
            *grants += 1;
            let way = catalogue::WAYS[(*grants + random.usize(0..2)) % catalogue::WAYS.len()];
            (Act::AddGrant { number: *grants - 1, way }, Duration::ZERO)
        }
        Kind::EndGrant => {
            let how = if random.bool() { SuspendOrRemove::Suspend } else { SuspendOrRemove::Remove };
            (Act::EndGrant(how), Duration::ZERO)
        }
        Kind::AddPartitions => (Act::AddPartitions, Duration::ZERO),
        Kind::SetClock => {
            // More than an hour ahead, and brokers refuse what it writes; the days on which grants are served stay.
            let ahead = random.i64(60..5_400);
            // What the router writes carries its time, by which we judge whether it came after a grant's end.
            let is_behind = instance.starts_with("router") || random.bool();
            let seconds = if is_behind { -ahead } else { ahead };
            (Act::SetClock { who: instance, seconds }, seconds_of(random, 4, 15))
        }
    }
}

fn seconds_of(random: &mut fastrand::Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.u64(from * 1_000..=to * 1_000))
}

fn condition(random: &mut fastrand::Rng) -> Condition {
    match random.u8(0..5) {
        0 => Condition::Latency(Duration::from_millis(random.u64(20..800))),
        1 => Condition::Cut,
        2 => Condition::BlackHole,
        3 => Condition::HalfOpen,
        _ => Condition::Trickle(random.u32(200..4_000)),
    }
}

impl Act {
    /// Brokers are hurt one after the other.
    pub fn concerns_brokers(&self) -> bool {
        match self {
            Self::KillBroker(_) | Self::FreezeBroker(_) | Self::RestartBroker(_) => true,
            Self::KillAllBrokers | Self::FillDisk => true,
            Self::ToBrokers { who, .. } => [BETWEEN_BROKERS, TO_CONTROLLERS].contains(who),
            Self::Kill(_) | Self::Freeze(_) | Self::Restart(_) | Self::Way { .. } => false,
            Self::KillDatabase | Self::RestartDatabase | Self::LockTable(_) | Self::Webhook { .. } => false,
            Self::AddGrant { .. } | Self::EndGrant(_) | Self::AddPartitions | Self::SetClock { .. } => false,
        }
    }

    /// What stands in the report.
    pub fn kind(&self) -> String {
        let role = |id: &str| id.split('-').next().unwrap_or_default().to_owned();
        match self {
            Self::Kill(id) => format!("kill -9 {}", role(id)),
            Self::Freeze(id) => format!("SIGSTOP {}", role(id)),
            Self::Restart(id) => format!("restart {}", role(id)),
            Self::KillBroker(_) => "kill -9 broker".to_owned(),
            Self::FreezeBroker(_) => "SIGSTOP broker".to_owned(),
            Self::RestartBroker(_) => "restart broker".to_owned(),
            Self::KillAllBrokers => "kill -9 all brokers".to_owned(),
            Self::FillDisk => "broker's disk full".to_owned(),
            Self::ToBrokers { who: BETWEEN_BROKERS, condition, .. } => format!("brokers {}", word(condition)),
            Self::ToBrokers { who: TO_CONTROLLERS, condition, .. } => format!("controllers {}", word(condition)),
            Self::ToBrokers { condition, .. } => format!("role-broker {}", word(condition)),
            Self::Way { way, condition } => format!("{way} {}", word(condition)),
            Self::KillDatabase => "kill -9 database".to_owned(),
            Self::RestartDatabase => "restart database".to_owned(),
            Self::LockTable(_) => "table locked".to_owned(),
            Self::Webhook { behaviour, .. } => format!("webhook {}", manner(behaviour)),
            Self::AddGrant { .. } => "grant added".to_owned(),
            Self::EndGrant(_) => "grant ended".to_owned(),
            Self::AddPartitions => "partitions added".to_owned(),
            Self::SetClock { who, seconds } if *seconds < 0 => format!("clock back {}", role(who)),
            Self::SetClock { who, .. } => format!("clock ahead {}", role(who)),
        }
    }
}

fn word(condition: &Condition) -> &'static str {
    match condition {
        Condition::Open => "open",
        Condition::Latency(_) => "slow",
        Condition::Cut => "cut",
        Condition::BlackHole => "black hole",
        Condition::HalfOpen => "half open",
        Condition::Trickle(_) => "trickle",
    }
}

fn manner(behaviour: &Behaviour) -> String {
    match behaviour {
        Behaviour::Good => "good".to_owned(),
        Behaviour::Slow(_) => "slow".to_owned(),
        Behaviour::Hang => "hangs".to_owned(),
        Behaviour::Refuse(status) => format!("answers {status}"),
        Behaviour::Garbage(bytes) if *bytes > 1_000_000 => "answers 100 MB".to_owned(),
        Behaviour::Garbage(_) => "answers garbage".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_plan() {
        let length = Duration::from_secs(300);
        let one = plan(7, length, &[]);
        assert_eq!(one, plan(7, length, &[]));
        assert_ne!(one, plan(8, length, &[]));
        assert!(one.len() > 60, "{}", one.len());
        assert!(one.iter().all(|fault| fault.at + fault.lasts < length));
    }

    #[test]
    fn of_some_kinds_nothing_else_comes() {
        let some = plan(7, Duration::from_secs(300), &[Kind::Freeze, Kind::Kill]);
        let is_one = |fault: &Fault| matches!(fault.act, Act::Freeze(_) | Act::Kill(_));
        assert!(some.len() > 60 && some.iter().all(is_one), "{some:?}");
    }

    #[test]
    fn brokers_are_hurt_one_after_the_other() {
        let faults = plan(11, Duration::from_secs(3_600), &[]);
        let brokers: Vec<&Fault> = faults.iter().filter(|fault| fault.act.concerns_brokers()).collect();
        assert!(brokers.len() > 50);
        assert!(brokers.windows(2).all(|pair| pair[0].at + pair[0].lasts + BROKER_REST <= pair[1].at));
    }
}
