//! The shutdown of a host: how far it has come, known to all of its threads.
//!
//! ```text
//! Serve ──► Drain ──► Cut
//!   └──────────────────▲
//! ```
//!
//! Asynchronous code waits for a stage with [`Shutdown::subscribe`]. Threads that block ask while
//! they wait: the plugin owner before each step of a reload, the others every few milliseconds.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Time that plugin code may still take after the shutdown began, if it runs in a step whose result
/// is not used any more. It is below the time that plugins have to stop, so that the others can
/// stop afterwards.
const STEP_GRACE: Duration = Duration::from_millis(2_500);

/// How far the shutdown of a host has come. Each stage includes the previous ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ShutdownStage {
    /// No shutdown.
    Serve,
    /// Answer what is in flight, within the drain time-out.
    Drain,
    /// End now.
    Cut,
}

/// The stage of a host's shutdown. Clones share it.
#[derive(Clone)]
pub(crate) struct Shutdown(Arc<SharedStage>);

struct SharedStage {
    stage: watch::Sender<ShutdownStage>,
    began: OnceLock<Instant>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(SharedStage {
            stage: watch::Sender::new(ShutdownStage::Serve),
            began: OnceLock::new(),
        }))
    }
}

impl Shutdown {
    /// Begins the drain, unless the shutdown has come so far already.
    pub(crate) fn begin(&self) {
        self.advance(ShutdownStage::Drain);
    }

    /// Ends the host at once.
    pub(crate) fn cut(&self) {
        self.advance(ShutdownStage::Cut);
    }

    /// Returns a receiver of the stages.
    pub(crate) fn subscribe(&self) -> watch::Receiver<ShutdownStage> {
        self.0.stage.subscribe()
    }

    /// Returns whether the host ends. No step of a reload begins then.
    pub(crate) fn has_begun(&self) -> bool {
        self.stage() > ShutdownStage::Serve
    }

    /// Returns whether plugin code must not be waited for any longer that runs in a step of a
    /// reload.
    pub(crate) fn gives_steps_up(&self) -> bool {
        let is_late = || self.0.began.get().is_some_and(|began| began.elapsed() >= STEP_GRACE);
        self.stage() == ShutdownStage::Cut || is_late()
    }

    fn stage(&self) -> ShutdownStage {
        *self.0.stage.borrow()
    }

    fn advance(&self, to: ShutdownStage) {
        self.0.began.get_or_init(Instant::now);
        self.0.stage.send_if_modified(|stage| {
            let is_further = to > *stage;
            *stage = to.max(*stage);
            is_further
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_and_never_returns() {
        let shutdown = Shutdown::default();
        let stages = shutdown.subscribe();
        assert!(!shutdown.has_begun());

        shutdown.clone().begin();
        assert!(shutdown.has_begun());
        assert_eq!(*stages.borrow(), ShutdownStage::Drain);

        shutdown.cut();
        shutdown.begin();
        assert_eq!(*stages.borrow(), ShutdownStage::Cut);
    }

    #[test]
    fn gives_steps_up_at_once_when_the_host_is_cut() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.gives_steps_up());

        shutdown.cut();
        assert!(shutdown.gives_steps_up());
    }
}
