//! The later lifecycle phases of the plugin in a worker process, each on a thread of its own: it
//! exports its state, imports one, or stops. The host requests one at a time.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::INTERNAL_ERROR;
use jackfield_plugin_api::abi::LifecycleError;

use super::start::StartedPlugin;
use super::target::WorkerTarget;
use super::worker_channel::WorkerChannel;
use crate::host_thread::HostThread;
use crate::system_failure::WithRemedy;
use crate::worker::message::{MessageEnd, WorkerMessage};

/// Longer than any limit of the host, which kills a worker that does not stop in time.
const STOP_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Interval at which a stop checks whether the last call has ended.
const CALLS_POLL: Duration = Duration::from_millis(1);

/// Exports the state of the plugin.
pub(super) fn export_state(channel: &Arc<WorkerChannel>, target: Arc<WorkerTarget>) {
    let export = move || target.instance.export_state();
    run_phase("hand-over", channel, export, || ());
}

/// Imports a state into the plugin.
pub(super) fn import_state(
    channel: &Arc<WorkerChannel>,
    target: Arc<WorkerTarget>,
    schema: u32,
    state: &[u8],
) {
    let state = state.to_vec();
    let import = move || target.instance.import_state(schema, &state).map(|()| Vec::new());
    run_phase("take-over", channel, import, || ());
}

/// Stops the plugin after its calls have ended, and then calls `end_process`.
pub(super) fn stop(
    channel: &Arc<WorkerChannel>,
    plugin: StartedPlugin,
    end_process: impl FnOnce() + Send + 'static,
) {
    let on_thread = Arc::clone(channel);
    let end = move || {
        on_thread.finish();
        end_process();
    };
    run_phase("stop", channel, || stop_now(plugin), end);
}

fn stop_now(plugin: StartedPlugin) -> Result<Vec<u8>, LifecycleError> {
    let StartedPlugin { target, pool, executor } = plugin;
    if let Some(pool) = pool {
        pool.join(Instant::now() + STOP_LIMIT);
    }
    let target = wait_until_unshared(target);

    // The async thread runs on: `stop` may wait for a thread of the plugin whose sleep or nested
    // call ends there.
    let stopped = target.map_or(Ok(()), |target| target.instance.stop());
    drop(executor);
    stopped.map(|()| Vec::new()).map_err(LifecycleError::Panicked)
}

/// Waits until no call is left.
fn wait_until_unshared(target: Arc<WorkerTarget>) -> Option<WorkerTarget> {
    while Arc::strong_count(&target) > 1 {
        thread::sleep(CALLS_POLL);
    }
    Arc::into_inner(target)
}

/// Runs `work` on a thread with this name, reports its end, and then calls `then`.
fn run_phase(
    name: &str,
    channel: &Arc<WorkerChannel>,
    work: impl FnOnce() -> Result<Vec<u8>, LifecycleError> + Send + 'static,
    then: impl FnOnce() + Send + 'static,
) {
    let on_thread = Arc::clone(channel);
    let spawned = HostThread::spawn(name, move || {
        report(&on_thread, &work());
        then();
    });
    if let Err(error) = spawned {
        let error = format!("cannot start a thread: {}", WithRemedy(&error));
        report(channel, &Err(LifecycleError::Refused(error)));
    }
}

fn report(channel: &WorkerChannel, end: &Result<Vec<u8>, LifecycleError>) {
    let end = match end {
        Ok(state) => MessageEnd::Done(state),
        Err(LifecycleError::Refused(message)) => {
            MessageEnd::Failed { code: INTERNAL_ERROR, message, data: None }
        }
        Err(LifecycleError::Panicked(text)) => MessageEnd::Panicked(text),
    };
    channel.send(&WorkerMessage::PhaseEnd(end));
}
