//! The ACLs of the cluster. rdkafka does not wrap librdkafka's calls for them, so this file does.
#![allow(unsafe_code)]

mod binding;

use std::collections::BTreeSet;

use freshet_catalog_model::access::Acl;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::bindings as rd;
use rdkafka::error::RDKafkaErrorCode;

use crate::admin::admin_client;
use crate::calls::TIMEOUT;
use crate::client::Plain;
use crate::reason::explain;
use crate::request::{Refused, Request, list, text};
use crate::{Connection, Error};
use binding::{Binding, Kind, read};

/// Who may do what: of all ACLs those that can be said as an [`Acl`]. None where the cluster has no authorizer.
pub fn describe(connection: &Connection) -> Result<Option<BTreeSet<Acl>>, Error> {
    let client = admin_client(connection)?;
    let filter = Binding::any()?;
    let request = Request::new(client.inner(), rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEACLS, TIMEOUT);
    let answer = request.ask(|client, options, queue| {
        // SAFETY: client, filter, options and queue live until the answer was taken from the queue.
        unsafe { rd::rd_kafka_DescribeAcls(client, filter.0.as_ptr(), options, queue) };
    });
    let answer = match answer {
        Ok(answer) => answer,
        Err(Refused { code: RDKafkaErrorCode::SecurityDisabled, .. }) => return Ok(None),
        Err(refused) => return Err(explain(&client, failed("cannot be read", &refused.to_string()))),
    };
    let mut acls = BTreeSet::new();
    let mut count = 0;
    // SAFETY: the event is a result of DescribeAcls; the array and what it points to live as long as the event.
    unsafe {
        let result = rd::rd_kafka_event_DescribeAcls_result(answer.event());
        let found = rd::rd_kafka_DescribeAcls_result_acls(result, &raw mut count);
        for &acl in list(found, count) {
            acls.extend(read(acl));
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
    let request = Request::new(client.inner(), rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEACLS, TIMEOUT);
    let answer = request.ask(|client, options, queue| {
        // SAFETY: as in `describe`; librdkafka copies the bindings.
        unsafe { rd::rd_kafka_CreateAcls(client, pointers.as_mut_ptr(), pointers.len(), options, queue) };
    });
    let answer = answer.map_err(|refused| failed("cannot be set", &refused.to_string()))?;
    let mut count = 0;
    // SAFETY: the event is a result of CreateAcls, with one entry a binding, and outlives the loop.
    unsafe {
        let result = rd::rd_kafka_event_CreateAcls_result(answer.event());
        let results = rd::rd_kafka_CreateAcls_result_acls(result, &raw mut count);
        for &result in list(results, count) {
            check(rd::rd_kafka_acl_result_error(result), "cannot be set")?;
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
    let request = Request::new(client.inner(), rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEACLS, TIMEOUT);
    let answer = request.ask(|client, options, queue| {
        // SAFETY: as in `create`.
        unsafe { rd::rd_kafka_DeleteAcls(client, pointers.as_mut_ptr(), pointers.len(), options, queue) };
    });
    let answer = answer.map_err(|refused| failed("cannot be taken away", &refused.to_string()))?;
    let mut count = 0;
    // SAFETY: the event is a result of DeleteAcls, with one response a filter, and outlives the loop.
    unsafe {
        let result = rd::rd_kafka_event_DeleteAcls_result(answer.event());
        let responses = rd::rd_kafka_DeleteAcls_result_responses(result, &raw mut count);
        for &response in list(responses, count) {
            check(rd::rd_kafka_DeleteAcls_result_response_error(response), "cannot be taken away")?;
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
