//! Transfers the state of previous generations into their successors, while their calls are held.
//!
//! Calls that arrive meanwhile wait at a gate, for a bounded time. They are run by the generation
//! that serves when the gate opens: the new one, or the previous one if the transfer failed.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::abi::{Instance, LifecycleError};

use super::owner::PluginOwner;
use crate::config::Config;
use crate::crash_record::LifecyclePhase;
use crate::failpoint;
use crate::loader::{LoadError, LoadErrorReason};
use crate::log::Counted;
use crate::plugin::{Generation, JoinedRunError, run_joined};
use crate::routing::HeldPlugins;

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
    /// Returns the held calls of these transfers, or `None` if there are no transfers.
    pub(super) fn of(pairs: &[TransferPair]) -> Option<Self> {
        let plugins = pairs.iter().map(|pair| pair.plugin.clone()).collect();
        (!pairs.is_empty()).then(|| Self(HeldPlugins { plugins, gate: Arc::default() }))
    }
}

impl Drop for HeldCalls {
    fn drop(&mut self) {
        self.0.gate.open();
    }
}

/// Why a state was not transferred.
#[derive(Debug, thiserror::Error)]
enum TransferError {
    /// An inline method that was found in the previous table may still change the state.
    #[error(
        "an inline method blocks an I/O thread and may still change the state; the log names the method, which must \
         be declared blocking or async"
    )]
    IoThreadBlocked,

    #[error("{} did not end within {key}, so the state could not be exported; raise {key}", Counted(*.count, "call"))]
    CallsInFlight { count: usize, key: &'static str },

    #[error("the previous generation did not export its state: {0}")]
    Export(PhaseError),

    #[error("the new generation did not import the state: {0}")]
    Import(PhaseError),
}

/// Why a lifecycle phase of a plugin failed.
#[derive(Debug, thiserror::Error)]
enum PhaseError {
    #[error(transparent)]
    Plugin(#[from] LifecycleError),
    #[error(transparent)]
    Thread(#[from] JoinedRunError),
}

impl From<TransferError> for LoadError {
    fn from(error: TransferError) -> Self {
        let reason = match error {
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
    /// Transfers the states of `pairs`, whose calls are `held` from now on.
    ///
    /// Blocks for at most three times `plugins.state_transfer` for each: for the calls in flight,
    /// the export and the import.
    ///
    /// # Errors
    ///
    /// The first transfer that failed. The routing table that holds the calls is still published.
    pub(super) fn transfer_states(
        &self,
        pairs: Vec<TransferPair>,
        held: &HeldCalls,
        config: &Config,
    ) -> Result<(), CommitError> {
        let HeldCalls(held) = held;
        if !self.publish(Some(held)) {
            return Err(CommitError {
                plugin: held.plugins.first().cloned().unwrap_or_default(),
                refused: TransferError::IoThreadBlocked.into(),
            });
        }

        for TransferPair { plugin, previous, new } in pairs {
            transfer(&previous, &new, config).map_err(|refused| CommitError { plugin, refused })?;
        }
        Ok(())
    }
}

/// Exports the state of `previous` and imports it into `new`, each within `plugins.state_transfer`.
fn transfer(previous: &Arc<Generation>, new: &Arc<Generation>, config: &Config) -> Result<(), LoadError> {
    let limit = config.plugins.state_transfer;
    failpoint::pass("hold")?;
    wait_for_calls(previous, config)?;
    failpoint::pass("held")?;

    let schema = previous.state_schema.unwrap_or(0);
    let exporter = Arc::clone(previous);
    let exported = run_joined("hand-over", previous.crash_record(), limit, move || {
        exporter.run_phase(LifecyclePhase::ExportState, Instance::export_state)
    });
    let state = flatten(exported, previous).map_err(TransferError::Export)?;
    failpoint::pass("hand-over")?;

    let importer = Arc::clone(new);
    let imported = run_joined("take-over", new.crash_record(), limit, move || {
        importer.run_phase(LifecyclePhase::ImportState, |instance| instance.import_state(schema, &state))
    });
    flatten(imported, new).map_err(TransferError::Import)?;
    failpoint::pass("take-over")
}

/// Waits until no call of the generation's own threads is left.
///
/// I/O threads run none by now: the table in which they found the method is not used any more.
fn wait_for_calls(generation: &Generation, config: &Config) -> Result<(), TransferError> {
    let deadline = Instant::now() + config.plugins.state_transfer;
    loop {
        let count = generation.direct_calls();
        if count == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let key = config.name_in_file("plugins.state_transfer");
            return Err(TransferError::CallsInFlight { count, key });
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Returns the result of a phase of `generation`, and records a thread that did not end.
fn flatten<T>(
    run: Result<Result<T, LifecycleError>, JoinedRunError>,
    generation: &Generation,
) -> Result<T, PhaseError> {
    if matches!(run, Err(JoinedRunError::ThreadRunning(_))) {
        generation.record_unended_thread();
    }
    Ok(run??)
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
        let held = HeldCalls::of(&[pair]).unwrap();
        let mut released = pin!(GateOpened::of(&held.0.gate));
        let mut context = Context::from_waker(Waker::noop());
        assert!(held.0.plugins.contains("a"));
        assert!(released.as_mut().poll(&mut context).is_pending());

        drop(held);

        assert!(released.as_mut().poll(&mut context).is_ready());
        assert!(HeldCalls::of(&[]).is_none());
    }
}
