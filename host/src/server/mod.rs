//! Sockets, the threads that serve them, and the end of both: stop accepting, answer what is in flight, go.

mod accept;
mod io_thread;
mod listener;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::accept::Acceptor;
use self::io_thread::IoThread;
pub use self::listener::BindError;
use self::listener::{Bound, Claim};
use crate::config::Listener;
use crate::dispatch::Dispatcher;

/// How often a drain looks whether the threads have ended.
const LOOK: Duration = Duration::from_millis(2);

/// How long the last answers of a drain that was ended may take to leave: a peer that reads has them at once.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How the host is asked to end; each step includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// Not at all.
    Serve,
    /// Answer what is in flight, within the drain time-out.
    Drain,
    /// Now.
    Cut,
}

/// The sockets' names, claimed before anything costly is done.
pub(crate) struct Claims(Vec<Claim>);

impl Claims {
    pub(crate) fn take(listeners: &[Listener]) -> Result<Self, BindError> {
        listeners.iter().map(Claim::take).collect::<Result<_, _>>().map(Self)
    }

    /// Binds every socket; clients can connect from here on.
    pub(crate) fn bind(self) -> Result<Sockets, BindError> {
        self.0.into_iter().map(Claim::bind).collect::<Result<_, _>>().map(Sockets)
    }
}

/// Sockets that listen.
pub(crate) struct Sockets(Vec<Bound>);

/// The I/O threads, waiting for connections.
pub(crate) struct Server {
    threads: Arc<Vec<IoThread>>,
    dispatcher: Arc<Dispatcher>,
}

impl Server {
    pub(crate) fn start(threads: usize, dispatcher: &Arc<Dispatcher>) -> io::Result<Self> {
        let threads = (0..threads)
            .map(|number| IoThread::start(number, Arc::clone(dispatcher)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { threads: Arc::new(threads), dispatcher: Arc::clone(dispatcher) })
    }

    /// Serves the sockets until told to end, then drains. Runs in a runtime of its own.
    pub(crate) async fn run(self, sockets: Sockets, mut ending: watch::Receiver<Ending>) -> io::Result<()> {
        let mut acceptors: JoinSet<()> = JoinSet::new();
        let accepting = sockets
            .0
            .into_iter()
            .map(|bound| Acceptor::new(bound, Arc::clone(&self.dispatcher), Arc::clone(&self.threads)))
            .collect::<io::Result<Vec<_>>>()?;
        let accepting: Vec<_> = accepting.into_iter().map(Arc::new).collect();
        for acceptor in &accepting {
            let acceptor = Arc::clone(acceptor);
            acceptors.spawn(async move { acceptor.run().await });
        }
        // The sender going away is an end as well.
        let _ = ending.wait_for(|ending| *ending > Ending::Serve).await;
        acceptors.shutdown().await;
        for acceptor in accepting.into_iter().filter_map(Arc::into_inner) {
            acceptor.close().await;
        }
        self.drain(ending).await;
        Ok(())
    }

    async fn drain(self, mut ending: watch::Receiver<Ending>) {
        let in_flight = self.dispatcher.in_flight.held();
        let connections = self.dispatcher.connections.held();
        tracing::info!(connections, in_flight, "draining");
        self.threads.iter().for_each(IoThread::drain);
        let timeout = self.dispatcher.timeouts.drain;
        let why = tokio::select! {
            () = self.all_ended() => None,
            () = tokio::time::sleep(timeout) => Some("the drain time-out has passed"),
            _ = ending.wait_for(|ending| *ending == Ending::Cut) => Some("told to end at once"),
        };
        let unfinished = self.dispatcher.in_flight.held();
        if why.is_some() {
            // Every request has one reply: what got no result is told that its time is over.
            self.threads.iter().for_each(IoThread::hurry);
            let _ = tokio::time::timeout(LAST_WORDS, self.all_ended()).await;
        }
        self.threads.iter().for_each(IoThread::cut);
        let Some(threads) = Arc::into_inner(self.threads) else { return };
        let join = move || threads.into_iter().map(IoThread::join).sum::<usize>();
        let cut = tokio::task::spawn_blocking(join).await.unwrap_or(0);
        match why {
            None => tracing::info!("drained"),
            Some(why) => tracing::warn!(why, unfinished, connections_cut = cut, "ended before all was done"),
        }
    }

    async fn all_ended(&self) {
        while !self.threads.iter().all(IoThread::has_ended) {
            tokio::time::sleep(LOOK).await;
        }
    }
}
