//! Why a broker could not be reached: refused, not trusted, not authenticated. A call that meets it only says that it could
//! not; the reason stands in the lines that wait in the client's own queue, which rdkafka's admin client never reads.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use rdkafka::admin::AdminClient;
use rdkafka::bindings as rd;

use crate::Error;
use crate::client::Plain;

/// The error of a call, with the last reason that the client reported, where it reported one.
pub(crate) fn explain(client: &AdminClient<Plain>, error: Error) -> Error {
    match last_failure(client) {
        Some(reason) => Error::Unreachable { error: Box::new(error), reason },
        None => error,
    }
}

fn last_failure(client: &AdminClient<Plain>) -> Option<String> {
    let mut found = None;
    // SAFETY: the client lives through this function. The queue is a counted reference, given back below. Each event is ours
    // and freed once; the texts belong to the event and are copied before.
    unsafe {
        let queue = rd::rd_kafka_queue_get_main(client.inner().native_ptr());
        loop {
            let event = rd::rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            let (mut facility, mut line): (*const c_char, *const c_char) = (ptr::null(), ptr::null());
            let mut level: c_int = 0;
            // Not zero for events that are no line.
            if rd::rd_kafka_event_log(event, &mut facility, &mut line, &mut level) == 0
                && !facility.is_null()
                && !line.is_null()
                && CStr::from_ptr(facility).to_bytes() == b"FAIL"
            {
                found = Some(shown(&CStr::from_ptr(line).to_string_lossy()));
            }
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_queue_destroy(queue);
    }
    found
}

/// Without the thread's name in front: `[thrd:…]: broker: reason`.
fn shown(line: &str) -> String {
    line.split_once("]: ").map_or(line, |(_, rest)| rest).trim().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_thread_is_no_part_of_the_reason() {
        let line = "[thrd:localhost:9/bootstrap]: localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused";
        let reason = "localhost:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused";
        assert_eq!(super::shown(line), reason);
        assert_eq!(super::shown("plain"), "plain");
    }
}
