//! The ACLs of the cluster. rdkafka does not wrap librdkafka's calls for them, so this file does. Every object that
//! librdkafka gives is freed by the guard that holds it; what belongs to an event is copied before the event is freed.
#![allow(unsafe_code)]

mod binding;

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use freshet_catalog_model::access::Acl;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::bindings as rd;
use rdkafka::error::RDKafkaErrorCode;

use crate::admin::{TIMEOUT, admin_client};
use crate::client::Plain;
use crate::reason::explain;
use crate::{Connection, Error};
use binding::{Binding, Kind, read};

const ERROR_BYTES: usize = 512;

/// Who may do what: of all ACLs those that can be said as an [`Acl`]. None where the cluster has no authorizer.
pub fn describe(connection: &Connection) -> Result<Option<BTreeSet<Acl>>, Error> {
    let client = admin_client(connection)?;
    let filter = Binding::any()?;
    let request = Request::new(&client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEACLS)?;
    // SAFETY: client, filter, options and queue live until the answer was taken from the queue.
    unsafe {
        rd::rd_kafka_DescribeAcls(request.client, filter.0.as_ptr(), request.options.as_ptr(), request.queue.as_ptr());
    }
    let event = match request.answer() {
        Ok(event) => event,
        Err((rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_SECURITY_DISABLED, _)) => return Ok(None),
        Err((_, reason)) => return Err(explain(&client, failed("cannot be read", &reason))),
    };
    let mut acls = BTreeSet::new();
    let mut count = 0;
    // SAFETY: the event is a result of DescribeAcls; the array and what it points to live as long as the event.
    unsafe {
        let result = rd::rd_kafka_event_DescribeAcls_result(event.0.as_ptr());
        let found = rd::rd_kafka_DescribeAcls_result_acls(result, &mut count);
        for index in 0..count {
            acls.extend(read(*found.add(index)));
        }
    }
    // librdkafka 2.12.1 reads the answer's error and drops it: a cluster without an authorizer answers with an empty list.
    if acls.is_empty() && !has_authorizer(&client)? {
        return Ok(None);
    }
    Ok(Some(acls))
}

/// False where the brokers say that they have none. Where they do not tell (a managed cluster, or a right that is missing)
/// there is one.
fn has_authorizer(client: &AdminClient<Plain>) -> Result<bool, Error> {
    let metadata = client.inner().fetch_metadata(None, TIMEOUT).map_err(Error::kafka("list the brokers"))?;
    let Some(broker) = metadata.brokers().first() else { return Ok(true) };
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = block_on(client.describe_configs(&[ResourceSpecifier::Broker(broker.id())], &options))
        .map_err(Error::kafka("describe a broker"))?;
    let mut settings = described.iter().flatten().flat_map(|resource| &resource.entries);
    let class =
        settings.find(|setting| setting.name == "authorizer.class.name").and_then(|found| found.value.as_deref());
    Ok(class.is_none_or(|class| !class.is_empty()))
}

/// Allows all of these. One that is there already is no error.
pub fn create(connection: &Connection, acls: &[Acl]) -> Result<(), Error> {
    if acls.is_empty() {
        return Ok(());
    }
    let client = admin_client(connection)?;
    let bindings = acls.iter().map(|acl| Binding::of(acl, Kind::New)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = bindings.iter().map(|binding| binding.0.as_ptr()).collect();
    let request = Request::new(&client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEACLS)?;
    // SAFETY: as in `describe`; librdkafka copies the bindings.
    unsafe {
        let (list, count) = (pointers.as_mut_ptr(), pointers.len());
        rd::rd_kafka_CreateAcls(request.client, list, count, request.options.as_ptr(), request.queue.as_ptr());
    }
    let event = request.answer().map_err(|(_, reason)| failed("cannot be set", &reason))?;
    let mut count = 0;
    // SAFETY: the event is a result of CreateAcls, with one entry a binding, and outlives the loop.
    unsafe {
        let result = rd::rd_kafka_event_CreateAcls_result(event.0.as_ptr());
        let results = rd::rd_kafka_CreateAcls_result_acls(result, &mut count);
        for index in 0..count {
            check(rd::rd_kafka_acl_result_error(*results.add(index)), "cannot be set")?;
        }
    }
    Ok(())
}

/// Takes these away. One that is not there is no error.
pub fn delete(connection: &Connection, acls: &[Acl]) -> Result<(), Error> {
    if acls.is_empty() {
        return Ok(());
    }
    let client = admin_client(connection)?;
    let filters = acls.iter().map(|acl| Binding::of(acl, Kind::Filter)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = filters.iter().map(|filter| filter.0.as_ptr()).collect();
    let request = Request::new(&client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEACLS)?;
    // SAFETY: as in `create`.
    unsafe {
        let (list, count) = (pointers.as_mut_ptr(), pointers.len());
        rd::rd_kafka_DeleteAcls(request.client, list, count, request.options.as_ptr(), request.queue.as_ptr());
    }
    let event = request.answer().map_err(|(_, reason)| failed("cannot be taken away", &reason))?;
    let mut count = 0;
    // SAFETY: the event is a result of DeleteAcls, with one response a filter, and outlives the loop.
    unsafe {
        let result = rd::rd_kafka_event_DeleteAcls_result(event.0.as_ptr());
        let responses = rd::rd_kafka_DeleteAcls_result_responses(result, &mut count);
        for index in 0..count {
            check(rd::rd_kafka_DeleteAcls_result_response_error(*responses.add(index)), "cannot be taken away")?;
        }
    }
    Ok(())
}

fn failed(what: &str, reason: &str) -> Error {
    Error::Acl { reason: format!("{what}: {reason}; whoever does this needs Alter on the cluster") }
}

/// # Safety
/// `error` is null or lives.
unsafe fn check(error: *const rd::rd_kafka_error_t, what: &str) -> Result<(), Error> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null, and lives.
    let reason = unsafe { text(rd::rd_kafka_error_string(error)) };
    Err(failed(what, &reason))
}

/// # Safety
/// `pointer` is null or a string of C.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and ends with a zero byte.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// One request and the queue that its answer comes to.
struct Request<'a> {
    client: *mut rd::rd_kafka_t,
    options: NonNull<rd::rd_kafka_AdminOptions_t>,
    queue: NonNull<rd::rd_kafka_queue_t>,
    _owner: &'a AdminClient<Plain>,
}

impl<'a> Request<'a> {
    fn new(owner: &'a AdminClient<Plain>, operation: rd::rd_kafka_admin_op_t) -> Result<Self, Error> {
        let client = owner.inner().native_ptr();
        let none = || failed("cannot be asked", "librdkafka gives no request");
        // SAFETY: the client lives as long as `owner`.
        let queue = NonNull::new(unsafe { rd::rd_kafka_queue_new(client) }).ok_or_else(none)?;
        // SAFETY: the same.
        let Some(options) = NonNull::new(unsafe { rd::rd_kafka_AdminOptions_new(client, operation) }) else {
            // SAFETY: nothing uses it.
            unsafe { rd::rd_kafka_queue_destroy(queue.as_ptr()) };
            return Err(none());
        };
        let request = Self { client, options, queue, _owner: owner };
        let mut message: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        // SAFETY: the options live; `message` has the size that is said. A refused time-out leaves the default.
        unsafe {
            let limit = i32::try_from(TIMEOUT.as_millis()).unwrap_or(i32::MAX);
            rd::rd_kafka_AdminOptions_set_request_timeout(options.as_ptr(), limit, message.as_mut_ptr(), message.len());
        }
        Ok(request)
    }

    /// librdkafka answers within the request's own limit; ours is the longer.
    fn answer(&self) -> Result<Event, (rd::rd_kafka_resp_err_t, String)> {
        let limit = i32::try_from(2 * TIMEOUT.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue lives; the event is ours.
        let event = NonNull::new(unsafe { rd::rd_kafka_queue_poll(self.queue.as_ptr(), limit) }).map(Event);
        let Some(event) = event else {
            return Err((rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT, "no answer".to_owned()));
        };
        // SAFETY: the event lives, and its text as long.
        let (code, reason) = unsafe {
            let event = event.0.as_ptr();
            (rd::rd_kafka_event_error(event), text(rd::rd_kafka_event_error_string(event)))
        };
        if code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(event);
        }
        Err((code, format!("{reason} ({:?})", RDKafkaErrorCode::from(code))))
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        // SAFETY: made by librdkafka, freed once; the client still lives.
        unsafe {
            rd::rd_kafka_AdminOptions_destroy(self.options.as_ptr());
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

struct Event(NonNull<rd::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: given by librdkafka, freed once.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}
