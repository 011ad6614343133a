//! The panic hook of a loaded plugin: it reports panics, with their place in the source, in the
//! host's log.
//!
//! The hook does not know which call panicked. The host adds method and request to the line, and
//! does not log the panic again when the call ends.
//!
//! A loaded plugin has its own copy of std, and therefore its own panic hook. The default hook
//! writes to stderr and calls `thread::current()`. Code that is to be unloaded must not call that
//! on threads that outlive it, because it leaves a thread-local value behind.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::failure_text::{NOT_TEXT, PANIC_LINE};
use crate::{Host, Level};

/// Upper bound for the logged panic text, in bytes.
const MAX_TEXT: usize = 1024;

static IS_LOADED: AtomicBool = AtomicBool::new(false);
static HOST: Mutex<Option<Host>> = Mutex::new(None);

/// Records that this code was loaded by a host, so that std and its hook belong to the plugin.
pub(crate) fn mark_as_loaded() {
    IS_LOADED.store(true, Ordering::Relaxed);
}

/// Installs a hook that reports panics in the log of `host`, if this code was loaded by a host.
pub(crate) fn install(host: &Host) {
    if !IS_LOADED.load(Ordering::Relaxed) {
        return;
    }

    *HOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(host.clone());
    panic::set_hook(Box::new(|panic| {
        let text =
            panic.payload_as_str().map_or(NOT_TEXT, |text| &text[..text.floor_char_boundary(MAX_TEXT)]);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();

        let host = HOST.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(host) = host {
            host.log(Level::Error, format_args!("{PANIC_LINE}{place}: {text}"));
        }
    }));
}

/// Removes the hook and its reference to the host, once the instance has stopped.
pub(crate) fn remove() {
    if IS_LOADED.load(Ordering::Relaxed) {
        drop(panic::take_hook());
        HOST.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
