//! The plugin behind every invented content: a count that can be exported.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jackfield_plugin_api::{Error, Exported, Host, Methods, Plugin};
use serde::{Deserialize, Serialize};

use crate::plugin::Generation;
use crate::sync::lock;

/// The behaviour of an instance, which gets it as its settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Behaviour {
    pub(super) count: u64,
    pub(super) fails_to_export: bool,
    pub(super) fails_to_import: bool,

    /// The resource that the instance has for itself.
    pub(super) resource: Option<u64>,
}

/// The resources that instances have at the moment.
pub(super) static RESOURCES: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// The plugin behind every invented content.
pub(super) struct TestPlugin {
    count: AtomicU64,
    behaviour: Behaviour,
}

impl Plugin for TestPlugin {
    const STATE: Option<u32> = Some(1);

    fn start(host: &Host) -> Result<Self, Error> {
        let behaviour: Behaviour = host.settings()?;
        lock(&RESOURCES).extend(behaviour.resource);
        Ok(Self { count: AtomicU64::new(behaviour.count), behaviour })
    }

    fn export_state(&self) -> Result<Vec<u8>, Error> {
        if self.behaviour.fails_to_export {
            return Err(Error::internal("the test keeps its count"));
        }
        Ok(self.count.load(Ordering::SeqCst).to_be_bytes().to_vec())
    }

    fn import_state(&self, _schema: u32, state: &[u8]) -> Result<(), Error> {
        if self.behaviour.fails_to_import {
            return Err(Error::internal("the test takes no count"));
        }
        let state = state.try_into().map_err(|_| Error::internal("the state is no count"))?;
        self.count.store(u64::from_be_bytes(state), Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for TestPlugin {
    fn drop(&mut self) {
        if let Some(resource) = self.behaviour.resource {
            lock(&RESOURCES).remove(&resource);
        }
    }
}

impl Exported for TestPlugin {
    const MANIFEST: &'static str = "";

    fn methods() -> Methods<Self> {
        Methods::new()
    }
}

/// Returns the count of a generation that exports it.
pub(super) fn count_of(generation: &Arc<Generation>) -> u64 {
    let state = generation.export_state(Duration::from_secs(30), &|| false).expect("a state");
    u64::from_be_bytes(state.try_into().expect("a count"))
}
