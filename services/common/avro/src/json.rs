//! Records as natural JSON: for HTTP, files and people. [`Transcoder`] makes Avro of a text that is plainly a good record;
//! [`encode`] takes the tree of any, and is the one that says what is wrong.
//!
//! | Avro | JSON |
//! |---|---|
//! | int, long | a number without fraction or exponent |
//! | float, double | a number; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | decimal | a text, `"350187.63"`, exact; a number is taken where it is exact (an integer, or at most 15 digits) |
//! | date; time of day | `"2024-02-29"`; `"23:59:59.5"` |
//! | timestamp | RFC 3339 with offset, written in UTC; no finer than the type's unit |
//! | local timestamp | `"2024-02-29T23:59:59"` |
//! | enum, string, uuid | a text |
//! | bytes, fixed, duration | base64 with padding |
//! | union | the value itself; of several branches that take it, the first |
//! | array; map, record | an array; an object |
//!
//! A field that is missing takes its default, or null where it is nullable first; a field that the schema lacks is a
//! violation. Source: our own choice; Avro's JSON encoding tags unions and writes dates as numbers, which no sender does.

mod decode;
mod encode;
mod scalar;
mod transcode;

pub use decode::{Natural, Nul, decode, field, record, widened};
pub use encode::encode;
pub use transcode::Transcoder;
