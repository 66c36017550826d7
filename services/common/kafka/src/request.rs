//! A question to the cluster by those of librdkafka's admin calls that its Rust wrapper does not make. Every object that
//! librdkafka gives is freed by the guard that holds it; what belongs to an answer is copied before the answer is freed.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::client::Client;
use rdkafka::error::{IsError as _, RDKafkaErrorCode};

/// How much longer than the client's own limit an answer is waited for.
const GRACE_MS: i32 = 1_000;

/// A request and the queue that its answer comes to.
pub(crate) struct Request<'c> {
    client: *mut c::rd_kafka_t,
    options: NonNull<c::rd_kafka_AdminOptions_t>,
    queue: NonNull<c::rd_kafka_queue_t>,
    timeout_ms: i32,
    _client: PhantomData<&'c ()>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.reason, self.code)
    }
}

impl<'c> Request<'c> {
    pub(crate) fn new<C: ClientContext>(
        client: &'c Client<C>,
        operation: c::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Self {
        let client = client.native_ptr();
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX - GRACE_MS);
        // SAFETY: the client lives for `'c`.
        let made = unsafe { (c::rd_kafka_AdminOptions_new(client, operation), c::rd_kafka_queue_new(client)) };
        let (Some(options), Some(queue)) = (NonNull::new(made.0), NonNull::new(made.1)) else {
            unreachable!("librdkafka knows all its operations, and ends the process where memory is out")
        };
        // SAFETY: the options live. A limit that is refused, being out of range, leaves the client's own.
        unsafe { c::rd_kafka_AdminOptions_set_request_timeout(options.as_ptr(), timeout_ms, ptr::null_mut(), 0) };
        Self { client, options, queue, timeout_ms, _client: PhantomData }
    }

    /// Sends it by one of librdkafka's calls, which is given client, options and queue, and waits for the answer.
    pub(crate) fn ask(
        &self,
        send: impl FnOnce(*mut c::rd_kafka_t, *const c::rd_kafka_AdminOptions_t, *mut c::rd_kafka_queue_t),
    ) -> Result<Answer, Refused> {
        send(self.client, self.options.as_ptr(), self.queue.as_ptr());
        // SAFETY: the queue lives, and the event is ours. An answer to a queue without owner, which comes later, is thrown away
        // by the client.
        let event = unsafe { c::rd_kafka_queue_poll(self.queue.as_ptr(), self.timeout_ms.saturating_add(GRACE_MS)) };
        let Some(answer) = NonNull::new(event).map(Answer) else {
            return Err(Refused { code: RDKafkaErrorCode::OperationTimedOut, reason: "no answer".to_owned() });
        };
        // SAFETY: the event lives, and its text as long.
        unsafe {
            let code = c::rd_kafka_event_error(answer.event());
            if code.is_error() {
                return Err(Refused {
                    code: code.into(),
                    reason: text(c::rd_kafka_event_error_string(answer.event())),
                });
            }
        }
        Ok(answer)
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        // SAFETY: made by librdkafka, freed once; the client still lives.
        unsafe {
            c::rd_kafka_AdminOptions_destroy(self.options.as_ptr());
            c::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// The answer, which is ours until it is dropped. What it hands out lives as long.
pub(crate) struct Answer(NonNull<c::rd_kafka_event_t>);

impl Answer {
    pub(crate) fn event(&self) -> *mut c::rd_kafka_event_t {
        self.0.as_ptr()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: given by librdkafka, freed once.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

/// # Safety
/// `pointer` is null or a string of C.
pub(crate) unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and ends with a zero byte.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// # Safety
/// The pointer is null, or one to so many elements that live, unchanged, for `'l`.
pub(crate) unsafe fn list<'l, T>(first: *const T, count: usize) -> &'l [T] {
    // SAFETY: by this function's own contract.
    if first.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}
