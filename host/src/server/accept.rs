//! Accepting connections, and refusing those there is no room for in words they understand.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jackfield_protocol::{Kind, Version};
use rustix::io::Errno;
use tokio::net::UnixListener;

use super::io_thread::{Accepted, Order};
use super::listener::Bound;
use super::threads::Threads;
use crate::dispatch::{Asked, Dispatcher, Failure};

/// How long to wait when the process or the system has no descriptor left: connections end in the meantime.
const BREATHER: Duration = Duration::from_millis(50);

/// Counts connections, for logs.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// One socket that is accepted from.
pub(super) struct Acceptor {
    listener: UnixListener,
    bound: Bound,
    dispatcher: Arc<Dispatcher>,
    threads: Arc<Threads>,
}

impl Acceptor {
    /// Must be called inside the runtime that will accept.
    pub(super) fn new(
        mut bound: Bound,
        dispatcher: Arc<Dispatcher>,
        threads: Arc<Threads>,
    ) -> io::Result<Self> {
        let listener = UnixListener::from_std(bound.take_listener()?)?;
        Ok(Self { listener, bound, dispatcher, threads })
    }

    /// Accepts for ever.
    pub(super) async fn run(&self) {
        let mut starving = false;
        loop {
            // Its own reactor is the I/O thread's: what was accepted here is handed over as a plain socket.
            match self.listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => {
                    starving = false;
                    self.place(stream);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if !starving {
                        let socket = self.bound.path().display();
                        tracing::error!(%socket, %error, "connections cannot be accepted; trying again");
                    }
                    starving = true;
                    tokio::time::sleep(BREATHER).await;
                }
            }
        }
    }

    /// No further client can come; those who came already are accepted, and told what they must know. The queue of
    /// an inherited socket is left alone: the next host answers it.
    pub(super) async fn close(self) {
        if self.bound.is_inherited() {
            return;
        }
        self.bound.unlink();
        let queue = async {
            while let Ok((stream, _)) = self.listener.accept().await {
                if let Ok(stream) = stream.into_std() {
                    self.place(stream);
                }
            }
        };
        tokio::select! {
            biased;
            // All of it in one go: tokio would have a task pause after some, and take the pause for the end.
            () = tokio::task::unconstrained(queue) => {}
            // Polled only once the queue is empty.
            () = std::future::ready(()) => {}
        }
    }

    fn place(&self, stream: UnixStream) {
        let counters = &self.dispatcher.counters;
        let manner = self.bound.manner();
        let permits = if manner.admin { &self.dispatcher.operators } else { &self.dispatcher.connections };
        let Some(permit) = permits.take() else {
            counters.connections_refused.add(1);
            let mut notice = Vec::new();
            let asked =
                Asked { framing: manner.framing, version: Version::V1_0, kind: Kind::Error, id: None };
            asked.fail(&mut notice, &Failure::Overloaded("too many connections"));
            // A new socket's buffer has room for a line; a client that is gone already needs none.
            let _ = (&stream).write_all(&notice);
            return;
        };
        counters.connections.add(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Dropped, and so closed, when the host has ended: it was the last moment to come.
        let _ = self.threads.send(Order::Serve(Accepted { number, stream, manner, permit }));
    }
}

/// The client went before it was accepted, or a signal came: nothing is wrong with the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM))
}
