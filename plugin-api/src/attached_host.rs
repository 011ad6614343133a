//! The host that has loaded this code, for code that has no handle to it: the panic hook and the
//! bridges of `log` and `tracing`.
//!
//! A loaded plugin has its own copy of this static. In a program that plugins are linked into, such
//! as a test, nothing is attached.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::Host;

static IS_LOADED: AtomicBool = AtomicBool::new(false);
static HOST: RwLock<Option<Host>> = RwLock::new(None);

/// Records that this code was loaded by a host, so that std and its statics belong to the plugin.
pub(crate) fn mark_as_loaded() {
    IS_LOADED.store(true, Ordering::Relaxed);
}

/// Attaches `host`, and returns whether this code was loaded by a host.
pub(crate) fn attach(host: &Host) -> bool {
    let is_loaded = IS_LOADED.load(Ordering::Relaxed);
    if is_loaded {
        *HOST.write().unwrap_or_else(PoisonError::into_inner) = Some(host.clone());
    }
    is_loaded
}

/// Returns the attached host. The lock is not held while it is used, because that may run code of
/// the author, which may log.
pub(crate) fn attached() -> Option<Host> {
    HOST.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Detaches the host, and returns whether this code was loaded by a host.
pub(crate) fn detach() -> bool {
    HOST.write().unwrap_or_else(PoisonError::into_inner).take();
    IS_LOADED.load(Ordering::Relaxed)
}
