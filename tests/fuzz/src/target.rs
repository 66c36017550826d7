//! What is fuzzed.

use std::hash::Hash;

use fastrand::Rng;
use xxhash_rust::xxh3::Xxh3Default;

use crate::guard::Guard;

/// One way in for bytes from outside, with its oracle.
pub trait Target {
    /// An input that is good in all its parts, to be broken. None: the corpus has them.
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let _ = rng;
        None
    }

    /// Runs one input. The error is a defect, in a sentence.
    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String>;
}

/// A target by its name, before it is made.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// What it reads, in a few words.
    pub what: &'static str,
    /// Parts of a thousand of all inputs.
    pub share: u64,
    /// Parts of one of its inputs (`mutate`).
    pub parts: usize,
    /// Words that mean something to the reader.
    pub dictionary: &'static [&'static str],
    pub make: fn() -> Box<dyn Target>,
}

/// What an input brought about, as far as it tells it from others: which outcome, which error, roughly where. An input
/// that shows something new is kept and mutated further: a cheap substitute for coverage, on a stable toolchain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen(u64);

impl Seen {
    pub fn of(what: impl Hash) -> Self {
        let mut hasher = Xxh3Default::new();
        what.hash(&mut hasher);
        Self(std::hash::Hasher::finish(&hasher))
    }

    pub fn number(self) -> u64 {
        self.0
    }

    /// The kind of a message: its words without what it quotes, without numbers.
    pub fn kind_of(message: &str) -> String {
        let mut quoted = false;
        let mut kind = String::new();
        for sign in message.chars().take(160) {
            match sign {
                '"' | '\'' | '`' => quoted = !quoted,
                _ if quoted || sign.is_ascii_digit() || !sign.is_ascii() => {}
                _ => kind.push(sign),
            }
        }
        kind
    }
}

/// 0, 1, 2, 3–4, 5–8, …: a size as far as it matters to [`Seen`].
pub fn size_class(size: usize) -> u32 {
    usize::BITS - size.saturating_sub(1).leading_zeros()
}
