//! Limits how often this process loads plugins with static thread-local storage (TLS).
//!
//! Code that was built with the initial-exec TLS model finds its thread-local variables at a fixed
//! distance from the thread pointer. glibc reserves a surplus of about 1.7 KiB for the variables of
//! all such libraries that are opened later. A reload opens the new file before the old one is
//! closed, and glibc then never returns the part of the old one. When the surplus is used up, no
//! such file can be opened any more: neither the plugin that used it up, nor another one.
//!
//! This process therefore counts the loads and refuses the next one before that happens. Libraries
//! that a plugin is linked with are not seen. The dynamic loader opens them once for as long as a
//! generation needs them.

use std::sync::Mutex;

use super::inspection::Inspection;
use super::load_error::{LoadError, LoadErrorReason};
use crate::sync::lock;

/// Upper bound for the loads of one process.
const MAX_LOADS: u32 = 6;

/// Upper bound for the static TLS of all loads, in bytes. It bounds the number of loads of a plugin
/// that has more than 256 bytes. glibc 2.36 has about 1,700; the rest is for system libraries.
const MAX_BYTES: u64 = 1536;

/// The loads of this process so far, those whose code was closed included.
static USED: Mutex<StaticTlsUsage> = Mutex::new(StaticTlsUsage { loads: 0, bytes: 0 });

/// The static TLS that loads have used.
#[derive(Debug)]
struct StaticTlsUsage {
    loads: u32,
    bytes: u64,
}

impl StaticTlsUsage {
    /// Returns the usage after one more load with this many bytes; `None` if it must not happen.
    ///
    /// The first load is not limited in its size: the dynamic loader decides about it, in the
    /// probe.
    fn after_load(&self, size: u64) -> Option<Self> {
        let loads = self.loads + 1;
        let bytes = self.bytes.saturating_add(size);
        (loads <= MAX_LOADS && (loads == 1 || bytes <= MAX_BYTES)).then_some(Self { loads, bytes })
    }
}

/// Checks that the plugin may be loaded, as far as its static TLS is concerned.
pub(super) fn check(inspection: &Inspection) -> Result<(), LoadError> {
    let Some(size) = inspection.static_tls else { return Ok(()) };

    let used = lock(&USED);
    used.after_load(size).map(drop).ok_or_else(|| exhausted(&used, size))
}

/// Counts a load of the plugin, which follows at once, and warns if it uses static TLS.
pub(super) fn count_load(inspection: &Inspection) -> Result<(), LoadError> {
    let Some(size) = inspection.static_tls else { return Ok(()) };

    let mut used = lock(&USED);
    *used = used.after_load(size).ok_or_else(|| exhausted(&used, size))?;
    let loads = used.loads;
    drop(used);

    let plugin = &inspection.name;
    tracing::warn!(
        plugin,
        loads,
        bytes = size,
        "plugin {plugin} has static thread-local storage ({size} bytes): load {loads} of at most {MAX_LOADS} in \
         this process; build it with another TLS model (-ftls-model=global-dynamic)"
    );
    Ok(())
}

fn exhausted(used: &StaticTlsUsage, size: u64) -> LoadError {
    let StaticTlsUsage { loads, bytes } = used;
    let detail = format_args!(
        "the plugin has static thread-local storage ({size} bytes), which the dynamic loader does not reuse, and this \
         process has loaded {loads} such files ({bytes} bytes), as many as may; restart the host, and build the plugin \
         with another TLS model (-ftls-model=global-dynamic)"
    );
    LoadError::new(LoadErrorReason::StaticTlsExhausted, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many loads of this size are permitted.
    fn permitted_loads(size: u64) -> u32 {
        let mut used = StaticTlsUsage { loads: 0, bytes: 0 };
        while let Some(after) = used.after_load(size) {
            used = after;
        }
        used.loads
    }

    #[test]
    fn permits_six_loads_and_fewer_of_large_files() {
        for (size, loads) in [(8, 6), (256, 6), (257, 5), (512, 3), (800, 1), (4096, 1), (u64::MAX, 1)] {
            assert_eq!(permitted_loads(size), loads, "{size}");
        }
    }
}
