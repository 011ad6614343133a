//! The entry of processes that the host starts from its own program: probes and workers.

use crate::loader::{self, ProbeEntry};
use crate::plugin;

/// Does the work of this process if a host has started it, and does not return then: it probes a
/// plugin, or it is the worker process of one. In every other process, it returns at once.
///
/// The host starts the program in which it is embedded again, as `/proc/self/exe` and without
/// arguments. A program that embeds the host therefore calls this function first in `main`:
///
/// - before it starts threads, because a worker limits and confines itself, and that applies only
///   to threads that start later;
/// - before it opens files and sockets, because a worker closes all descriptors that it does not
///   know;
/// - before it reads arguments or stdin and writes to stdout, which belong to the host in these
///   processes;
/// - without privileges that a worker must not have (such as capabilities that the program has from
///   its file), because the worker does not give them up.
///
/// Code that runs before `main`, such as constructors of libraries that the program links, must
/// follow the same rules.
#[must_use]
pub fn enter() -> ProbeEntry {
    let entry = loader::enter();
    plugin::enter_worker();
    entry
}
