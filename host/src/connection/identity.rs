//! The identity of a connection: its number, its peer, and the listener that accepted it.

use std::sync::Arc;

use jackfield_plugin_api::abi::{CallerFacts, Credentials, Origin};
use jackfield_protocol::Framing;

use crate::config::LineOptions;
use crate::metrics::PeerIdentity;
use crate::plugin::Caller;

/// The options of a listener that apply to each of its connections.
#[derive(Debug, Clone)]
pub(crate) struct ListenerOptions {
    pub(crate) framing: Framing,
    /// The options of line framing.
    pub(crate) line: Arc<LineOptions>,
    /// Whether a connection ends after its first reply.
    pub(crate) close_after_reply: bool,
    /// Whether the requests come from other machines, through a proxy.
    pub(crate) remote: bool,
    /// The path of the socket, as a method sees it in its caller.
    pub(crate) listener: Arc<str>,
    /// Whether the listener is the admin socket, which reaches the methods for operators.
    pub(crate) admin: bool,
}

impl ListenerOptions {
    /// Returns what the methods learn about a peer of this listener.
    pub(super) fn origin_of(&self, peer: Option<PeerIdentity>) -> Arc<CallerFacts> {
        let listener = Arc::clone(&self.listener);
        if self.remote {
            return CallerFacts::new(Origin::Remote { listener });
        }
        let credentials = peer.map(|PeerIdentity { uid, gid, pid }| Credentials { uid, gid, pid });
        CallerFacts::new(Origin::Local { listener, credentials })
    }
}

/// The properties of a connection that never change.
#[derive(Debug, Clone)]
pub(super) struct ConnectionIdentity {
    /// The number that logs show.
    pub(super) number: u64,
    /// `None` if the kernel did not report the peer.
    pub(super) peer: Option<PeerIdentity>,
    /// The same for methods that ask who calls them.
    pub(super) origin: Arc<CallerFacts>,
    pub(super) options: ListenerOptions,
}

impl ConnectionIdentity {
    /// Returns the peer as the caller of a method.
    pub(super) fn caller(&self) -> Caller {
        Caller::Client { connection: self.number, peer: self.peer }
    }

    /// Returns the peer that the lists of routes apply to. A proxy is not the sender, so
    /// its credentials permit nothing.
    pub(super) fn peer_of_requests(&self) -> Option<PeerIdentity> {
        self.peer.filter(|_| !self.options.remote)
    }
}
