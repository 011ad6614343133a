//! The end of a generation: nobody holds it any more, its threads are joined, its instance stopped, its code closed.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;

use super::generation::{Generation, GenerationId};
use super::joined_thread::aside;
use crate::crash_record::{LifecyclePhase, running};
use crate::loader::CloseOutcome;
use crate::log::printable;

/// How long threads without work may take to end.
const SOON: Duration = Duration::from_secs(5);

/// How often a retiring generation looks whether it is alone: well below the 100 ms a drain may take.
const LOOK: Duration = Duration::from_millis(2);

/// Until when something that ends may take its time; set when the host itself ends.
#[derive(Clone, Default)]
pub(crate) struct EndDeadline(Arc<OnceLock<Instant>>);

impl EndDeadline {
    /// No longer than this, from now on.
    pub(crate) fn set(&self, until: Instant) {
        // The first to end the host says how long it may take.
        let _ = self.0.set(until);
    }

    fn is_over(&self) -> bool {
        self.0.get().is_some_and(|until| Instant::now() >= *until)
    }

    /// For threads that are about to end by themselves.
    fn or_soon(&self) -> Instant {
        self.0.get().copied().unwrap_or_else(|| Instant::now() + SOON)
    }
}

/// How a generation ended.
#[derive(Debug)]
pub(crate) enum RetirementOutcome {
    /// Its code is out of the process, or was never a library.
    Unloaded,
    /// Its code stays mapped, for this reason.
    Retained(String),
}

/// Threads that run `inline` methods and live on: they are replaced by new ones, and joined, before code that they
/// may have run is closed.
pub(crate) trait IoThreadReplacer: Send + Sync {
    /// Returns once every such thread that was there at the call has ended; gives back how many did not end before
    /// `until`. Blocks.
    fn turn_over(&self, until: Instant) -> usize;
}

impl Generation {
    /// Waits until nobody else holds the generation, then ends it: threads joined, instance stopped, code closed.
    /// What is not over by `until` keeps the code in the process. Blocks.
    pub(crate) fn retire(
        mut this: Arc<Self>,
        until: &EndDeadline,
        io: &dyn IoThreadReplacer,
    ) -> RetirementOutcome {
        let generation = loop {
            match Arc::try_unwrap(this) {
                Ok(generation) => break generation,
                Err(shared) if until.is_over() => {
                    let calls = Arc::strong_count(&shared) - 1;
                    // Its code is running, or will be looked for by what still holds it.
                    std::mem::forget(shared);
                    return RetirementOutcome::Retained(format!("{calls} calls have not ended"));
                }
                Err(shared) => this = shared,
            }
            thread::sleep(LOOK);
        };
        let Self { methods, instance, workers, executor, loaded, identity, known, prompt, .. } = generation;
        let soon = until.or_soon();
        let left = executor.join(soon) + workers.map_or(0, |workers| workers.join(soon));
        if left > 0 {
            std::mem::forget((instance, loaded, known));
            return RetirementOutcome::Retained(format!("{left} of its threads have not ended"));
        }
        // On a thread of its own, joined like the others: what `stop` leaves in thread locals goes with it.
        let limit = until.or_soon().saturating_duration_since(Instant::now());
        let number = identity.number;
        match aside("stop", known.crash_record(), limit, move || {
            running(LifecyclePhase::Stop.of(number), None, || instance.stop())
        }) {
            Ok(Ok(())) => {}
            Ok(Err(text)) => {
                let GenerationId { plugin, number, .. } = &identity;
                tracing::error!(
                    plugin = &**plugin,
                    generation = number,
                    "stop panicked: {}",
                    printable(&text)
                );
            }
            Err(undone) => {
                std::mem::forget((loaded, known));
                return RetirementOutcome::Retained(format!("its stop: {undone}"));
            }
        }
        let Some(loaded) = loaded else { return RetirementOutcome::Unloaded };
        if prompt.any_was() || methods.iter().any(|method| method.run == Run::Inline) {
            let left = io.turn_over(until.or_soon());
            if left > 0 {
                std::mem::forget((loaded, known));
                return RetirementOutcome::Retained(format!(
                    "{left} I/O threads that ran its code have not ended"
                ));
            }
        }
        match running(LifecyclePhase::Close.of(number), None, || loaded.close()) {
            CloseOutcome::Unloaded => RetirementOutcome::Unloaded,
            CloseOutcome::Retained(reason) => RetirementOutcome::Retained(reason),
        }
    }
}
