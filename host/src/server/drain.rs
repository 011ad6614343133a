//! The end of the I/O threads: requests in flight are answered, within the drain time-out.
//!
//! ```text
//! Drain ──► no connection left ──► no call left ──► Finish ──────────► joined
//!   │                                                                    ▲
//!   └─ time-out or second signal ──► Hurry ──► (500 ms) ──► Cut ──► (500 ms)
//! ```
//!
//! A thread without connections continues to run until `Finish`: a call in flight on any thread of
//! the host may call an `inline` method, which only I/O threads run, and a connection may be on its
//! way from a thread that is being replaced.

use std::time::Duration;

use tokio::sync::watch;

use super::io_command::IoThreadCommand;
use super::io_thread::{IoThread, send_to_all};
use super::io_threads::IoThreads;
use crate::log::Counted;
use crate::routing::Dispatcher;
use crate::shutdown::ShutdownStage;

/// Interval between two checks whether the threads have returned.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Time for the last replies of an interrupted drain to leave the host. A peer that reads receives
/// them at once.
const LAST_REPLIES: Duration = Duration::from_millis(500);

/// Time for calls whose clients have hung up to end before the I/O threads do: as long as plugins
/// have to stop. Their results reach nobody, but they may call other methods to complete their
/// work.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Drains all I/O threads and joins them; a thread that a plugin blocks is left.
pub(super) async fn drain(
    io_threads: &IoThreads,
    dispatcher: &Dispatcher,
    mut shutdown: watch::Receiver<ShutdownStage>,
) {
    let in_flight = dispatcher.in_flight.held();
    let connections = dispatcher.connections.held();
    tracing::debug!(
        connections,
        in_flight,
        "draining: {}, {} in flight",
        Counted(connections, "connection"),
        Counted(in_flight, "request")
    );
    let threads = io_threads.drain();
    let timeout = dispatcher.rules.load().timeouts.drain;

    let why_interrupted = tokio::select! {
        () = finish(&threads, dispatcher, LAST_CALLS) => None,
        () = tokio::time::sleep(timeout) => Some("drain time-out"),
        _ = shutdown.wait_for(|stage| *stage == ShutdownStage::Cut) => Some("second signal"),
    };
    let unfinished = dispatcher.in_flight.held();

    if why_interrupted.is_some() {
        // Every request has one reply: those without a result are answered that their time is over.
        send_to_all(&threads, || IoThreadCommand::Hurry);
        dispatcher.deadlines.cut();
        let _ = tokio::time::timeout(LAST_REPLIES, finish(&threads, dispatcher, Duration::ZERO)).await;
    }
    send_to_all(&threads, || IoThreadCommand::Cut);
    let _ = tokio::time::timeout(LAST_REPLIES, wait_until(|| all_returned(&threads))).await;

    // A thread that an `inline` method blocks cannot be ended, and one that has returned may still
    // run destructors of plugins. Neither must keep the host from ending.
    let blocked = threads.iter().filter(|thread| !thread.has_returned()).count();
    let cut = threads.iter().map(IoThread::connections_cut).sum::<usize>();
    let _ = tokio::time::timeout(LAST_REPLIES, returned_have_ended(&threads)).await;
    io_threads.take_back(threads);

    if blocked > 0 {
        tracing::error!(
            threads = blocked,
            "{} still blocked by inline methods; their clients get no answer",
            Counted(blocked, "I/O thread")
        );
    }
    match why_interrupted {
        None => tracing::info!("all requests answered"),
        Some(why) => tracing::warn!(
            why,
            unfinished,
            connections_cut = cut,
            "stopped with {} and {} cut short ({why})",
            Counted(unfinished, "request"),
            Counted(cut, "connection")
        ),
    }
}

/// Waits until no connection is left, then for at most `last_calls` until no call is left, and ends
/// the threads.
async fn finish(threads: &[IoThread], dispatcher: &Dispatcher, last_calls: Duration) {
    let held = || dispatcher.connections.held() + dispatcher.admin_connections.held();
    // A connection holds its permit wherever it is, also on its way to another thread. Calls of the
    // program have no connection.
    wait_until(|| held() == 0 && dispatcher.in_flight.held() == 0).await;

    let calls = dispatcher.unfinished_calls();
    if calls > 0 && !last_calls.is_zero() {
        tracing::debug!(calls, "waiting for {} whose clients have hung up", Counted(calls, "call"));
        let _ = tokio::time::timeout(last_calls, wait_until(|| dispatcher.unfinished_calls() == 0)).await;
    }

    send_to_all(threads, || IoThreadCommand::Finish);
    wait_until(|| all_returned(threads)).await;
}

fn all_returned(threads: &[IoThread]) -> bool {
    threads.iter().all(IoThread::has_returned)
}

/// Waits until the threads have left the process, apart from those that are blocked.
async fn returned_have_ended(threads: &[IoThread]) {
    wait_until(|| threads.iter().all(|thread| !thread.has_returned() || thread.has_ended())).await;
}

async fn wait_until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
