//! An [`Acl`] as librdkafka has it.

use std::ffi::{CString, c_char};
use std::ptr::{self, NonNull};

use freshet_catalog_model::access::{Acl, Operation, Resource};
use rd::rd_kafka_AclOperation_t as RdOperation;
use rd::rd_kafka_AclPermissionType_t as RdPermission;
use rd::rd_kafka_ResourcePatternType_t as RdPattern;
use rd::rd_kafka_ResourceType_t as RdType;
use rdkafka::bindings as rd;

use super::failed;
use crate::Error;
use crate::request::text;

const ERROR_BYTES: usize = 512;

/// The one resource of its type.
const CLUSTER: &str = "kafka-cluster";

const OPERATIONS: [(Operation, RdOperation); 6] = [
    (Operation::Read, RdOperation::RD_KAFKA_ACL_OPERATION_READ),
    (Operation::Write, RdOperation::RD_KAFKA_ACL_OPERATION_WRITE),
    (Operation::Create, RdOperation::RD_KAFKA_ACL_OPERATION_CREATE),
    (Operation::Alter, RdOperation::RD_KAFKA_ACL_OPERATION_ALTER),
    (Operation::Describe, RdOperation::RD_KAFKA_ACL_OPERATION_DESCRIBE),
    (Operation::AlterConfigs, RdOperation::RD_KAFKA_ACL_OPERATION_ALTER_CONFIGS),
];

fn parts(resource: &Resource) -> (RdType, &str, RdPattern) {
    use RdPattern::{RD_KAFKA_RESOURCE_PATTERN_LITERAL as LITERAL, RD_KAFKA_RESOURCE_PATTERN_PREFIXED as PREFIXED};
    match resource {
        Resource::Topic(name) => (RdType::RD_KAFKA_RESOURCE_TOPIC, name, LITERAL),
        Resource::TopicPrefix(prefix) => (RdType::RD_KAFKA_RESOURCE_TOPIC, prefix, PREFIXED),
        Resource::Group(name) => (RdType::RD_KAFKA_RESOURCE_GROUP, name, LITERAL),
        Resource::GroupPrefix(prefix) => (RdType::RD_KAFKA_RESOURCE_GROUP, prefix, PREFIXED),
        Resource::TransactionalId(id) => (RdType::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, id, LITERAL),
        Resource::TransactionalIdPrefix(prefix) => (RdType::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, prefix, PREFIXED),
        // librdkafka's name for the type that the protocol calls CLUSTER.
        Resource::Cluster => (RdType::RD_KAFKA_RESOURCE_BROKER, CLUSTER, LITERAL),
    }
}

fn resource(kind: RdType, name: String, pattern: RdPattern) -> Option<Resource> {
    let is_literal = pattern == RdPattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL;
    if !is_literal && pattern != RdPattern::RD_KAFKA_RESOURCE_PATTERN_PREFIXED {
        return None;
    }
    let resource = match (kind, is_literal) {
        (RdType::RD_KAFKA_RESOURCE_TOPIC, true) => Resource::Topic(name),
        (RdType::RD_KAFKA_RESOURCE_TOPIC, false) => Resource::TopicPrefix(name),
        (RdType::RD_KAFKA_RESOURCE_GROUP, true) => Resource::Group(name),
        (RdType::RD_KAFKA_RESOURCE_GROUP, false) => Resource::GroupPrefix(name),
        (RdType::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, true) => Resource::TransactionalId(name),
        (RdType::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, false) => Resource::TransactionalIdPrefix(name),
        (RdType::RD_KAFKA_RESOURCE_BROKER, true) => Resource::Cluster,
        _ => return None,
    };
    Some(resource)
}

/// What can be said as an [`Acl`]: allowed, from any host.
///
/// # Safety
/// `acl` lives.
pub(super) unsafe fn read(acl: *const rd::rd_kafka_AclBinding_t) -> Option<Acl> {
    // SAFETY: librdkafka's accessors of a binding that lives.
    let (permission, host, kind, name, pattern, operation, principal) = unsafe {
        (
            rd::rd_kafka_AclBinding_permission_type(acl),
            text(rd::rd_kafka_AclBinding_host(acl)),
            rd::rd_kafka_AclBinding_restype(acl),
            text(rd::rd_kafka_AclBinding_name(acl)),
            rd::rd_kafka_AclBinding_resource_pattern_type(acl),
            rd::rd_kafka_AclBinding_operation(acl),
            text(rd::rd_kafka_AclBinding_principal(acl)),
        )
    };
    let (operation, _) = OPERATIONS.into_iter().find(|(_, of_client)| *of_client == operation)?;
    let resource = resource(kind, name, pattern)?;
    let allows = permission == RdPermission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW;
    (allows && host == "*").then_some(Acl { principal, operation, resource })
}

pub(super) enum Kind {
    New,
    Filter,
}

/// A binding or a filter, which librdkafka holds in one type.
pub(super) struct Binding(pub(super) NonNull<rd::rd_kafka_AclBinding_t>);

impl Binding {
    pub(super) fn of(acl: &Acl, kind: Kind) -> Result<Self, Error> {
        let c = |text: &str| CString::new(text).map_err(|_| failed("cannot be said", "a name holds a zero byte"));
        let (restype, name, pattern) = parts(&acl.resource);
        let operation = OPERATIONS.into_iter().find(|(of_ours, _)| *of_ours == acl.operation);
        let (_, operation) = operation.ok_or_else(|| failed("cannot be said", "an operation without a name"))?;
        let (name, principal, host) = (c(name)?, c(&acl.principal)?, c("*")?);
        let make = match kind {
            Kind::New => rd::rd_kafka_AclBinding_new,
            Kind::Filter => rd::rd_kafka_AclBindingFilter_new,
        };
        let mut message: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        // SAFETY: all strings live through the call, which copies them; `message` has the size that is said.
        unsafe {
            let made = make(
                restype,
                name.as_ptr(),
                pattern,
                principal.as_ptr(),
                host.as_ptr(),
                operation,
                RdPermission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
                message.as_mut_ptr(),
                message.len(),
            );
            NonNull::new(made).map(Self).ok_or_else(|| failed("cannot be said", &text(message.as_ptr())))
        }
    }

    /// A filter that takes every ACL.
    pub(super) fn any() -> Result<Self, Error> {
        let mut message: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
        // SAFETY: a null text is "any"; `message` has the size that is said.
        unsafe {
            let made = rd::rd_kafka_AclBindingFilter_new(
                RdType::RD_KAFKA_RESOURCE_ANY,
                ptr::null(),
                RdPattern::RD_KAFKA_RESOURCE_PATTERN_ANY,
                ptr::null(),
                ptr::null(),
                RdOperation::RD_KAFKA_ACL_OPERATION_ANY,
                RdPermission::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
                message.as_mut_ptr(),
                message.len(),
            );
            NonNull::new(made).map(Self).ok_or_else(|| failed("cannot be said", &text(message.as_ptr())))
        }
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        // SAFETY: made by librdkafka, freed once.
        unsafe { rd::rd_kafka_AclBinding_destroy(self.0.as_ptr()) }
    }
}
