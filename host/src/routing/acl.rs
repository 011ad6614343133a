//! Who may come in by which listener, replaced with the configuration; and the log of who was sent away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;

use crate::config::{Allow, Listener};
use crate::log::printable;
use crate::metrics::PeerIdentity;

/// How often one kind of refusal is logged at most, in milliseconds: whoever is refused may try without end.
const SELDOM: u64 = 1000;

/// The lists of the listeners that have one, and what became of those who are on none.
pub(crate) struct ListenerAcls {
    allowed: ArcSwap<FxHashMap<PathBuf, Arc<Allow>>>,
    /// The host's own user, who always may: the host asks itself whether it answers.
    us: u32,
    begun: Instant,
    connections: ThrottledWarning,
    requests: ThrottledWarning,
}

impl ListenerAcls {
    pub(super) fn new() -> Self {
        Self {
            allowed: ArcSwap::default(),
            us: rustix::process::geteuid().as_raw(),
            begun: Instant::now(),
            connections: ThrottledWarning::default(),
            requests: ThrottledWarning::default(),
        }
    }

    /// As these listeners say from now on. Connections that are open stay open.
    pub(crate) fn set(&self, listeners: &[Listener]) {
        let allowed = listeners
            .iter()
            .filter_map(|listener| Some((listener.socket.clone(), listener.allow.clone()?)))
            .collect();
        self.allowed.store(Arc::new(allowed));
    }

    /// Whether a peer may connect to the socket at `path`. One whom the kernel does not name may only where
    /// everybody may.
    pub(crate) fn lets(&self, path: &Path, peer: Option<PeerIdentity>) -> bool {
        let allowed = self.allowed.load();
        let Some(allow) = allowed.get(path) else { return true };
        peer.is_some_and(|peer| peer.uid == self.us || allow.allows(peer.uid, peer.gid))
    }

    /// A connection was refused.
    pub(crate) fn tell_of_connection(&self, path: &Path, peer: Option<PeerIdentity>) {
        if let Some(refused) = self.connections.is_due(self.begun) {
            let (uid, gid, pid) = numbers(peer);
            let socket = path.display();
            tracing::warn!(%socket, uid, gid, pid, refused, "a connection is refused: its user is not allowed");
        }
    }

    /// A request was refused; a route knows its method.
    pub(crate) fn tell_of_request(&self, conn: u64, method: &str, peer: Option<PeerIdentity>) {
        if let Some(refused) = self.requests.is_due(self.begun) {
            let (uid, gid, pid) = numbers(peer);
            let method = &*printable(method);
            tracing::warn!(
                conn,
                method,
                uid,
                gid,
                pid,
                refused,
                "a request is refused: its user is not allowed"
            );
        }
    }
}

/// As log fields; `None` are left out.
fn numbers(peer: Option<PeerIdentity>) -> (Option<u32>, Option<u32>, Option<u32>) {
    (peer.map(|peer| peer.uid), peer.map(|peer| peer.gid), peer.map(|peer| peer.pid))
}

/// Something that is said now and then, with how often it happened since it was said.
#[derive(Default)]
struct ThrottledWarning {
    /// Milliseconds since the host began, one more than there were: 0 is never.
    said: AtomicU64,
    unsaid: AtomicU64,
}

impl ThrottledWarning {
    /// It happened once more; how often since it was last said, if it is to be said now.
    fn is_due(&self, begun: Instant) -> Option<u64> {
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let said = self.said.load(Ordering::Relaxed);
        if said != 0 && now.saturating_sub(said) < SELDOM {
            return None;
        }
        // Of two threads that come here at once, one says it.
        self.said.compare_exchange(said, now, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: PeerIdentity = PeerIdentity { uid: 4_000_000, gid: 4_000_000, pid: 1 };

    #[test]
    fn a_list_is_for_its_own_socket() {
        let doors = ListenerAcls::new();
        let guarded =
            Listener { allow: Some(Arc::new(Allow::new([7], [8]))), ..Listener::at("run/guarded.sock") };
        doors.set(&[guarded, Listener::at("run/open.sock")]);
        let (guarded, open) = (Path::new("run/guarded.sock"), Path::new("run/open.sock"));
        assert!(doors.lets(open, Some(STRANGER)) && doors.lets(open, None));
        assert!(!doors.lets(guarded, Some(STRANGER)) && !doors.lets(guarded, None));
        for peer in [
            PeerIdentity { uid: 7, ..STRANGER },
            PeerIdentity { gid: 8, ..STRANGER },
            PeerIdentity { uid: doors.us, ..STRANGER },
        ] {
            assert!(doors.lets(guarded, Some(peer)), "{peer:?}");
        }
        doors.set(&[Listener::at("run/guarded.sock")]);
        assert!(doors.lets(guarded, Some(STRANGER)));
    }

    #[test]
    fn what_happens_often_is_said_once_and_counted() {
        let (seldom, begun) = (ThrottledWarning::default(), Instant::now());
        assert_eq!(seldom.is_due(begun), Some(1));
        assert!((0..100).all(|_| seldom.is_due(begun).is_none()) || begun.elapsed().as_millis() >= 1000);
        let later = begun.checked_sub(std::time::Duration::from_secs(2)).unwrap();
        assert!(seldom.is_due(later).is_some_and(|refused| refused > 1));
    }
}
