//! What librdkafka calls instead of its own. Each has the signature of the function that it stands for, whose name it has
//! behind `__wrap_`; the linker calls the original `__real_`.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::slice;

use rdkafka::bindings as c;

use crate::{budget, gzip, lz4, refused, zstd};

/// Of another version read `rdgz.h`, `rdkafka_lz4.h`, `rdkafka_zstd.h`, `rdkafka_op.h`, where they are called from, and what
/// the callers do with an error, before this number changes.
const _: () = assert!(c::RD_KAFKA_VERSION == 0x020c_01ff, "librdkafka 2.12.1 was read");

type Error = c::rd_kafka_resp_err_t;
const REFUSED: Error = Error::RD_KAFKA_RESP_ERR__BAD_COMPRESSION;
const DONE: Error = Error::RD_KAFKA_RESP_ERR_NO_ERROR;

unsafe extern "C" {
    fn __real_rd_kafka_lz4_decompress(
        broker: *mut c_void,
        proper_checksum: c_int,
        offset: i64,
        compressed: *mut c_char,
        compressed_bytes: usize,
        batch: *mut *mut c_void,
        batch_bytes: *mut usize,
    ) -> Error;

    fn __real_rd_kafka_op_throttle_time(broker: *mut c_void, queue: *mut c_void, throttle_ms: c_int);
}

/// Called on a broker's thread at the beginning of every answer to a fetch, before its batches are read.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rd_kafka_op_throttle_time(broker: *mut c_void, queue: *mut c_void, throttle_ms: c_int) {
    budget::begin();
    // SAFETY: as the caller gave them.
    unsafe { __real_rd_kafka_op_throttle_time(broker, queue, throttle_ms) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rd_kafka_lz4_decompress(
    broker: *mut c_void,
    proper_checksum: c_int,
    offset: i64,
    compressed: *mut c_char,
    compressed_bytes: usize,
    batch: *mut *mut c_void,
    batch_bytes: *mut usize,
) -> Error {
    // SAFETY: the caller gives what it read from the socket, and nobody else has it.
    let frame = unsafe { slice::from_raw_parts(compressed.cast_const().cast::<u8>(), compressed_bytes) };
    let fits = |bytes: &usize| *bytes <= budget::room(compressed_bytes);
    let becomes = if refused::knows(frame) { None } else { lz4::decompressed_bytes(frame).filter(fits) };
    if becomes.is_none() {
        // SAFETY: the caller's.
        unsafe { *batch = ptr::null_mut() };
        return REFUSED;
    }
    // SAFETY: as the caller gave them.
    let error = unsafe {
        __real_rd_kafka_lz4_decompress(
            broker,
            proper_checksum,
            offset,
            compressed,
            compressed_bytes,
            batch,
            batch_bytes,
        )
    };
    // SAFETY: as above, and written where there was no error.
    unsafe {
        debug_assert!(error != DONE || becomes == Some(*batch_bytes), "librdkafka makes another length of {becomes:?}");
        spent(error, frame, batch, batch_bytes)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rd_kafka_zstd_decompress(
    _broker: *mut c_void,
    compressed: *mut c_char,
    compressed_bytes: usize,
    batch: *mut *mut c_void,
    batch_bytes: *mut usize,
) -> Error {
    // SAFETY: the caller gives what it read from the socket, and room for the two that it is told.
    unsafe {
        let compressed = slice::from_raw_parts(compressed.cast_const().cast::<u8>(), compressed_bytes);
        let (block, bytes) = handed_over(budget::within(compressed, zstd::decompressed));
        (*batch, *batch_bytes) = (block, bytes);
        if block.is_null() { REFUSED } else { DONE }
    }
}

/// `batch_bytes` is only written: the caller knows no length before.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rd_gz_decompress(
    compressed: *const c_void,
    compressed_bytes: c_int,
    batch_bytes: *mut u64,
) -> *mut c_void {
    let Ok(length) = usize::try_from(compressed_bytes) else { return ptr::null_mut() };
    // SAFETY: the caller gives what it read from the socket.
    let compressed = unsafe { slice::from_raw_parts(compressed.cast::<u8>(), length) };
    let (block, bytes) = handed_over(budget::within(compressed, gzip::inflated));
    // SAFETY: the caller's.
    unsafe { *batch_bytes = bytes as u64 };
    block
}

/// A batch as the client takes it over: a block that it frees by `free`, with a zero behind the last byte, and its length.
/// Null where it is refused.
fn handed_over(batch: Option<Vec<u8>>) -> (*mut c_void, usize) {
    let Some(batch) = batch else { return (ptr::null_mut(), 0) };
    // SAFETY: the block has room for all of it and the zero.
    unsafe {
        let block = libc::malloc(batch.len() + 1).cast::<u8>();
        if block.is_null() {
            return (ptr::null_mut(), 0);
        }
        ptr::copy_nonoverlapping(batch.as_ptr(), block, batch.len());
        *block.add(batch.len()) = 0;
        (block.cast(), batch.len())
    }
}

/// Takes what was decompressed from what is left, or frees it.
///
/// # Safety
/// The last two are the caller's of an original, which has just returned this error.
unsafe fn spent(error: Error, compressed: &[u8], batch: *mut *mut c_void, batch_bytes: *mut usize) -> Error {
    if error != DONE {
        return error;
    }
    // SAFETY: without an error the original wrote a block of so many bytes, which is ours until it is handed on.
    unsafe {
        if budget::spend(slice::from_raw_parts((*batch).cast::<u8>(), *batch_bytes), compressed.len()) {
            return DONE;
        }
        refused::note(compressed);
        libc::free(*batch);
        *batch = ptr::null_mut();
    }
    REFUSED
}

/// Keeps them in every binary: without `used`, a linker takes of a library only what something asks for, and may have
/// passed this one when librdkafka asks.
#[used]
static KEPT: Kept = Kept([
    __wrap_rd_gz_decompress as *const (),
    __wrap_rd_kafka_lz4_decompress as *const (),
    __wrap_rd_kafka_op_throttle_time as *const (),
    __wrap_rd_kafka_zstd_decompress as *const (),
]);

struct Kept(#[expect(dead_code, reason = "only the linker looks at it")] [*const (); 4]);

// SAFETY: the addresses are never read, and functions are the same for all threads.
unsafe impl Sync for Kept {}
