//! The sockets of a host, the I/O threads that serve them, and the drain at the end.
//!
//! ```text
//! SocketClaims::take ──► bind ──► ListeningSockets ──┐
//!                                                    ├──► Server::run: accept, later drain
//! Server::start ──► I/O threads wait for commands ───┘
//! ```

mod accept;
mod bind_error;
mod blocking_request;
mod busy_polling;
mod call_supervisor;
mod drain;
mod health_check;
mod http_endpoint;
mod inherited;
mod io_command;
mod io_thread;
mod io_thread_loop;
mod io_thread_start;
mod io_threads;
mod io_work;
mod listener;
mod socket_claim;
mod socket_directory;
mod socket_file;
mod stall_monitor;
mod state_monitor;
mod watched_listener;

use std::io;
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::accept::Acceptor;
pub use self::bind_error::{BindError, BindFault};
use self::call_supervisor::supervise_calls;
pub use self::health_check::{HealthCheck, HealthCheckError};
pub(crate) use self::http_endpoint::HttpEndpoint;
pub use self::inherited::{InheritError, Inherited, LISTEN_FDS_PASSED_ON};
use self::io_threads::IoThreads;
use self::listener::BoundSocket;
use self::socket_claim::SocketClaim;
use self::stall_monitor::StallMonitor;
use self::state_monitor::StateMonitor;
use crate::config::{AdminConfig, Listener};
use crate::loader::ProcessGuard;
use crate::plugin::IoThreadReplacer;
use crate::routing::{Dispatcher, HostPhase, InlineRunner};
use crate::shutdown::ShutdownStage;

/// How a listener gets its socket.
enum SocketSource {
    /// This host binds it and owns the name until the socket is closed.
    Claimed(SocketClaim),
    /// The service manager bound it before this process started.
    Inherited { socket: inherited::InheritedSocket, listener: Listener, admin: bool },
}

/// Returns a function that adds the configuration key to the reason why a socket was not bound.
fn not_bound(admin: bool) -> impl FnOnce(BindFault) -> BindError {
    move |fault| BindError { key: if admin { "admin.socket" } else { "listener.socket" }, fault }
}

/// The names of all sockets, claimed before plugins are loaded, so that a name in use is reported
/// at once.
pub(crate) struct SocketClaims(Vec<SocketSource>);

impl SocketClaims {
    /// Claims the sockets of `listeners` and the admin socket, except those among `inherited`.
    ///
    /// # Errors
    ///
    /// A name that another process uses, or that cannot be created.
    pub(crate) fn take(
        listeners: &[Listener],
        admin: Option<&AdminConfig>,
        mut inherited: Inherited,
    ) -> Result<Self, BindError> {
        inherited.report_ignored();
        let public = listeners.iter().map(|listener| (listener.clone(), false));
        let all = public.chain(admin.map(|admin| (admin.listener(), true)));
        let source = |(listener, admin): (Listener, bool)| match inherited.take(&listener.socket) {
            Some(socket) => Ok(SocketSource::Inherited { socket, listener, admin }),
            None => {
                let claim = SocketClaim::take(&listener, admin).map_err(not_bound(admin));
                claim.map(SocketSource::Claimed)
            }
        };
        let sources = all.map(source).collect::<Result<_, _>>()?;

        for socket in inherited.describe_unclaimed() {
            tracing::error!(
                socket,
                "systemd passed socket {socket}, but no [[listener]] has its path or name; \
                 clients there get no answer"
            );
        }
        Ok(Self(sources))
    }

    /// Binds every socket. Clients can connect from then on.
    ///
    /// # Errors
    ///
    /// A socket that cannot be bound; those that were bound before it are closed again.
    pub(crate) fn bind(self) -> Result<ListeningSockets, BindError> {
        let bind = |source| match source {
            SocketSource::Claimed(claim) => {
                let admin = claim.admin;
                BoundSocket::bind(claim).map_err(not_bound(admin))
            }
            SocketSource::Inherited { socket, listener, admin } => {
                Ok(BoundSocket::inherited(socket, listener, admin))
            }
        };
        self.0.into_iter().map(bind).collect::<Result<_, _>>().map(ListeningSockets)
    }
}

/// Sockets that listen.
pub(crate) struct ListeningSockets(Vec<BoundSocket>);

/// The running I/O threads of a host, not yet connected to any socket.
pub(crate) struct Server {
    threads: Arc<IoThreads>,
    dispatcher: Arc<Dispatcher>,

    /// `None` if the embedding program may change the state of its process.
    state_monitor: Option<StateMonitor>,
}

impl Server {
    /// Starts `threads` I/O threads, which also run `inline` methods for other threads from now on.
    /// With `guard`, the state of the process is monitored while sockets are served.
    ///
    /// # Errors
    ///
    /// The system provides no thread, reactor or timer.
    pub(crate) fn start(
        threads: usize,
        dispatcher: &Arc<Dispatcher>,
        guard: Option<ProcessGuard>,
    ) -> io::Result<Self> {
        let threads = IoThreads::start(threads, dispatcher)?;
        let inline_runner: Weak<dyn InlineRunner> =
            Arc::downgrade(&(Arc::clone(&threads) as Arc<dyn InlineRunner>));

        // A dispatcher has one server, so the cell is empty.
        let _ = dispatcher.inline_runner.set(inline_runner);
        let state_monitor = guard.map(|guard| StateMonitor::new(guard, &threads, dispatcher));
        Ok(Self { threads, dispatcher: Arc::clone(dispatcher), state_monitor })
    }

    /// Returns the I/O threads as those need them who unload code.
    pub(crate) fn io_thread_replacer(&self) -> Arc<dyn IoThreadReplacer> {
        Arc::clone(&self.threads) as Arc<dyn IoThreadReplacer>
    }

    /// Returns a check whether `sockets` are served.
    pub(crate) fn health_check(&self, sockets: &ListeningSockets) -> HealthCheck {
        HealthCheck::new(&sockets.0, &self.threads)
    }

    /// Serves `sockets` until `shutdown` leaves [`ShutdownStage::Serve`], then drains.
    ///
    /// Must run in a runtime of its own, whose tasks it may block for a short time.
    ///
    /// # Errors
    ///
    /// A socket that the reactor cannot watch; nothing was served.
    pub(crate) async fn run(
        self,
        sockets: ListeningSockets,
        mut shutdown: watch::Receiver<ShutdownStage>,
    ) -> io::Result<()> {
        let acceptor = |bound| Acceptor::new(bound, Arc::clone(&self.dispatcher), Arc::clone(&self.threads));
        let acceptors = sockets.0.into_iter().map(acceptor).collect::<io::Result<Vec<_>>>()?;

        let mut accepting = JoinSet::new();
        for acceptor in acceptors {
            accepting.spawn(acceptor.run(shutdown.clone()));
        }
        let stall_monitor = tokio::spawn(StallMonitor::new(&self.threads, &self.dispatcher).run());
        // Until the runtime ends: a drain does not wait for calls that run past their deadlines.
        tokio::spawn(supervise_calls(Arc::clone(&self.dispatcher)));
        let deadlines = Arc::clone(&self.dispatcher.deadlines);
        tokio::spawn(async move { deadlines.run().await });
        self.dispatcher.phase.enter(HostPhase::Serving);
        if let Some(monitor) = self.state_monitor {
            // Until the runtime ends: a second signal must reach a host that drains, too.
            tokio::spawn(monitor.run());
        }

        // A dropped sender also ends the host.
        let _ = shutdown.wait_for(|stage| *stage > ShutdownStage::Serve).await;

        self.dispatcher.phase.enter(HostPhase::Draining);
        stall_monitor.abort();
        let _ = stall_monitor.await;
        while let Some(ended) = accepting.join_next().await {
            if let Ok(acceptor) = ended {
                acceptor.close();
            }
        }
        drain::drain(&self.threads, &self.dispatcher, shutdown).await;
        Ok(())
    }
}
