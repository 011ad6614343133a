//! Access control by listener: which users may connect to which socket. Replaced with the
//! configuration.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;

use crate::config::{AdminConfig, Allow, Listener};
use crate::log::printable;
use crate::metrics::PeerIdentity;

/// Interval between two log lines of the same kind, in milliseconds. A user who is not allowed may
/// try without end.
const LOG_INTERVAL: u64 = 1000;

/// The lists of the listeners that have one, and the log of denied users.
pub(crate) struct ListenerAcls {
    allowed: ArcSwap<FxHashMap<PathBuf, Arc<Allow>>>,

    /// The host's own user. It is always allowed, because the host checks its own health.
    own_uid: u32,

    started: Instant,
    connections: ThrottledWarning,
    requests: ThrottledWarning,
}

impl ListenerAcls {
    pub(super) fn new() -> Self {
        Self {
            allowed: ArcSwap::default(),
            own_uid: rustix::process::geteuid().as_raw(),
            started: Instant::now(),
            connections: ThrottledWarning::default(),
            requests: ThrottledWarning::default(),
        }
    }

    /// Replaces the lists by those of `listeners` and of the admin socket. Open connections stay
    /// open.
    ///
    /// A socket that is in the configuration no longer is served until a restart, and keeps its
    /// list.
    pub(crate) fn set(&self, listeners: &[Listener], admin: Option<&AdminConfig>) {
        let mut allowed = FxHashMap::clone(&self.allowed.load());
        let admin = admin.map(AdminConfig::listener);
        for listener in listeners.iter().chain(&admin) {
            match listener.allow.clone() {
                Some(allow) => allowed.insert(listener.socket.clone(), allow),
                None => allowed.remove(&listener.socket),
            };
        }
        self.allowed.store(Arc::new(allowed));
    }

    /// Returns whether a peer may connect to the socket at `path`. A peer that the kernel does not
    /// identify may connect only where there is no list.
    pub(crate) fn allows(&self, path: &Path, peer: Option<PeerIdentity>) -> bool {
        let allowed = self.allowed.load();
        let Some(allow) = allowed.get(path) else { return true };
        peer.is_some_and(|peer| peer.uid == self.own_uid || allow.allows(peer.uid, peer.gid))
    }

    /// Logs a connection that was denied, at most one per interval.
    pub(crate) fn log_denied_connection(&self, path: &Path, admin: bool, peer: Option<PeerIdentity>) {
        let Some(rejected) = self.connections.take_due(self.started) else { return };
        let (uid, gid, pid) = numbers(peer);
        let socket = path.display();
        let user = UserName(uid);

        if admin {
            tracing::warn!(
                %socket,
                uid,
                gid,
                pid,
                refused = rejected,
                "{socket}: connection of {user} rejected: not allowed on the admin socket, see admin.allow \
                 ({rejected} since the last report)"
            );
        } else {
            tracing::warn!(
                %socket,
                uid,
                gid,
                pid,
                refused = rejected,
                "{socket}: connection of {user} rejected: not in allow of the listener \
                 ({rejected} since the last report)"
            );
        }
    }

    /// Logs a request that was denied, at most one per interval. A route knows the method.
    pub(crate) fn log_denied_request(&self, conn: u64, method: &str, peer: Option<PeerIdentity>) {
        if let Some(rejected) = self.requests.take_due(self.started) {
            let (uid, gid, pid) = numbers(peer);
            let method = &*printable(method);
            let user = UserName(uid);
            tracing::warn!(
                conn,
                method,
                uid,
                gid,
                pid,
                refused = rejected,
                "{method}: request of {user} rejected: not in allow of the route \
                 ({rejected} since the last report)"
            );
        }
    }
}

/// Returns the peer's uid, gid and pid as log fields. Fields that are `None` are not written.
fn numbers(peer: Option<PeerIdentity>) -> (Option<u32>, Option<u32>, Option<u32>) {
    (peer.map(|peer| peer.uid), peer.map(|peer| peer.gid), peer.map(|peer| peer.pid))
}

/// The user of a peer in a message.
struct UserName(Option<u32>);

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(uid) => write!(f, "uid {uid}"),
            None => f.write_str("an unknown user"),
        }
    }
}

/// A warning that is logged at most once per interval, with the number of events since the last
/// time.
#[derive(Default)]
struct ThrottledWarning {
    /// When it was last logged, in milliseconds since the host started plus one; 0 means never.
    logged: AtomicU64,

    /// Events since then.
    events: AtomicU64,
}

impl ThrottledWarning {
    /// Counts an event. If the warning is due, returns the number of events to log.
    fn take_due(&self, started: Instant) -> Option<u64> {
        self.events.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let logged = self.logged.load(Ordering::Relaxed);
        if logged != 0 && now.saturating_sub(logged) < LOG_INTERVAL {
            return None;
        }
        // Of two threads that come here at the same time, one logs.
        self.logged.compare_exchange(logged, now, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        Some(self.events.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const STRANGER: PeerIdentity = PeerIdentity { uid: 4_000_000, gid: 4_000_000, pid: 1 };

    fn guarded(socket: &str) -> Listener {
        Listener { allow: Some(Arc::new(Allow::new([7], [8]))), ..Listener::at(socket) }
    }

    #[test]
    fn denies_a_stranger_on_a_socket_with_a_list_alone() {
        let acls = ListenerAcls::new();
        acls.set(&[guarded("run/guarded.sock"), Listener::at("run/open.sock")], None);
        for peer in [Some(STRANGER), None] {
            assert!(acls.allows(Path::new("run/open.sock"), peer));
            assert!(acls.allows(Path::new("run/unknown.sock"), peer));
            assert!(!acls.allows(Path::new("run/guarded.sock"), peer));
        }
    }

    #[test]
    fn allows_listed_users_and_groups_and_the_host_itself() {
        let acls = ListenerAcls::new();
        acls.set(&[guarded("run/guarded.sock")], None);
        for peer in [
            PeerIdentity { uid: 7, ..STRANGER },
            PeerIdentity { gid: 8, ..STRANGER },
            PeerIdentity { uid: acls.own_uid, ..STRANGER },
        ] {
            assert!(acls.allows(Path::new("run/guarded.sock"), Some(peer)), "{peer:?}");
        }
    }

    #[test]
    fn replaces_the_lists_with_the_configuration() {
        let acls = ListenerAcls::new();
        let path = Path::new("run/guarded.sock");
        acls.set(&[guarded("run/guarded.sock")], None);
        acls.set(&[Listener::at("run/guarded.sock")], None);
        assert!(acls.allows(path, Some(STRANGER)));
        acls.set(&[guarded("run/guarded.sock")], None);
        assert!(!acls.allows(path, Some(STRANGER)));
    }

    #[test]
    fn keeps_the_list_of_a_socket_that_is_served_until_a_restart() {
        let acls = ListenerAcls::new();
        acls.set(&[guarded("run/guarded.sock")], Some(&AdminConfig::default()));
        acls.set(&[Listener::at("run/other.sock")], None);
        for path in ["run/guarded.sock", "run/jackfield-admin.sock"] {
            assert!(!acls.allows(Path::new(path), Some(STRANGER)), "{path}");
        }
    }

    #[test]
    fn allows_root_and_listed_users_on_the_admin_socket() {
        let acls = ListenerAcls::new();
        let path = Path::new("run/jackfield-admin.sock");
        let of = |uid| Some(PeerIdentity { uid, ..STRANGER });
        acls.set(&[], Some(&AdminConfig::default()));
        assert!(acls.allows(path, of(0)) && acls.allows(path, of(acls.own_uid)));
        assert!(!acls.allows(path, of(7)) && !acls.allows(path, None));

        let allow = Some(Arc::new(Allow::new([7], [])));
        acls.set(&[], Some(&AdminConfig { allow, ..AdminConfig::default() }));
        assert!(acls.allows(path, of(0)) && acls.allows(path, of(7)));
        assert!(!acls.allows(path, of(8)));
    }

    #[test]
    fn logs_frequent_events_once_per_interval_with_their_number() {
        let warning = ThrottledWarning::default();
        let started = Instant::now();
        assert_eq!(warning.take_due(started), Some(1));
        assert!(
            (0..100).all(|_| warning.take_due(started).is_none()) || started.elapsed().as_millis() >= 1000
        );
        let later = started.checked_sub(Duration::from_secs(2)).unwrap();
        assert!(warning.take_due(later).is_some_and(|events| events > 1));
    }
}
