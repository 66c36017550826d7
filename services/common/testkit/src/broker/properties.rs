//! The broker's configuration. Small counts of internal partitions and no rebalance delay make it quick on one
//! machine; nothing that correctness rests on differs from a cluster's.

use std::fmt::Write;
use std::path::Path;

use super::{Listener, Serves};

/// The ports of one node, both on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Ports {
    pub broker: u16,
    pub controller: u16,
}

/// `server.properties` of node `index` (from 0).
pub(super) fn server(index: usize, ports: &[Ports], more: &[Listener], folder: &Path) -> String {
    let node = index + 1;
    let broker = ports[index].broker;
    let controllers = controllers(ports, more);
    let (controller, controller_told) = controllers[index];
    let replicas = if ports.len() >= 3 { 3 } else { 1 };
    let in_sync = if replicas == 3 { 2 } else { 1 };
    let mut text = String::from("# Written by freshet at every start.\n");
    let mut set = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}={value}");
    };
    set("process.roles", &"broker,controller");
    set("node.id", &node);
    set("controller.quorum.voters", &voters(&controllers));
    set("controller.listener.names", &"CONTROLLER");
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}");
    let mut advertised = format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller_told}");
    let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
    for Listener { name, ports, .. } in more.iter().filter(|listener| listener.serves != Serves::Controllers) {
        let (listen, told) = ports[index];
        listeners.push_str(&format!(",{name}://127.0.0.1:{listen}"));
        advertised.push_str(&format!(",{name}://127.0.0.1:{told}"));
        protocols.push_str(&format!(",{name}:PLAINTEXT"));
    }
    let between = more.iter().find(|listener| listener.serves == Serves::Brokers);
    set("inter.broker.listener.name", &between.map_or("PLAINTEXT", |listener| &listener.name));
    set("listeners", &listeners);
    set("advertised.listeners", &advertised);
    set("listener.security.protocol.map", &protocols);
    set("log.dirs", &folder.join("data").display());

    // Topics come from the catalogue only: a misspelt name must fail.
    set("auto.create.topics.enable", &false);
    set("num.partitions", &1);
    set("default.replication.factor", &replicas);
    set("min.insync.replicas", &in_sync);
    set("unclean.leader.election.enable", &false);
    set("compression.type", &"producer");

    set("offsets.topic.num.partitions", &4);
    set("offsets.topic.replication.factor", &replicas);
    set("transaction.state.log.num.partitions", &4);
    set("transaction.state.log.replication.factor", &replicas);
    set("transaction.state.log.min.isr", &in_sync);
    set("share.coordinator.state.topic.num.partitions", &1);
    set("share.coordinator.state.topic.replication.factor", &replicas);
    set("share.coordinator.state.topic.min.isr", &in_sync);

    set("group.initial.rebalance.delay.ms", &0);
    // Tests of lost members need sessions shorter than the usual least of 6 s.
    set("group.min.session.timeout.ms", &1000);
    // A transaction that was left open holds readers back until it is aborted: look for such every second, not every 10.
    set("transaction.abort.timed.out.transaction.cleanup.interval.ms", &1000);
    set("transaction.max.timeout.ms", &60_000);

    // One machine, not a rack of them.
    set("num.network.threads", &2);
    set("num.io.threads", &4);
    set("background.threads", &2);
    set("num.recovery.threads.per.data.dir", &2);
    set("log.cleaner.threads", &1);
    set("log.cleaner.dedupe.buffer.size", &16_000_000);
    set("controlled.shutdown.max.retries", &1);
    text
}

/// How long after their controller is there dead brokers are fenced (`controller.properties`).
pub(super) const FENCE_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// `controller.properties` of node `index`: the same node's controller on the same data, without its broker.
pub(super) fn controller(index: usize, ports: &[Ports], more: &[Listener], folder: &Path) -> String {
    let controllers = controllers(ports, more);
    let (listen, told) = controllers[index];
    format!(
        "# Written by freshet at every start.\n\
         process.roles=controller\n\
         node.id={}\n\
         controller.quorum.voters={}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=CONTROLLER://127.0.0.1:{listen}\n\
         advertised.listeners=CONTROLLER://127.0.0.1:{told}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         broker.heartbeat.interval.ms=300\n\
         broker.session.timeout.ms={}\n",
        index + 1,
        voters(&controllers),
        folder.join("data").display(),
        FENCE_AFTER.as_millis()
    )
}

/// (where it listens, where it is found) for the controller of each node.
fn controllers(ports: &[Ports], more: &[Listener]) -> Vec<(u16, u16)> {
    let proxied = more.iter().find(|listener| listener.serves == Serves::Controllers);
    proxied.map_or_else(
        || ports.iter().map(|ports| (ports.controller, ports.controller)).collect(),
        |listener| listener.ports.clone(),
    )
}

fn voters(controllers: &[(u16, u16)]) -> String {
    let voters = controllers.iter().enumerate();
    voters.map(|(voter, (_, told))| format!("{}@127.0.0.1:{told}", voter + 1)).collect::<Vec<_>>().join(",")
}

/// `log4j2.properties`: one rolling file, warnings of the noisy parts only.
pub(super) fn log4j(folder: &Path) -> String {
    let file = folder.join("log/server.log");
    format!(
        "status = error\n\
         appender.file.type = RollingFile\n\
         appender.file.name = file\n\
         appender.file.fileName = {file}\n\
         appender.file.filePattern = {file}.%i\n\
         appender.file.layout.type = PatternLayout\n\
         appender.file.layout.pattern = %d{{ISO8601}} %p %c{{1}}: %m%n\n\
         appender.file.policies.type = Policies\n\
         appender.file.policies.size.type = SizeBasedTriggeringPolicy\n\
         appender.file.policies.size.size = 20MB\n\
         appender.file.strategy.type = DefaultRolloverStrategy\n\
         appender.file.strategy.max = 3\n\
         rootLogger.level = info\n\
         rootLogger.appenderRef.file.ref = file\n\
         logger.config.name = org.apache.kafka.common.config\n\
         logger.config.level = warn\n",
        file = file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_name_each_other_and_keep_two_in_sync() {
        let ports: Vec<Ports> = (0..3).map(|i| Ports { broker: 9000 + i, controller: 9100 + i }).collect();
        let text = server(1, &ports, &[], Path::new("/d/node-2"));
        for line in [
            "node.id=2",
            "controller.quorum.voters=1@127.0.0.1:9100,2@127.0.0.1:9101,3@127.0.0.1:9102",
            "listeners=PLAINTEXT://127.0.0.1:9001,CONTROLLER://127.0.0.1:9101",
            "min.insync.replicas=2",
            "transaction.state.log.replication.factor=3",
            "log.dirs=/d/node-2/data",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(server(0, &ports[..1], &[], Path::new("/d")).contains("\nmin.insync.replicas=1\n"));
    }

    #[test]
    fn a_further_listener_is_told_by_its_proxy() {
        let ports: Vec<Ports> = (0..3).map(|i| Ports { broker: 9000 + i, controller: 9100 + i }).collect();
        let name = "BETWEEN".to_owned();
        let more = Listener { name, ports: vec![(1, 2), (3, 4), (5, 6)], serves: Serves::Brokers };
        let name = "CONTROLLERS".to_owned();
        let controllers = Listener { name, ports: vec![(11, 12), (13, 14), (15, 16)], serves: Serves::Controllers };
        let more = [more, controllers];
        let text = server(1, &ports, &more, Path::new("/d"));
        for line in [
            "inter.broker.listener.name=BETWEEN",
            "controller.quorum.voters=1@127.0.0.1:12,2@127.0.0.1:14,3@127.0.0.1:16",
            "listeners=PLAINTEXT://127.0.0.1:9001,CONTROLLER://127.0.0.1:13,BETWEEN://127.0.0.1:3",
            "advertised.listeners=PLAINTEXT://127.0.0.1:9001,CONTROLLER://127.0.0.1:14,BETWEEN://127.0.0.1:4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let alone = controller(1, &ports, &more, Path::new("/d"));
        assert!(
            alone.contains("\nlisteners=CONTROLLER://127.0.0.1:13\nadvertised.listeners=CONTROLLER://127.0.0.1:14\n")
        );
    }
}
