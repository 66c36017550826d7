//! Bounds what one answer of a broker may become in memory. A department that may write to a topic chooses how its batches
//! are compressed; the broker bounds a batch as it was sent, and librdkafka decompresses all of an answer before it hands
//! out its first record: lz4 makes 255 of one byte, gzip 1032, zstd more, and each record costs some 300 bytes more
//! whatever is in it. One department could so take the memory of the service that reads for all of them.
//!
//! librdkafka has no setting for it, so its functions that decompress are called through those here: the linker replaces
//! them (`--wrap`, `.cargo/config.toml`). What does not fit into an answer any more is refused as a batch that cannot be
//! decompressed: its partition stays where it is and is fetched again, so that nothing is skipped
//! (`docs/decisions/0018-what-an-answer-may-become.md`).
//!
//! The names and signatures are librdkafka's own and not part of its interface, so they are tied to its version.
#![allow(unsafe_code)]

mod budget;
pub mod gzip;
pub mod lz4;
pub mod records;
mod refused;
#[cfg(target_os = "linux")]
mod replaced;
pub mod zstd;
