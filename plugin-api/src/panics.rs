//! Where a loaded plugin's panics are reported: the host's log, with the place in the source.
//!
//! A loaded plugin has a std of its own, and so a panic hook of its own. The default hook writes to stderr and asks
//! for the current thread, which a library that is to be unloaded must not do on threads that live on.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{Host, Level};

static LOADED: AtomicBool = AtomicBool::new(false);
static REPORTS_TO: Mutex<Option<Host>> = Mutex::new(None);

/// This code is a file that a host opened: std and its hook belong to the plugin.
pub(crate) fn in_loaded_file() {
    LOADED.store(true, Ordering::Relaxed);
}

/// Panics from here on are lines in `host`'s log.
pub(crate) fn report_to(host: &Host) {
    if !LOADED.load(Ordering::Relaxed) {
        return;
    }
    *REPORTS_TO.lock().unwrap_or_else(PoisonError::into_inner) = Some(host.clone());
    panic::set_hook(Box::new(|panic| {
        let text = panic
            .payload_as_str()
            .map_or("a payload that is not text", |text| &text[..text.floor_char_boundary(1024)]);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let host = REPORTS_TO.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(host) = host {
            host.log(Level::Error, format_args!("panicked at {place}: {text}"));
        }
    }));
}

/// The instance has stopped: nothing of it may be held any longer.
pub(crate) fn report_to_nobody() {
    if LOADED.load(Ordering::Relaxed) {
        drop(panic::take_hook());
        REPORTS_TO.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
