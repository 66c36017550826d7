//! The long run: the bus under a steady load, each service a process of its own, and what its memory does.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use freshet_catalog_model::{Delivery, Entry};
use freshet_kafka::publisher::Publisher;

use crate::cluster::{Cluster, INPUT, event};
use crate::delivery::private;
use crate::figure::Figure;
use crate::licence::Generator;
use crate::process::Process;

/// Events a second.
const RATE: u32 = 500;
/// So many licences that change again and again: the register does not grow, and neither should its services.
const ENTITIES: u64 = 50_000;
const LOOK_EVERY: Duration = Duration::from_secs(5);
const EARLY: Duration = Duration::from_secs(5 * 60);
const READY_LIMIT: Duration = Duration::from_secs(60);

pub fn long(program: &Path, minutes: u64) -> anyhow::Result<Vec<Figure>> {
    let length = Duration::from_secs(minutes * 60);
    anyhow::ensure!(length > EARLY, "--long compares with the memory after 5 minutes: give it more than 5");
    let cluster = Cluster::start()?;
    let url = receiver(&cluster)?;
    let secrets = tempfile::tempdir()?;
    private(&secrets.path().join("bench"), "whsec_YmVuY2htYXJrLXNlY3JldC1vZi0zMi1ieXRlcyEhISE=\n")?;
    let mut grant = cluster.catalog.grants["counter"].clone();
    grant.id = "webhook".to_owned();
    grant.subscriber = "webhook-subscriber".to_owned();
    grant.delivery = Delivery::Webhook { url, secret: "bench".to_owned() };
    cluster.put(Entry::Grant(Box::new(grant)))?;

    let fanout = [
        ("fanout.listen", crate::gateway::free_address()?.to_string()),
        ("fanout.secrets_dir", secrets.path().display().to_string()),
        ("fanout.allow_private_addresses", "127.0.0.0/8".to_owned()),
    ];
    let mut processes = vec![
        Process::start(program, "validator", &cluster, &[])?,
        Process::start(program, "router", &cluster, &[])?,
        Process::start(program, "fanout", &cluster, &fanout)?,
    ];
    for process in &mut processes {
        process.wait_until_ready(READY_LIMIT)?;
    }
    let over = AtomicBool::new(false);
    let (early, late) = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(&cluster, &over));
        let watched = watch(&mut processes, length);
        over.store(true, Ordering::Relaxed);
        publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
        watched
    })?;
    let mut figures = Vec::new();
    for ((process, early), late) in processes.iter().zip(&early.memory).zip(&late.memory) {
        let what = format!("long run, {}: memory after {minutes} min ÷ after 5 min", process.role());
        figures.push(Figure::new(what, late / early, "").at_most(1.05));
        let what = format!("long run, {}: memory after {minutes} min", process.role());
        figures.push(Figure::new(what, *late, "MiB"));
    }
    let (grown, ids) = (late.memory[0] - early.memory[0], late.remembered - early.remembered);
    figures.push(Figure::new("long run, validator: ids that it remembers more than after 5 min", ids, ""));
    let what = "long run, validator: memory that it has more than after 5 min, for each of these ids";
    figures.push(Figure::new(what, grown * 1024.0 * 1024.0 / ids, "bytes"));
    processes.into_iter().for_each(Process::stop);
    Ok(figures)
}

struct Look {
    /// Of each process, MiB; the mean of a minute, for an allocator gives back in steps.
    memory: Vec<f64>,
    /// Entities and ids of the validator: it keeps each id until its window, a week, is over.
    remembered: f64,
}

/// After five minutes and at the end.
fn watch(processes: &mut [Process], length: Duration) -> anyhow::Result<(Look, Look)> {
    let started = Instant::now();
    let mut minute = |until: Duration| -> anyhow::Result<Look> {
        let (mut sums, mut count) = (vec![0.0; processes.len()], 0.0);
        while started.elapsed() < until {
            std::thread::park_timeout(LOOK_EVERY);
            let counted = started.elapsed() + Duration::from_secs(60) >= until;
            for (process, sum) in processes.iter_mut().zip(&mut sums) {
                process.must_run()?;
                if counted {
                    *sum += process.memory_mib()?.0;
                }
            }
            count += if counted { 1.0 } else { 0.0 };
        }
        let remembered = processes[0].count("freshet_validator_state_entries")? as f64;
        Ok(Look { memory: sums.into_iter().map(|sum| sum / count).collect(), remembered })
    };
    Ok((minute(EARLY)?, minute(length)?))
}

fn publish(cluster: &Cluster, over: &AtomicBool) -> anyhow::Result<()> {
    let publisher = Publisher::new(&cluster.connection, "bench-long", 100_000)?;
    let mut generator = Generator::new(1, cluster.schema_id, ENTITIES);
    let started = Instant::now();
    let mut number = 0_u32;
    while !over.load(Ordering::Relaxed) {
        let batch: Vec<_> = (0..RATE / 10).map(|_| event(INPUT, &mut generator, None).0).collect();
        for result in cluster.runtime.block_on(publisher.publish_all(&batch)) {
            result?;
        }
        number += 1;
        if let Some(wait) = (Duration::from_millis(100) * number).checked_sub(started.elapsed()) {
            std::thread::park_timeout(wait);
        }
    }
    Ok(())
}

fn receiver(cluster: &Cluster) -> anyhow::Result<String> {
    let listener = cluster.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let router = Router::new().route("/hook", post(|| async { StatusCode::NO_CONTENT }));
    cluster.runtime.spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}
