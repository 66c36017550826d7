//! A compressed batch of Kafka: a byte for the codec, and what a publisher sent.

use std::io::{Read as _, Write as _};

use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;
use freshet_decompression::{gzip, lz4, records, zstd};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use crate::guard::Guard;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "batch",
    what: "a compressed batch of Kafka",
    share: 60,
    parts: 1,
    dictionary: &["\u{4}\u{22}\u{4d}\u{18}", "\u{0}\u{0}\u{0}\u{0}", "\u{1f}\u{8b}\u{8}"],
    make: || Box::new(Batch),
};

/// What a batch may become here, in bytes.
const MOST: usize = 64 << 10;
/// What a reader keeps beside the batch.
const READER: usize = 64 << 10;

#[derive(Debug)]
struct Batch;

impl Target for Batch {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let codec = rng.u8(0..3);
        let mut input = vec![codec];
        input.extend(compressed(codec, &batch(rng), rng));
        Some(input)
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let Some((codec, sent)) = input.split_first() else { return Ok(Seen::of("nothing")) };
        if codec % 3 == 0 {
            return frame(sent, guard);
        }
        let read = guard.ours("a batch", 2 * MOST + READER, || match codec % 3 {
            1 => gzip::inflated(sent, MOST),
            _ => zstd::decompressed(sent, MOST),
        })?;
        let Some(read) = read else { return Ok(Seen::of((codec % 3, "refused"))) };
        if read.len() > MOST {
            return Err(format!("{} bytes were read where {MOST} are the most", read.len()));
        }
        let counted = guard.ours("counting records", 0, || records::count(&read, usize::MAX))?;
        let due = due_records(&read);
        if counted != due {
            return Err(format!("{counted} records are counted, due {due}"));
        }
        Ok(Seen::of((codec % 3, size_class(read.len()), size_class(counted))))
    }
}

/// An lz4 frame is not read, but its length is told. That a whole frame has one is a test of the crate: the library here takes also
/// one that breaks off.
fn frame(sent: &[u8], guard: &Guard) -> Result<Seen, String> {
    let told = guard.ours("the length of a frame", 0, || lz4::decompressed_bytes(sent))?;
    let mut rest = sent;
    let mut read = Vec::new();
    // More than so much is not needed to see that it is more than was told.
    let limit = told.unwrap_or(0).saturating_add(1).min(16 << 20);
    let ended = FrameDecoder::new(&mut rest).take(limit as u64).read_to_end(&mut read);
    let is_frame = ended.is_ok() && rest.is_empty();
    match told {
        Some(bytes) if read.len() > bytes => Err(format!("told {bytes} bytes, and it is more")),
        Some(bytes) if is_frame && bytes < limit && read.len() != bytes => {
            Err(format!("told {bytes} bytes, and it is {}", read.len()))
        }
        _ => Ok(Seen::of((told.map(size_class), ended.is_ok(), is_frame))),
    }
}

/// Kafka's record format, version 2: lengths as zigzag varints of 32 bits. What is none ends it, and counts once.
fn due_records(batch: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < batch.len() {
        count += 1;
        let mut length = 0_u64;
        let mut shift = 0;
        let mut is_whole = false;
        while let Some(byte) = batch.get(at).filter(|_| shift < 35) {
            length |= u64::from(byte & 127) << shift;
            (at, shift) = (at + 1, shift + 7);
            if byte & 128 == 0 {
                is_whole = true;
                break;
            }
        }
        let is_negative = length & 1 == 1;
        let bytes = usize::try_from(length >> 1).unwrap_or(usize::MAX);
        if !is_whole || is_negative || bytes > batch.len() - at {
            break;
        }
        at += bytes;
    }
    count
}

/// Records of a few lengths, most of them alike.
fn batch(rng: &mut Rng) -> Vec<u8> {
    let word: Vec<u8> = (0..rng.usize(1..60)).map(|_| rng.u8(..)).collect();
    let mut batch = Vec::new();
    for _ in 0..rng.usize(0..200) {
        let record = if rng.bool() { word.clone() } else { word.repeat(rng.usize(0..4)) };
        let zigzag = u32::try_from(record.len() * 2).unwrap_or(0);
        if zigzag >= 128 {
            batch.push((zigzag & 127) as u8 | 128);
            batch.push((zigzag >> 7) as u8);
        } else {
            batch.push(zigzag as u8);
        }
        batch.extend(record);
    }
    batch
}

fn compressed(codec: u8, batch: &[u8], rng: &mut Rng) -> Vec<u8> {
    match codec {
        0 => lz4_frame(batch, rng),
        1 => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(batch).and_then(|()| encoder.finish()).unwrap_or_default()
        }
        _ => {
            let mut compressed = Vec::with_capacity(zstd_safe::compress_bound(batch.len()));
            match zstd_safe::compress(&mut compressed, batch, 1) {
                Ok(_) => compressed,
                Err(_) => Vec::new(),
            }
        }
    }
}

fn lz4_frame(batch: &[u8], rng: &mut Rng) -> Vec<u8> {
    let info = FrameInfo::new()
        .block_mode(if rng.bool() { BlockMode::Linked } else { BlockMode::Independent })
        .block_size(if rng.bool() { BlockSize::Max64KB } else { BlockSize::Max4MB })
        .block_checksums(rng.bool())
        .content_checksum(rng.bool())
        .content_size(rng.bool().then_some(batch.len() as u64));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    for part in batch.chunks(rng.usize(100..5_000)) {
        // Into memory.
        let _ = encoder.write_all(part);
        if rng.bool() {
            let _ = encoder.flush();
        }
    }
    encoder.finish().unwrap_or_default()
}
