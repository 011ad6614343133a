//! Calls that run past their deadline and thereby lose a thread of their generation: how they are
//! reported, and what becomes of the thread.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::call::{Call, CallTarget};
use super::caller::Caller;
use super::plugin_thread::ThreadSpawner;
use crate::log::printable;
use crate::system_failure::WithRemedy;

/// The fate of a lost thread.
pub(super) enum Replacement {
    /// Another thread serves in its place.
    Replaced,

    /// `spare_threads` other threads are lost and replaced already.
    NoSpareThread,

    /// The system cannot start another thread.
    Failed(io::Error),
}

/// A call whose thread was found to be lost.
pub(super) struct LostCall<G: CallTarget> {
    pub(super) call: Arc<Call<G>>,
    pub(super) replacement: Replacement,

    /// Lost threads of this kind, this one included.
    pub(super) lost: usize,
}

impl<G: CallTarget> LostCall<G> {
    /// Logs the call. If its caller has gone, nothing else notices that the deadline has passed, so
    /// this also records the time-out.
    pub(super) fn report(&self, spawner: &ThreadSpawner) {
        self.log(spawner);
        if self.call.is_abandoned() {
            self.call.generation.record_abandoned_timeout(&self.call.facts);
        }
    }

    fn log(&self, spawner: &ThreadSpawner) {
        let Self { call, replacement, lost } = self;
        let ThreadSpawner { plugin, generation, .. } = spawner;
        let plugin = &**plugin;
        let (conn, uid, pid) = call.caller.numbers();
        let gone = call.is_abandoned();
        let method = call.generation.method_name(call.method);
        let id = call.facts.id.known().map(printable);
        let id = id.as_deref();
        let call = Description { method, id, caller: &call.caller, is_gone: gone };

        match replacement {
            Replacement::Replaced => tracing::warn!(
                plugin,
                generation,
                method,
                id,
                conn,
                uid,
                pid,
                gone,
                lost,
                "plugin {plugin}: {call} runs past its deadline; thread replaced, {lost} stuck"
            ),
            Replacement::NoSpareThread => tracing::error!(
                plugin,
                generation,
                method,
                id,
                conn,
                uid,
                pid,
                gone,
                lost,
                "plugin {plugin}: {call} runs past its deadline; thread not replaced \
                 (all plugin.{plugin}.spare_threads are in use), {lost} stuck"
            ),
            Replacement::Failed(error) => tracing::error!(
                plugin,
                generation,
                method,
                id,
                conn,
                uid,
                pid,
                gone,
                lost,
                error = %WithRemedy(error),
                "plugin {plugin}: {call} runs past its deadline; cannot replace its thread: {error}; \
                 {lost} stuck",
                error = WithRemedy(error)
            ),
        }
    }
}

/// Logs that a lost thread has returned. `lost` is the number of those that have not.
pub(super) fn log_return(spawner: &ThreadSpawner, lost: usize) {
    let ThreadSpawner { plugin, generation, .. } = spawner;
    tracing::info!(
        plugin = &**plugin,
        generation,
        lost,
        "plugin {plugin}: a stuck thread has returned, {lost} still stuck"
    );
}

/// A call in a message: `METHOD (request ID, CALLER)`.
struct Description<'a> {
    method: &'a str,

    /// Already sanitized; `None` if the request has none.
    id: Option<&'a str>,

    caller: &'a Caller,
    is_gone: bool,
}

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.method)?;
        if let Some(id) = self.id {
            write!(f, "request {id}, ")?;
        }

        match self.caller {
            Caller::Client { connection, peer } => {
                write!(f, "connection {connection}")?;
                if let Some(peer) = peer {
                    write!(f, ", uid {}, pid {}", peer.uid, peer.pid)?;
                }
                f.write_str(if self.is_gone { ", client gone)" } else { ")" })
            }
            Caller::Plugin(name) => {
                write!(f, "called by plugin {name}")?;
                f.write_str(if self.is_gone { ", which no longer waits)" } else { ")" })
            }
            Caller::Program => {
                f.write_str("called by the program")?;
                f.write_str(if self.is_gone { ", which no longer waits)" } else { ")" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::PeerIdentity;

    #[test]
    fn describes_a_call_by_its_method_request_and_caller() {
        let peer = Some(PeerIdentity { pid: 7, uid: 8, gid: 9 });
        let client = |peer| Caller::Client { connection: 3, peer };
        let plugin = Caller::Plugin("calls".into());
        for (id, caller, is_gone, text) in [
            (Some("a"), client(peer), false, "p.m (request a, connection 3, uid 8, pid 7)"),
            (None, client(peer), true, "p.m (connection 3, uid 8, pid 7, client gone)"),
            (None, client(None), false, "p.m (connection 3)"),
            (Some("a"), plugin.clone(), false, "p.m (request a, called by plugin calls)"),
            (None, Caller::Program, false, "p.m (called by the program)"),
            (Some("a"), plugin, true, "p.m (request a, called by plugin calls, which no longer waits)"),
        ] {
            assert_eq!(Description { method: "p.m", id, caller: &caller, is_gone }.to_string(), text);
        }
    }
}
