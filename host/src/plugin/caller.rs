//! The caller of a method, for logs.

use std::sync::Arc;

use crate::metrics::PeerIdentity;

/// The caller of a method.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A client. `peer` is `None` if the kernel did not report it.
    Client { connection: u64, peer: Option<PeerIdentity> },

    /// A plugin that makes a nested call.
    Plugin(Arc<str>),

    /// The program that embeds the host.
    Program,
}

impl Caller {
    /// Returns connection, uid and pid as log fields. Fields that are `None` are not written.
    pub(super) fn numbers(&self) -> (Option<u64>, Option<u32>, Option<u32>) {
        match self {
            Self::Client { connection, peer } => {
                (Some(*connection), peer.map(|peer| peer.uid), peer.map(|peer| peer.pid))
            }
            Self::Plugin(_) | Self::Program => (None, None, None),
        }
    }
}
