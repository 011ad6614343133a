//! A worker process, from `main` to its end: a process of this program that runs one plugin for a
//! host.
//!
//! ```text
//!   main thread                            other threads
//!   isolate the channel, read Start,
//!   confine the process
//!      │────────────────────────────────► start: open, check, start, test; then Ready
//!   read the channel ─┬─ Call ──────────► NAME:N, NAME:async: run the method, write its End
//!                     ├─ Reply ─────────► the thread or the future that waits for it
//!                     ├─ Export, Import ► hand-over, take-over
//!                     ├─ Stop ──────────► stop, which ends the process
//!                     └─ end of file: SIGKILL
//! ```
//!
//! The main thread runs no code of the plugin once it reads the channel, so replies to nested calls
//! arrive while every thread of the plugin is busy.
//!
//! The host may end at any time, and the plugin may hang in any state. The end of file on the
//! channel therefore ends the process by a signal that no code can hold up. Nothing here is
//! restored or freed for its own sake: the end of the process does that.

mod channel_polling;
mod outgoing_calls;
mod phases;
mod received_calls;
mod serve;
mod services;
mod setup;
mod start;
mod target;
#[cfg(test)]
mod tests;
mod worker_channel;

use std::io::{self, Write as _};
use std::process::exit;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use self::channel_polling::ChannelPolling;
use self::outgoing_calls::OutgoingCalls;
use self::serve::{ChannelEnd, WorkerServer, read_spec};
use self::setup::Descriptors;
use self::worker_channel::WorkerChannel;
use crate::clock;
use crate::loader::LoadError;
use crate::loader::child_setup::{exit_without_parent, give_up};
use crate::worker::channel_reader::ChannelReader;
use crate::worker::confinement;
use crate::worker::message::WorkerMessage;

/// The largest message of the host, in bytes. The worker trusts its host, so this is no more than
/// the bound of the largest payload of the protocol.
const MAX_MESSAGE: usize = u32::MAX as usize;

/// Runs the worker if this process was started as one, and does not return then.
pub(crate) fn enter() {
    if setup::is_worker_process() {
        run();
    }
}

fn run() -> ! {
    let isolated = setup::isolate().unwrap_or_else(|error| give_up("isolate its channel", &error));
    let Descriptors { socket, plugin } = isolated;
    let mut reader = ChannelReader::new(Arc::clone(&socket), MAX_MESSAGE);
    let spec = read_spec(&mut reader).unwrap_or_else(|end| end_process(&end));
    exit_without_parent(spec.parent);
    clock::adopt_epoch(spec.epoch);
    setup::name_process(&spec.plugin);

    // Before any thread exists, because limits and sandbox apply only to threads that start later.
    let channel = Arc::new(WorkerChannel::new(socket, || end_process(&ChannelEnd::Closed)));
    let enforced = confinement::apply(&spec.limits, spec.sandbox.as_ref())
        .unwrap_or_else(|error| refuse(&channel, &error));

    let (threads, polling) = (spec.threads, ChannelPolling::new(Duration::from_nanos(spec.spin)));
    // Without it, each thread sends its messages itself.
    let _ = channel.start_flusher();
    let nested = OutgoingCalls::new(Arc::clone(&channel));
    let (sender, started) = mpsc::sync_channel(1);
    let starting = start::Starting {
        spec,
        plugin,
        enforced,
        channel: Arc::clone(&channel),
        nested: Arc::clone(&nested),
        started: sender,
    };
    if let Err(error) = starting.spawn(|channel, error| refuse(channel, error)) {
        refuse(&channel, &error);
    }

    let mut server = WorkerServer::new(channel, nested, started, threads, polling, || exit(0));
    end_process(&server.serve(&mut reader))
}

/// Reports why the plugin is not started, and ends the process.
fn refuse(channel: &WorkerChannel, error: &LoadError) -> ! {
    channel.send(&WorkerMessage::Refused { reason: error.reason.code(), detail: &error.detail });
    channel.finish();
    exit(0)
}

/// Ends the process at once, whatever its other threads do.
fn end_process(end: &ChannelEnd) -> ! {
    if !matches!(end, ChannelEnd::Closed) {
        let _ = writeln!(io::stderr(), "the worker process ends: {end}");
    }
    let _ = kill_process(getpid(), Signal::KILL);
    // Not reached: nothing can hold the signal up.
    exit(1)
}
