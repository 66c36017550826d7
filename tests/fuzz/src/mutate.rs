//! Changes to an input. An input is made of parts, separated by the byte 0x1e (ASCII "record separator"): how many it has,
//! its target knows. Most changes fall into the last part, which is what an attacker sends; the others are the setting.

use fastrand::Rng;

pub const SEPARATOR: u8 = 0x1e;
/// Inputs grow no further than this, but for [`blow_up`].
const USUAL_BYTES: usize = 4 * 1024;
const BLOWN_UP_BYTES: usize = 128 * 1024;

/// The first `count - 1` separators divide; the last part has the rest, whatever it holds.
pub fn parts<const COUNT: usize>(input: &[u8]) -> [&[u8]; COUNT] {
    let mut parts = [&input[..0]; COUNT];
    for (part, bytes) in parts.iter_mut().zip(input.splitn(COUNT, |byte| *byte == SEPARATOR)) {
        *part = bytes;
    }
    parts
}

pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(&SEPARATOR)
}

/// Numbers at which readers go wrong.
const NUMBERS: [i64; 22] = [
    0,
    1,
    -1,
    2,
    -2,
    63,
    64,
    -64,
    -65,
    127,
    128,
    255,
    256,
    8191,
    8192,
    65_535,
    65_536,
    i32::MAX as i64,
    i32::MIN as i64,
    1 << 40,
    i64::MAX,
    i64::MIN,
];
const BYTES: [u8; 12] = [0, 1, 2, 0x7f, 0x80, 0xff, b'\n', b'\r', b'"', b'\'', b' ', 0xc3];

/// What mutations draw from.
#[derive(Debug)]
pub struct Source<'a> {
    pub pool: &'a [Vec<u8>],
    pub dictionary: &'a [&'a str],
    /// How many parts an input of the target has.
    pub parts: usize,
}

/// One to eight changes, few more often than many.
pub fn mutate(input: &mut Vec<u8>, source: &Source<'_>, rng: &mut Rng) {
    if source.parts > 1 && rng.u8(..8) == 0 {
        swap_part(input, source, rng);
    }
    let begin = part_to_change(input, source.parts, rng);
    let mut part = input.split_off(begin.start);
    let rest = part.split_off(begin.end - begin.start);
    if rng.u16(..2048) == 0 {
        blow_up(&mut part, rng);
    } else {
        for _ in 0..1 + rng.u32(..).trailing_zeros().min(7) {
            change(&mut part, source, rng);
        }
        part.truncate(USUAL_BYTES);
    }
    input.append(&mut part);
    input.extend_from_slice(&rest);
}

fn part_to_change(input: &[u8], count: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let mut begins = vec![0];
    begins
        .extend(input.iter().enumerate().filter(|(_, byte)| **byte == SEPARATOR).map(|(at, _)| at + 1).take(count - 1));
    let chosen = if rng.u8(..10) < 8 { begins.len() - 1 } else { rng.usize(..begins.len()) };
    let end = begins.get(chosen + 1).map_or(input.len(), |next| next - 1);
    begins[chosen]..end
}

/// A part of another input in the place of ours.
fn swap_part(input: &mut Vec<u8>, source: &Source<'_>, rng: &mut Rng) {
    let Some(other) = rng.choice(source.pool) else { return };
    let split = |bytes: &[u8]| -> Vec<Vec<u8>> {
        bytes.splitn(source.parts, |byte| *byte == SEPARATOR).map(<[u8]>::to_vec).collect()
    };
    let (mut ours, theirs) = (split(input), split(other));
    let at = rng.usize(..ours.len().min(theirs.len()));
    ours[at].clone_from(&theirs[at]);
    *input = ours.join(&SEPARATOR);
}

fn change(bytes: &mut Vec<u8>, source: &Source<'_>, rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    let range = at..(at + span(rng)).min(bytes.len());
    match rng.u8(..16) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        2 | 3 if at < bytes.len() => bytes[at] = byte(rng),
        4 => bytes.insert(at, byte(rng)),
        5 => drop(bytes.drain(range)),
        6 => bytes.truncate(at),
        7 => {
            let again = bytes[range].to_vec();
            bytes.splice(at..at, again);
        }
        8 => {
            let number = varint(rng);
            let end = at + if rng.bool() { number.len().min(bytes.len() - at) } else { 0 };
            bytes.splice(at..end, number);
        }
        9 => replace_digits(bytes, rng),
        10 => {
            for _ in 0..1 + rng.usize(..4) {
                bytes.push(byte(rng));
            }
        }
        11 => {
            if let Some(other) = rng.choice(source.pool) {
                let from = rng.usize(..=other.len());
                let until = (from + 4 * span(rng)).min(other.len());
                bytes.splice(range, other[from..until].iter().copied());
            }
        }
        12 => {
            let to = rng.usize(..=bytes.len());
            let moved: Vec<u8> = bytes.drain(range).collect();
            let to = to.min(bytes.len());
            bytes.splice(to..to, moved);
        }
        _ => {
            if let Some(word) = rng.choice(source.dictionary) {
                let end = if rng.bool() { range.end } else { at };
                bytes.splice(at..end, word.bytes());
            }
        }
    }
}

/// One piece many times: what is quadratic shows itself.
fn blow_up(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.usize(..=bytes.len());
    let piece = bytes[at..(at + span(rng)).min(bytes.len())].to_vec();
    if piece.is_empty() {
        return;
    }
    let times = BLOWN_UP_BYTES / piece.len();
    bytes.splice(at..at, piece.repeat(1 + rng.usize(..times)));
}

fn span(rng: &mut Rng) -> usize {
    let bits = rng.u8(0..7);
    1 + rng.usize(..1 << bits)
}

fn byte(rng: &mut Rng) -> u8 {
    if rng.bool() { BYTES[rng.usize(..BYTES.len())] } else { rng.u8(..) }
}

/// Avro's form of a number, sometimes longer than it needs to be.
fn varint(rng: &mut Rng) -> Vec<u8> {
    let number = NUMBERS[rng.usize(..NUMBERS.len())];
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    if rng.u8(..6) == 0 {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.extend(std::iter::repeat_n(0x80, rng.usize(..4)));
        bytes.push(0);
    }
    bytes
}

fn replace_digits(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let from = rng.usize(..=bytes.len());
    let Some(begin) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let length = bytes[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = match rng.u8(..4) {
        0 => "9".repeat(1 + rng.usize(..40)),
        1 => format!("{}e{}", rng.u8(..), NUMBERS[rng.usize(..NUMBERS.len())]),
        2 => format!("0.{}", rng.u64(..)),
        _ => NUMBERS[rng.usize(..NUMBERS.len())].to_string(),
    };
    bytes.splice(begin..begin + length, number.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_has_the_rest() {
        assert_eq!(parts::<2>(b"a\x1eb\x1ec"), [&b"a"[..], b"b\x1ec"]);
        assert_eq!(parts::<3>(b"a"), [&b"a"[..], b"", b""]);
        assert_eq!(join(&[b"a", b"b\x1ec"]), b"a\x1eb\x1ec");
    }

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let pool = vec![b"first\x1eone 12".to_vec(), b"second\x1etwo".to_vec()];
        let source = Source { pool: &pool, dictionary: &["word"], parts: 2 };
        let run = |seed: u64| {
            let mut rng = Rng::with_seed(seed);
            (0..200)
                .map(|_| {
                    let mut input = pool[0].clone();
                    mutate(&mut input, &source, &mut rng);
                    input
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let distinct: std::collections::HashSet<_> = run(7).into_iter().collect();
        assert!(distinct.len() > 150, "{}", distinct.len());
    }
}
