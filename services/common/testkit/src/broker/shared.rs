//! The one broker that the tests of a process share.

use std::sync::OnceLock;

use super::{Broker, BrokerSettings, Life};

static SHARED: OnceLock<Broker> = OnceLock::new();

/// A static is never dropped: the watchdog ends the broker and removes its folder when the process ends.
pub(super) fn shared() -> &'static Broker {
    SHARED.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("freshet-broker-").tempdir().map(tempfile::TempDir::keep);
        let folder = folder.expect("a temporary folder for the tests' broker");
        let settings = BrokerSettings { life: Life::Throwaway, ..BrokerSettings::new(folder) };
        Broker::start(settings).unwrap_or_else(|error| panic!("the tests' broker: {error}"))
    })
}
