//! The Confluent wire format.

use freshet_avro::framing::{self, FramingError};

use crate::guard::Guard;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "framing",
    what: "the Confluent wire format",
    share: 150,
    parts: 1,
    dictionary: &["\u{0}\u{0}\u{0}\u{0}\u{1}", "\u{0}\u{7f}\u{7f}\u{7f}\u{7f}", "{\"a\":1}"],
    make: || Box::new(Framing),
};

#[derive(Debug)]
struct Framing;

impl Target for Framing {
    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let split = guard.ours("a framed value", 1024, || framing::split(input))?;
        // Written down from the format's documentation, byte by byte.
        let due = match (input.len(), input.first()) {
            (0..5, _) => Err(FramingError::TooShort { length: input.len() }),
            (_, Some(0)) => {
                let id = input[1..5].iter().fold(0_u64, |id, byte| id * 256 + u64::from(*byte));
                Ok((id as u32, &input[5..]))
            }
            (_, first) => Err(FramingError::NotMagic { first: first.copied().unwrap_or_default() }),
        };
        if split != due {
            return Err(format!("split as {split:?}, due {due:?}"));
        }
        if let Ok((id, datum)) = split {
            let mut written = Vec::new();
            framing::write(id, datum, &mut written);
            if written != input {
                return Err(format!("written again it is {written:?}"));
            }
        }
        Ok(Seen::of((split
            .map(|(id, datum)| (size_class(id as usize), size_class(datum.len())))
            .map_err(|error| error.to_string()),)))
    }
}
