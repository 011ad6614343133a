//! The phase of a host: starting, serving, draining.

use std::sync::atomic::{AtomicU8, Ordering};

/// The phase of a host. Each is entered once, in this order.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostPhase {
    Starting,
    Serving,
    Draining,
}

/// The current phase, shared by all threads.
pub(crate) struct PhaseCell(AtomicU8);

impl Default for PhaseCell {
    fn default() -> Self {
        Self(AtomicU8::new(HostPhase::Starting as u8))
    }
}

impl PhaseCell {
    pub(crate) fn enter(&self, phase: HostPhase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    /// Returns whether the host has started and does not drain.
    pub(crate) fn is_serving(&self) -> bool {
        self.0.load(Ordering::Acquire) == HostPhase::Serving as u8
    }

    /// Returns whether the host accepts no new requests any more.
    pub(super) fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire) == HostPhase::Draining as u8
    }

    /// Returns why clients should use another host in this phase; `None` while it serves.
    pub(super) fn unready_reason(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Acquire) {
            phase if phase == HostPhase::Serving as u8 => None,
            phase if phase == HostPhase::Draining as u8 => {
                Some("the host is draining: it answers requests in flight and accepts no new ones")
            }
            _ => Some("the host is starting: plugins are being loaded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_only_while_serving() {
        let phase = PhaseCell::default();
        assert!(phase.unready_reason().is_some_and(|reason| reason.starts_with("the host is starting")));
        assert!(!phase.is_serving());
        phase.enter(HostPhase::Serving);
        assert_eq!(phase.unready_reason(), None);
        assert!(phase.is_serving());
        phase.enter(HostPhase::Draining);
        assert!(!phase.is_serving());
        assert!(phase.unready_reason().is_some_and(|reason| reason.starts_with("the host is draining")));
    }
}
