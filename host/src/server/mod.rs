//! Sockets, the threads that serve them, and the end of both: stop accepting, answer what is in flight, go.

mod accept;
mod busy_polling;
mod health_check;
mod http_endpoint;
mod inherited;
mod io_thread;
mod io_threads;
mod listener;
mod stall_monitor;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::accept::Acceptor;
pub use self::health_check::{HealthCheck, HealthCheckError};
pub(crate) use self::http_endpoint::HttpEndpoint;
pub use self::inherited::{InheritError, Inherited};
use self::io_thread::{IoThread, IoThreadCommand};
use self::io_threads::IoThreads;
pub use self::listener::BindError;
use self::listener::{BoundSocket, SocketClaim};
use self::stall_monitor::StallMonitor;
use crate::config::{AdminConfig, Listener};
use crate::plugin::IoThreadReplacer;
use crate::routing::{Dispatcher, HostPhase, InlineRunner};

/// How often a drain looks whether the threads have ended.
const LOOK: Duration = Duration::from_millis(2);

/// How long the last answers of a drain that was ended may take to leave: a peer that reads has them at once.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How the host is asked to end; each step includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ShutdownStage {
    /// Not at all.
    Serve,
    /// Answer what is in flight, within the drain time-out.
    Drain,
    /// Now.
    Cut,
}

/// The right to one socket.
enum SocketRight {
    /// To a name, which is ours until the socket goes.
    Claimed(SocketClaim),
    /// To a socket that is bound already.
    Inherited { socket: inherited::InheritedSocket, listener: Listener, admin: bool },
}

/// The sockets' names, claimed before anything costly is done.
pub(crate) struct SocketClaims(Vec<SocketRight>);

impl SocketClaims {
    /// The listeners' sockets, and the one for operators: inherited, or to be bound.
    pub(crate) fn take(
        listeners: &[Listener],
        admin: Option<&AdminConfig>,
        mut inherited: Inherited,
    ) -> Result<Self, BindError> {
        let public = listeners.iter().map(|listener| (listener.clone(), false));
        let all = public.chain(admin.map(|admin| (admin.listener(), true)));
        let right = |(listener, admin): (Listener, bool)| match inherited.take(&listener.socket) {
            Some(socket) => Ok(SocketRight::Inherited { socket, listener, admin }),
            None => SocketClaim::take(&listener, admin).map(SocketRight::Claimed),
        };
        let rights = all.map(right).collect::<Result<_, _>>()?;
        for socket in inherited.left() {
            tracing::error!(
                socket,
                "inherited, but no listener of the configuration: nobody will be answered there"
            );
        }
        Ok(Self(rights))
    }

    /// Binds every socket; clients can connect from here on.
    pub(crate) fn bind(self) -> Result<ListeningSockets, BindError> {
        let bind = |right| match right {
            SocketRight::Claimed(claim) => claim.bind(),
            SocketRight::Inherited { socket, listener, admin } => {
                Ok(BoundSocket::inherited(socket, listener, admin))
            }
        };
        self.0.into_iter().map(bind).collect::<Result<_, _>>().map(ListeningSockets)
    }
}

/// Sockets that listen.
pub(crate) struct ListeningSockets(Vec<BoundSocket>);

/// The I/O threads, waiting for connections.
pub(crate) struct Server {
    threads: Arc<IoThreads>,
    dispatcher: Arc<Dispatcher>,
}

impl Server {
    pub(crate) fn start(threads: usize, dispatcher: &Arc<Dispatcher>) -> io::Result<Self> {
        let threads = IoThreads::start(threads, dispatcher)?;
        let inline: std::sync::Weak<dyn InlineRunner> =
            Arc::downgrade(&(Arc::clone(&threads) as Arc<dyn InlineRunner>));
        // A dispatcher has one server.
        let _ = dispatcher.inline_runner.set(inline);
        Ok(Self { threads, dispatcher: Arc::clone(dispatcher) })
    }

    /// The threads as those who close code see them.
    pub(crate) fn turnover(&self) -> Arc<dyn IoThreadReplacer> {
        Arc::clone(&self.threads) as Arc<dyn IoThreadReplacer>
    }

    /// A way to find out whether `sockets` are served.
    pub(crate) fn pulse(&self, sockets: &ListeningSockets) -> HealthCheck {
        HealthCheck::of(&sockets.0, &self.threads)
    }

    /// Serves the sockets until told to end, then drains. Runs in a runtime of its own.
    pub(crate) async fn run(
        self,
        sockets: ListeningSockets,
        mut ending: watch::Receiver<ShutdownStage>,
    ) -> io::Result<()> {
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
        acceptors.spawn(StallMonitor::new(&self.threads, &self.dispatcher).run());
        self.dispatcher.phase.enter(HostPhase::Serving);
        // The sender going away is an end as well.
        let _ = ending.wait_for(|ending| *ending > ShutdownStage::Serve).await;
        self.dispatcher.phase.enter(HostPhase::Draining);
        acceptors.shutdown().await;
        for acceptor in accepting.into_iter().filter_map(Arc::into_inner) {
            acceptor.close().await;
        }
        self.drain(ending).await;
        Ok(())
    }

    async fn drain(self, mut ending: watch::Receiver<ShutdownStage>) {
        let in_flight = self.dispatcher.in_flight.held();
        let connections = self.dispatcher.connections.held();
        tracing::info!(connections, in_flight, "draining");
        let threads = self.threads.drain();
        let timeout = self.dispatcher.rules.load().timeouts.drain;
        let why = tokio::select! {
            () = all_ended(&threads) => None,
            () = tokio::time::sleep(timeout) => Some("the drain time-out has passed"),
            _ = ending.wait_for(|ending| *ending == ShutdownStage::Cut) => Some("told to end at once"),
        };
        let unfinished = self.dispatcher.in_flight.held();
        if why.is_some() {
            // Every request has one reply: what got no result is told that its time is over.
            tell(&threads, || IoThreadCommand::Hurry);
            let _ = tokio::time::timeout(LAST_WORDS, all_ended(&threads)).await;
        }
        tell(&threads, || IoThreadCommand::Cut);
        let _ = tokio::time::timeout(LAST_WORDS, all_ended(&threads)).await;
        // One that an inline method holds up cannot be ended: it must not keep the host from it.
        let (ended, held_up): (Vec<_>, Vec<_>) = threads.into_iter().partition(IoThread::has_ended);
        let count = ended.len();
        let cut = ended.into_iter().map(IoThread::join).sum::<usize>();
        self.threads.joined(count);
        if !held_up.is_empty() {
            let threads = held_up.len();
            tracing::error!(threads, "I/O threads are held up by inline methods, and left");
        }
        match why {
            None => tracing::info!("drained"),
            Some(why) => tracing::warn!(why, unfinished, connections_cut = cut, "ended before all was done"),
        }
    }
}

fn tell(threads: &[IoThread], order: impl Fn() -> IoThreadCommand) {
    for thread in threads {
        // One that has ended has nothing left to do.
        let _ = thread.orders.send(order());
    }
}

async fn all_ended(threads: &[IoThread]) {
    while !threads.iter().all(IoThread::has_ended) {
        tokio::time::sleep(LOOK).await;
    }
}
