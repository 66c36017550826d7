//! `freshet run ROLE`.

use std::time::Duration;

use anyhow::Context as _;
use freshet_runtime::run::{Services, stop_on_signal};
use freshet_runtime::{CancellationToken, Context, Threads, admin};

use crate::cli::{Globals, Role, RoleArguments, RunArguments};
use crate::exit::Exit;
use crate::settings::Settings;
use crate::{roles, settings};

pub fn run(globals: &Globals, arguments: &RunArguments) -> anyhow::Result<Exit> {
    if arguments.check_config {
        return super::check_config::run(globals, &RoleArguments { role: arguments.role });
    }
    let settings = settings::load(globals, &[])?.value;
    settings.start_log()?;
    let problems = roles::check(arguments.role, &settings);
    if !problems.is_empty() {
        eprintln!("{}", problems.join("\n"));
        return Ok(Exit::Usage);
    }
    let threads = Threads::start().context("starting the threads")?;
    threads.block_on(serve(arguments.role, &settings))
}

async fn serve(role: Role, settings: &Settings) -> anyhow::Result<Exit> {
    let context = Context::new();
    stop_on_signal(context.stop.clone()).context("listening for signals")?;
    let listener = admin::bind(settings.admin.listen).await?;
    let mut services = Services::new(context.readiness.clone());
    roles::start(role, settings, &context, &mut services);
    let stop_serving = CancellationToken::new();
    let probes = tokio::spawn(admin::serve(listener, context.clone(), stop_serving.clone()));
    tracing::info!(role = role.name(), admin = %settings.admin.listen, "started");
    let ending = services.finish(&context.stop, Duration::from_secs(settings.admin.stop_limit_seconds)).await;

    stop_serving.cancel();
    if let Ok(Err(error)) = probes.await {
        tracing::warn!(%error, "the admin port");
    }
    if ending.exit_code() != 0 {
        eprintln!("freshet: {ending}");
    }
    Ok(Exit::from_code(ending.exit_code()))
}
