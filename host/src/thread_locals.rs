//! Touches the thread-locals with destructors that code of the host uses.
//!
//! The first use of such a thread-local registers its destructor, and for that glibc takes the lock
//! of the dynamic loader (`__cxa_thread_atexit_impl`). That lock is held while constructors of a
//! plugin run in `dlopen`, and destructors in `dlclose`. A thread that used one for the first time
//! while it serves would wait for that code, without a limit if the code hangs.
//!
//! It can make other threads wait as well: tokio marks a task as woken before it uses a
//! thread-local to schedule it, so that no other thread schedules the task meanwhile.
//!
//! Each thread of the host therefore uses all of them once before it serves. The end-to-end test
//! `containment::thread_locals` finds thread-locals that are missing here.

use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::LocalSet;
use tracing::Dispatch;
use uuid::Uuid;

use crate::{crash_record, log};

/// Touches the thread-locals of this thread that code of the host uses.
///
/// The host calls it on its own threads. A program that embeds the host calls it on those threads
/// that must not wait while a plugin is loaded or unloaded, for example on a thread that feeds a
/// watchdog. It may block for that long itself.
pub fn touch() {
    static ANY: LazyLock<ArcSwap<()>> = LazyLock::new(ArcSwap::default);

    // The debt node of arc-swap.
    drop(ANY.load());

    // The waiting context of standard channels. A channel without room uses it on every receive,
    // even if the time-out is zero.
    let (_sender, receiver) = mpsc::sync_channel::<()>(0);
    let _ = receiver.recv_timeout(Duration::ZERO);

    // The context of tokio, and that of its local tasks, which a thread uses to wake a task of an
    // I/O thread.
    let _ = tokio::runtime::Handle::try_current();
    drop(LocalSet::new());

    // The random numbers of request ids.
    let _ = Uuid::new_v4();

    // The default dispatcher of tracing, which is consulted as long as a thread of the process has
    // a dispatcher of its own.
    tracing::dispatcher::with_default(&Dispatch::none(), || ());

    log::touch_thread_locals();
    crash_record::touch_thread_local();
}
