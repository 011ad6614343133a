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

use super::threads::Threads;
use crate::clock::Wakes;
use crate::connection::{Connection, Left, Manner, Packed, Poker, Thread};
use crate::dispatch::{Dispatcher, mark_io_thread};
use crate::limits::Permit;
use crate::metrics::{Caller, Peer};
use crate::plugin::Call;
use crate::recorder::{Seat, Watched};
use crate::timer::Timer;

/// A connection that was just accepted.
pub(super) struct Accepted {
    pub(super) number: u64,
    pub(super) stream: UnixStream,
    pub(super) manner: Manner,
    pub(super) peer: Option<Peer>,
    pub(super) permit: Permit,
}

/// What an I/O thread is told.
pub(super) enum Order {
    /// A new connection.
    Serve(Accepted),
    /// A connection of a thread that leaves.
    Resume(Box<Packed>),
    /// Say that orders are heard.
    Say(std::sync::mpsc::Sender<()>),
    /// An `inline` method for a thread that may not run it.
    Run(Arc<Call>),
    /// Everything goes to those that serve from now on; end when it has.
    Leave(Arc<Threads>),
    /// Answer what is in flight, take nothing new, and end when no connection is left.
    Drain,
    /// Answer what is in flight now, as if its deadline had come.
    Hurry,
    /// End now.
    Cut,
}

impl Order {
    /// Whether any of the threads can do it.
    fn is_for_any(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Resume(_) | Self::Run(_))
    }
}

/// The way to one I/O thread.
#[derive(Clone)]
pub(super) struct Orders {
    orders: UnboundedSender<Order>,
    load: Arc<AtomicUsize>,
    held: Arc<AtomicBool>,
}

impl Orders {
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
    pub(super) fn send(&self, order: Order) -> Result<(), Order> {
        let connection = matches!(order, Order::Serve(_) | Order::Resume(_));
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
    pub(super) orders: Orders,
    /// What it runs; `None` when it is one too many for the record.
    pub(super) watched: Option<Watched>,
    thread: JoinHandle<usize>,
}

impl IoThread {
    pub(super) fn start(number: u64, dispatcher: Arc<Dispatcher>) -> io::Result<Self> {
        let (orders, received) = unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        // Without the runtime's timer: see the module `timer`.
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let timer = Timer::new()?;
        let shared = Arc::clone(&load);
        let seat = dispatcher.recorder.seat();
        let watched = seat.as_ref().map(Seat::watched);
        let thread = Builder::new().name(format!("io:{number}")).spawn(move || {
            mark_io_thread();
            Seat::sit_down(seat);
            // What is waited for in the open is looked at whenever any task of the thread is woken: it had better be little.
            LocalSet::new().block_on(&runtime, async move {
                let serving = tokio::task::spawn_local(Serving::new(dispatcher, shared).run(received, timer));
                serving.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            })
        })?;
        Ok(Self { number, orders: Orders { orders, load, held: Arc::default() }, watched, thread })
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
type Ended = (usize, Left);

/// The thread from inside.
struct Serving {
    thread: Rc<Thread>,
    load: Arc<AtomicUsize>,
    connections: JoinSet<Ended>,
    pokers: Slab<Poker>,
    /// Who takes over, once this thread leaves.
    successors: Option<Arc<Threads>>,
}

impl Serving {
    fn new(dispatcher: Arc<Dispatcher>, load: Arc<AtomicUsize>) -> Self {
        let thread = Thread::new(dispatcher, Wakes::default());
        Self { thread, load, connections: JoinSet::new(), pokers: Slab::new(), successors: None }
    }

    /// Serves to the end; gives back how many connections were cut.
    async fn run(mut self, mut orders: UnboundedReceiver<Order>, timer: Timer) -> usize {
        let mut timer = tokio::task::spawn_local(self.thread.wakes.clone().run(timer));
        let spin = tokio::task::spawn_local(super::spin::spin(Rc::clone(&self.thread)));
        let cut = loop {
            let leaves = self.thread.draining.get() || self.successors.is_some();
            if leaves && self.connections.is_empty() {
                break 0;
            }
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Cut) | None => break self.connections.len(),
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
                if let Err(Order::Resume(packed)) = successors.send(order) {
                    packed.lose(&self.thread);
                }
            }
        }
        cut
    }

    fn obey(&mut self, order: Order) {
        let order = match &self.successors {
            Some(successors) if order.is_for_any() => match successors.send(order) {
                Ok(()) => return,
                Err(order) => {
                    // The host ends, and they have ended already: what is here is served to its end here.
                    self.successors = None;
                    self.thread.leaving.set(false);
                    order
                }
            },
            _ => order,
        };
        match order {
            Order::Serve(Accepted { number, stream, manner, peer, permit }) => {
                let caller = Caller::new(&self.thread.dispatcher.metrics, number, peer);
                let opened = tokio::net::UnixStream::from_std(stream);
                let (uid, pid) = (peer.map(|peer| peer.uid), peer.map(|peer| peer.pid));
                tracing::debug!(conn = number, uid, pid, "accepted");
                self.serve(
                    opened
                        .map(|stream| Connection::new(number, stream, &self.thread, manner, caller, permit)),
                );
            }
            Order::Resume(packed) => self.serve(Connection::unpack(*packed, &self.thread)),
            // Who asked may have given up by now.
            Order::Say(heard) => drop(heard.send(())),
            Order::Run(call) => call.run_here(),
            Order::Leave(successors) => {
                self.successors = Some(successors);
                self.thread.leaving.set(true);
                self.poke();
            }
            Order::Drain => {
                self.thread.draining.set(true);
                self.poke();
            }
            Order::Hurry => {
                self.thread.hurrying.set(true);
                self.poke();
            }
            Order::Cut => {}
        }
    }

    fn poke(&self) {
        self.pokers.iter().for_each(|(_, poker)| poker.poke());
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
        let place = self.pokers.insert(connection.poker());
        self.connections.spawn_local(async move { (place, connection.serve().await) });
    }

    fn ended(&mut self, (place, left): Ended) {
        drop(self.pokers.remove(place));
        match left {
            Left::Closed(_) => {
                self.load.fetch_sub(1, Ordering::Relaxed);
            }
            Left::Moves(packed) => self.obey(Order::Resume(packed)),
        }
    }
}
