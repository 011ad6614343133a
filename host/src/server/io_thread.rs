//! A thread that serves connections: one reactor, one timer, one set of buffers, any number of connections.

use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};

use slab::Slab;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};

use super::io_threads::IoThreads;
use crate::clock::TimerQueue;
use crate::connection::{
    Connection, ConnectionEnd, ConnectionNotifier, ListenerOptions, MigratingConnection, ThreadContext,
};
use crate::crash_record::{RecordSlot, SlotSampler};
use crate::limits::Permit;
use crate::metrics::{ConnectionHandle, PeerIdentity};
use crate::plugin::PluginCall;
use crate::routing::{Dispatcher, mark_io_thread};
use crate::timer::KernelTimer;

/// A connection that was just accepted.
pub(super) struct AcceptedConnection {
    pub(super) number: u64,
    pub(super) stream: UnixStream,
    pub(super) manner: ListenerOptions,
    pub(super) peer: Option<PeerIdentity>,
    pub(super) permit: Permit,
}

/// What an I/O thread is told.
pub(super) enum IoThreadCommand {
    /// A new connection.
    Serve(AcceptedConnection),
    /// A connection of a thread that leaves.
    Resume(Box<MigratingConnection>),
    /// Say that orders are heard.
    Say(std::sync::mpsc::Sender<()>),
    /// An `inline` method for a thread that may not run it.
    Run(Arc<PluginCall>),
    /// Everything goes to those that serve from now on; end when it has.
    Leave(Arc<IoThreads>),
    /// Answer what is in flight, take nothing new, and end when no connection is left.
    Drain,
    /// Answer what is in flight now, as if its deadline had come.
    Hurry,
    /// End now.
    Cut,
}

impl IoThreadCommand {
    /// Whether any of the threads can do it.
    fn is_for_any(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Resume(_) | Self::Run(_))
    }
}

/// The way to one I/O thread.
#[derive(Clone)]
pub(super) struct IoThreadSender {
    orders: UnboundedSender<IoThreadCommand>,
    load: Arc<AtomicUsize>,
    held: Arc<AtomicBool>,
}

impl IoThreadSender {
    /// Whether an `inline` method has held it up for too long, and still does.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// How many connections it serves.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Tells it; gives the order back when the thread has ended.
    pub(super) fn send(&self, order: IoThreadCommand) -> Result<(), IoThreadCommand> {
        let connection = matches!(order, IoThreadCommand::Serve(_) | IoThreadCommand::Resume(_));
        if connection {
            self.load.fetch_add(1, Ordering::Relaxed);
        }
        self.orders.send(order).map_err(|unsent| {
            if connection {
                self.load.fetch_sub(1, Ordering::Relaxed);
            }
            unsent.0
        })
    }
}

/// One I/O thread, seen from outside.
pub(super) struct IoThread {
    /// Counts the I/O threads of this host.
    pub(super) number: u64,
    pub(super) orders: IoThreadSender,
    /// What it runs; `None` when it is one too many for the record.
    pub(super) watched: Option<SlotSampler>,
    thread: JoinHandle<usize>,
}

impl IoThread {
    pub(super) fn start(number: u64, dispatcher: Arc<Dispatcher>) -> io::Result<Self> {
        let (orders, received) = unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        // Without the runtime's timer: see the module `timer`.
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let timer = KernelTimer::new()?;
        let shared = Arc::clone(&load);
        let seat = dispatcher.recorder.seat();
        let watched = seat.as_ref().map(RecordSlot::watched);
        let thread = Builder::new().name(format!("io:{number}")).spawn(move || {
            mark_io_thread();
            RecordSlot::sit_down(seat);
            // What is waited for in the open is looked at whenever any task of the thread is woken: it had better be little.
            LocalSet::new().block_on(&runtime, async move {
                let serving =
                    tokio::task::spawn_local(IoThreadLoop::new(dispatcher, shared).run(received, timer));
                serving.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            })
        })?;
        Ok(Self { number, orders: IoThreadSender { orders, load, held: Arc::default() }, watched, thread })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread; gives back how many connections were cut.
    pub(super) fn join(self) -> usize {
        self.thread.join().unwrap_or(0)
    }
}

/// Where a connection of the thread has its poker, and how it left.
type EndedConnections = (usize, ConnectionEnd);

/// The thread from inside.
struct IoThreadLoop {
    thread: Rc<ThreadContext>,
    load: Arc<AtomicUsize>,
    connections: JoinSet<EndedConnections>,
    pokers: Slab<ConnectionNotifier>,
    /// Who takes over, once this thread leaves.
    successors: Option<Arc<IoThreads>>,
}

impl IoThreadLoop {
    fn new(dispatcher: Arc<Dispatcher>, load: Arc<AtomicUsize>) -> Self {
        let thread = ThreadContext::new(dispatcher, TimerQueue::default());
        Self { thread, load, connections: JoinSet::new(), pokers: Slab::new(), successors: None }
    }

    /// Serves to the end; gives back how many connections were cut.
    async fn run(mut self, mut orders: UnboundedReceiver<IoThreadCommand>, timer: KernelTimer) -> usize {
        let mut timer = tokio::task::spawn_local(self.thread.timers.clone().run(timer));
        let spin = tokio::task::spawn_local(super::busy_polling::spin(Rc::clone(&self.thread)));
        let cut = loop {
            let leaves = self.thread.is_draining.get() || self.successors.is_some();
            if leaves && self.connections.is_empty() {
                break 0;
            }
            tokio::select! {
                order = orders.recv() => match order {
                    Some(IoThreadCommand::Cut) | None => break self.connections.len(),
                    Some(order) => self.obey(order),
                },
                Some(ended) = self.connections.join_next() => match ended {
                    Ok(ended) => self.ended(ended),
                    Err(error) => {
                        // A connection that panicked is a fault of ours: it took its place with it.
                        self.load.fetch_sub(1, Ordering::Relaxed);
                        tracing::error!(%error, "a connection's task ended by itself");
                    }
                },
                ended = &mut timer => {
                    tracing::error!(?ended, "the timer of an I/O thread ended by itself");
                    break self.connections.len();
                }
            }
        };
        timer.abort();
        spin.abort();
        self.connections.shutdown().await;
        // What was sent before the thread was known to leave is not lost.
        orders.close();
        if let Some(successors) = &self.successors {
            while let Some(order) = orders.recv().await {
                // When all have ended, what is left is cut as they were.
                if let Err(IoThreadCommand::Resume(packed)) = successors.send(order) {
                    packed.cut(&self.thread);
                }
            }
        }
        cut
    }

    fn obey(&mut self, order: IoThreadCommand) {
        let order = match &self.successors {
            Some(successors) if order.is_for_any() => match successors.send(order) {
                Ok(()) => return,
                Err(order) => {
                    // The host ends, and they have ended already: what is here is served to its end here.
                    self.successors = None;
                    self.thread.is_leaving.set(false);
                    order
                }
            },
            _ => order,
        };
        match order {
            IoThreadCommand::Serve(AcceptedConnection { number, stream, manner, peer, permit }) => {
                let caller = ConnectionHandle::new(&self.thread.dispatcher.metrics, number, peer);
                let opened = tokio::net::UnixStream::from_std(stream);
                let (uid, pid) = (peer.map(|peer| peer.uid), peer.map(|peer| peer.pid));
                tracing::debug!(conn = number, uid, pid, "accepted");
                self.serve(
                    opened
                        .map(|stream| Connection::new(number, stream, &self.thread, manner, caller, permit)),
                );
            }
            IoThreadCommand::Resume(packed) => self.serve(Connection::resume(*packed, &self.thread)),
            // Who asked may have given up by now.
            IoThreadCommand::Say(heard) => drop(heard.send(())),
            IoThreadCommand::Run(call) => call.run_here(),
            IoThreadCommand::Leave(successors) => {
                self.successors = Some(successors);
                self.thread.is_leaving.set(true);
                self.poke();
            }
            IoThreadCommand::Drain => {
                self.thread.is_draining.set(true);
                self.poke();
            }
            IoThreadCommand::Hurry => {
                self.thread.is_hurrying.set(true);
                self.poke();
            }
            IoThreadCommand::Cut => {}
        }
    }

    fn poke(&self) {
        self.pokers.iter().for_each(|(_, poker)| poker.notify());
    }

    fn serve(&mut self, opened: io::Result<Connection>) {
        let connection = match opened {
            Ok(connection) => connection,
            Err(error) => {
                self.load.fetch_sub(1, Ordering::Relaxed);
                tracing::error!(%error, "a connection could not be watched");
                return;
            }
        };
        let place = self.pokers.insert(connection.notifier());
        self.connections.spawn_local(async move { (place, connection.serve().await) });
    }

    fn ended(&mut self, (place, left): EndedConnections) {
        drop(self.pokers.remove(place));
        match left {
            ConnectionEnd::Closed => {
                self.load.fetch_sub(1, Ordering::Relaxed);
            }
            ConnectionEnd::Migrates(packed) => self.obey(IoThreadCommand::Resume(packed)),
        }
    }
}
