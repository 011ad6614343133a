//! Transfers the state of previous generations into their successors, while their calls are held.
//!
//! Calls that arrive meanwhile wait at a gate, for a bounded time. They are run by the generation
//! that serves when the gate opens: the new one, or the previous one if the transfer failed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::owner::PluginOwner;
use super::transaction::PreparedGeneration;
use crate::config::Config;
use crate::failpoint;
use crate::loader::{LoadError, LoadErrorReason};
use crate::log::Counted;
use crate::plugin::{ExportedState, Generation, PhaseError};
use crate::routing::HeldPlugins;
use crate::shutdown::Shutdown;

/// How often the calls in flight are counted that a transfer waits for.
const POLL_INTERVAL: Duration = Duration::from_micros(100);

/// A commit that failed because of this plugin.
#[derive(Debug)]
pub(super) struct CommitError {
    pub(super) plugin: String,
    pub(super) refused: LoadError,
}

/// The two generations of a transfer.
pub(super) struct TransferPair {
    pub(super) plugin: String,
    pub(super) previous: Arc<Generation>,
    pub(super) new: Arc<Generation>,
}

/// The plugins whose calls are held. Dropped, it opens the gate.
pub(super) struct HeldCalls(HeldPlugins);

impl HeldCalls {
    /// Returns the held calls of these transfers, and of the plugins that are stopped before
    /// prepared contents start; `None` if no calls have to be held.
    pub(super) fn of(pairs: &[TransferPair], prepared: &[PreparedGeneration]) -> Option<Self> {
        let stopping = prepared.iter().filter(|new| new.generation().is_none());
        let stopping: BTreeSet<_> = stopping.map(|new| new.name.clone()).collect();

        let transferring = pairs.iter().map(|pair| pair.plugin.clone());
        let plugins: BTreeSet<_> = transferring.chain(stopping.iter().cloned()).collect();
        let is_needed = !plugins.is_empty();
        is_needed.then(|| Self(HeldPlugins { plugins, stopping, gate: Arc::default() }))
    }

    pub(super) fn plugins(&self) -> &HeldPlugins {
        &self.0
    }
}

impl Drop for HeldCalls {
    fn drop(&mut self) {
        self.0.gate.open();
    }
}

/// Why a state was not transferred.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    /// An inline method that was found in the previous table may still change the state.
    #[error(
        "an inline method blocks an I/O thread and may still change the state; the log names the method, which must \
         be declared blocking or async"
    )]
    IoThreadBlocked,

    #[error("{} did not end within {key}, so the plugin could not be replaced; raise {key}", Counted(*.count, "call"))]
    CallsInFlight { count: usize, key: &'static str },

    #[error("the host ends, so the state stays where it is")]
    HostEnds,

    #[error("the previous generation did not export its state: {0}")]
    Export(PhaseError),

    #[error("the new generation did not import the state: {0}")]
    Import(PhaseError),
}

impl TransferError {
    pub(super) fn calls_in_flight(count: usize, config: &Config) -> Self {
        Self::CallsInFlight { count, key: config.name_in_file("plugins.state_transfer") }
    }
}

impl From<TransferError> for LoadError {
    fn from(error: TransferError) -> Self {
        let reason = match &error {
            TransferError::HostEnds => LoadErrorReason::HostEnds,
            TransferError::Export(error) | TransferError::Import(error) if error.is_given_up() => {
                LoadErrorReason::HostEnds
            }
            TransferError::IoThreadBlocked | TransferError::CallsInFlight { .. } => {
                LoadErrorReason::StateTransferBusy
            }
            TransferError::Export(_) => LoadErrorReason::StateExportFailed,
            TransferError::Import(_) => LoadErrorReason::StateImportFailed,
        };
        Self::new(reason, error)
    }
}

impl PluginOwner {
    /// Holds calls from now on.
    ///
    /// # Errors
    ///
    /// A thread may still run calls. The routing table that holds the calls is published.
    pub(super) fn hold(&self, held: &HeldCalls) -> Result<(), CommitError> {
        let HeldCalls(held) = held;
        if self.publish(Some(held)) {
            return Ok(());
        }
        Err(CommitError {
            plugin: held.plugins.first().cloned().unwrap_or_default(),
            refused: TransferError::IoThreadBlocked.into(),
        })
    }

    /// Transfers the states of `pairs`, whose calls are held.
    ///
    /// Blocks for at most three times `plugins.state_transfer` for each: for the calls in flight,
    /// the export and the import.
    ///
    /// # Errors
    ///
    /// The first transfer that failed.
    pub(super) fn transfer_states(
        &self,
        pairs: Vec<TransferPair>,
        config: &Config,
    ) -> Result<(), CommitError> {
        for TransferPair { plugin, previous, new } in pairs {
            transfer(&previous, &new, config, &self.shutdown)
                .map_err(|refused| CommitError { plugin, refused })?;
        }
        Ok(())
    }
}

fn transfer(
    previous: &Arc<Generation>,
    new: &Arc<Generation>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<(), LoadError> {
    failpoint::pass("hold")?;
    wait_for_calls(previous, config, shutdown)?;
    failpoint::pass("held")?;

    let schema = previous.state_schema.unwrap_or(0);
    let bytes = export(previous, config, shutdown)?;
    failpoint::pass("hand-over")?;

    import(new, &Arc::new(ExportedState { schema, bytes }), config, shutdown)?;
    failpoint::pass("take-over")
}

/// Exports the state of a generation within `plugins.state_transfer`.
pub(super) fn export(
    previous: &Arc<Generation>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<Vec<u8>, TransferError> {
    let gives_up = || shutdown.gives_steps_up();
    previous.export_state(config.plugins.state_transfer, &gives_up).map_err(TransferError::Export)
}

/// Imports a state into a generation within `plugins.state_transfer`. Once the shutdown has begun,
/// it does not begin.
pub(super) fn import(
    new: &Arc<Generation>,
    state: &Arc<ExportedState>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<(), LoadError> {
    if shutdown.has_begun() {
        return Err(TransferError::HostEnds.into());
    }

    let gives_up = || shutdown.gives_steps_up();
    let imported = new.import_state(state, config.plugins.state_transfer, &gives_up);
    Ok(imported.map_err(TransferError::Import)?)
}

/// Waits until no call of the generation's own threads is left.
///
/// I/O threads run none by now: the table in which they found the method is not used any more.
pub(super) fn wait_for_calls(
    generation: &Generation,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<(), TransferError> {
    let deadline = Instant::now() + config.plugins.state_transfer;
    loop {
        if shutdown.has_begun() {
            return Err(TransferError::HostEnds);
        }
        let count = generation.direct_calls();
        if count == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(TransferError::calls_in_flight(count, config));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use jackfield_plugin_api::Methods;

    use super::*;
    use crate::plugin::BuiltInPlugin;
    use crate::plugin::test_support::start_built_in;
    use crate::routing::GateOpened;

    #[test]
    fn releases_held_calls_when_it_is_dropped() {
        let generation = start_built_in(BuiltInPlugin::new("a", (), Methods::new()), &Config::default());
        let pair =
            TransferPair { plugin: "a".to_owned(), previous: Arc::clone(&generation), new: generation };
        let held = HeldCalls::of(&[pair], &[]).unwrap();
        let mut released = pin!(GateOpened::of(&held.0.gate));
        let mut context = Context::from_waker(Waker::noop());
        assert!(held.0.plugins.contains("a"));
        assert!(released.as_mut().poll(&mut context).is_pending());

        drop(held);

        assert!(released.as_mut().poll(&mut context).is_ready());
        assert!(HeldCalls::of(&[], &[]).is_none());
    }
}
