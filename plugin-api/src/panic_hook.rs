//! The panic hook of a loaded plugin: it reports panics, with their place in the source, in the
//! host's log.
//!
//! The hook does not know which call panicked. The host adds method and request to the line, and
//! does not log the panic again when the call ends. It also adds the backtrace: that of std would
//! map the plugin file a second time, which nothing unmaps when the code is closed.
//!
//! A loaded plugin has its own copy of std, and therefore its own panic hook. The default hook
//! writes to stderr and calls `thread::current()`. Code that is to be unloaded must not call that
//! on threads that outlive it, because it leaves a thread-local value behind.

use std::panic;

use crate::Level;
use crate::attached_host::attached;
use crate::failure_text::{NOT_TEXT, PANIC_LINE};

/// Upper bound for the logged panic text, in bytes.
const MAX_TEXT: usize = 1024;

/// Installs a hook that reports panics in the log of the attached host.
pub(crate) fn install() {
    panic::set_hook(Box::new(|panic| {
        let Some(host) = attached() else { return };
        let text =
            panic.payload_as_str().map_or(NOT_TEXT, |text| &text[..text.floor_char_boundary(MAX_TEXT)]);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();

        host.log(Level::Error, format_args!("{PANIC_LINE}{place}: {text}"));
    }));
}

/// Removes the hook.
pub(crate) fn remove() {
    drop(panic::take_hook());
}
