//! A thread that serves connections: one reactor, one timer, one set of buffers, any number of connections.

use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};

use slab::Slab;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};

use crate::clock::Wakes;
use crate::connection::{Connection, Manner, Poker, Thread};
use crate::dispatch::Dispatcher;
use crate::limits::Permit;

/// A connection that was just accepted.
pub(super) struct Accepted {
    pub(super) number: u64,
    pub(super) stream: UnixStream,
    pub(super) manner: Manner,
    pub(super) permit: Permit,
}

enum Order {
    Serve(Accepted),
    Drain,
    Hurry,
    Cut,
}

/// One I/O thread, seen from outside.
pub(super) struct IoThread {
    orders: UnboundedSender<Order>,
    load: Arc<AtomicUsize>,
    thread: JoinHandle<usize>,
}

impl IoThread {
    pub(super) fn start(number: usize, dispatcher: Arc<Dispatcher>) -> io::Result<Self> {
        let (orders, received) = unbounded_channel();
        let load = Arc::new(AtomicUsize::new(0));
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let shared = Arc::clone(&load);
        let thread = Builder::new().name(format!("io:{number}")).spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, run(dispatcher, received, &shared))
        })?;
        Ok(Self { orders, load, thread })
    }

    /// How many connections it serves.
    pub(super) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(super) fn serve(&self, accepted: Accepted) {
        self.load.fetch_add(1, Ordering::Relaxed);
        self.send(Order::Serve(accepted));
    }

    /// Answer what is in flight, take nothing new, and end when no connection is left.
    pub(super) fn drain(&self) {
        self.send(Order::Drain);
    }

    /// Answer what is in flight now, as if its deadline had come.
    pub(super) fn hurry(&self) {
        self.send(Order::Hurry);
    }

    /// End now.
    pub(super) fn cut(&self) {
        self.send(Order::Cut);
    }

    fn send(&self, order: Order) {
        // The thread ends only after a drain, and a connection that comes then is closed by being dropped.
        let _ = self.orders.send(order);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread; gives back how many connections were cut.
    pub(super) fn join(self) -> usize {
        self.thread.join().unwrap_or(0)
    }
}

async fn run(
    dispatcher: Arc<Dispatcher>,
    mut orders: UnboundedReceiver<Order>,
    load: &Arc<AtomicUsize>,
) -> usize {
    let wakes = Wakes::default();
    let thread = Thread::new(dispatcher, wakes.clone());
    let mut timer = tokio::task::spawn_local(wakes.run());
    let mut connections: JoinSet<usize> = JoinSet::new();
    let mut pokers: Slab<Poker> = Slab::new();
    let mut draining = false;
    let cut = loop {
        if draining && connections.is_empty() {
            break 0;
        }
        let order = tokio::select! {
            order = orders.recv() => order,
            Some(ended) = connections.join_next() => {
                load.fetch_sub(1, Ordering::Relaxed);
                // A connection that panicked is a fault of ours: it took its place with it, and is logged as such.
                match ended {
                    Ok(place) => drop(pokers.remove(place)),
                    Err(error) => tracing::error!(%error, "a connection's task ended by itself"),
                }
                continue;
            }
            ended = &mut timer => {
                tracing::error!(?ended, "the timer of an I/O thread ended by itself");
                break connections.len();
            }
        };
        match order {
            Some(Order::Serve(accepted)) => {
                let Some(connection) = open(accepted, &thread) else {
                    load.fetch_sub(1, Ordering::Relaxed);
                    continue;
                };
                let place = pokers.insert(connection.poker());
                connections.spawn_local(async move {
                    connection.serve().await;
                    place
                });
            }
            Some(Order::Drain) => {
                draining = true;
                thread.draining.set(true);
                pokers.iter().for_each(|(_, poker)| poker.poke());
            }
            Some(Order::Hurry) => {
                thread.hurrying.set(true);
                pokers.iter().for_each(|(_, poker)| poker.poke());
            }
            Some(Order::Cut) | None => break connections.len(),
        }
    };
    timer.abort();
    connections.shutdown().await;
    cut
}

fn open(accepted: Accepted, thread: &Rc<Thread>) -> Option<Connection> {
    let Accepted { number, stream, manner, permit } = accepted;
    match tokio::net::UnixStream::from_std(stream) {
        Ok(stream) => {
            tracing::debug!(conn = number, "accepted");
            Some(Connection::new(number, stream, thread, manner, permit))
        }
        Err(error) => {
            tracing::error!(conn = number, %error, "a connection could not be watched");
            None
        }
    }
}
