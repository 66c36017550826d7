//! Starts a role. The only place that knows all of them: `run` starts one, `up` starts all.

use freshet_runtime::run::Services;
use freshet_runtime::{Context, HttpSettings};

use crate::cli::Role;
use crate::settings::Settings;

/// The role takes its section of the settings and ends when the context is stopped.
pub fn start(role: Role, settings: &Settings, context: &Context, services: &mut Services) {
    let connection = settings.kafka.clone();
    let context = context.clone();
    let name = role.name();
    match role {
        Role::Gateway => services.start(name, freshet_gateway::run(settings.gateway.clone(), connection, context)),
        Role::Validator => {
            services.start(name, freshet_validator::run(settings.validator.clone(), connection, context));
        }
        Role::Router => services.start(name, freshet_router::run(settings.router.clone(), connection, context)),
        Role::Fanout => services.start(name, freshet_fanout::run(settings.fanout.clone(), connection, context)),
        Role::Catalog => {
            let (config, roles) = (settings.catalog.clone(), settings.roles());
            services.start(name, freshet_catalog::run(config, roles, connection, context));
        }
        Role::Observer => services.start(name, freshet_observer::run(settings.observer.clone(), connection, context)),
    }
}

/// The relations between the settings of a role, before a port is bound. All problems, a sentence each.
pub fn check(role: Role, settings: &Settings) -> Vec<String> {
    let mut problems = Vec::new();
    if let Err(error) = settings.kafka.check() {
        problems.push(format!("kafka: {error}"));
    }
    match role {
        Role::Gateway => problems.extend(settings.gateway.check().err().unwrap_or_default()),
        Role::Validator => problems.extend(settings.validator.check().err().map(|error| error.to_string())),
        Role::Router => problems.extend(settings.router.check().err().map(|error| error.to_string())),
        Role::Fanout => problems.extend(settings.fanout.check().err().map(|error| format!("fanout.{error}"))),
        Role::Catalog => problems.extend(http("catalog", &settings.catalog.http)),
        Role::Observer => problems.extend(http("observer", &settings.observer.http)),
    }
    problems
}

fn http(role: &str, settings: &HttpSettings) -> Option<String> {
    settings.check().err().map(|(setting, reason)| format!("{role}.{setting} {reason}"))
}
