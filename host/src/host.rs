//! A running host.

use std::io;
use std::sync::{Arc, Weak};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use crate::admin::{ReloadRequest, is_own_plugin};
use crate::config::Config;
use crate::embedded::MethodCaller;
use crate::plugin::HostInfo;
use crate::plugin_events::EventPublisher;
use crate::reload::{CommandSender, ReloadCommand};
use crate::server::HealthCheck;
use crate::shutdown::Shutdown;

/// Receives the operators' requests to reload the configuration.
pub struct Reloads(pub(crate) UnboundedReceiver<ReloadRequest>);

impl Reloads {
    /// Waits for the next request. Never completes once the host has ended.
    pub async fn next(&mut self) -> ReloadRequest {
        match self.0.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}

/// The state of a host in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Open connections.
    pub connections: u64,
    /// Requests that were accepted and not yet answered.
    pub in_flight: u64,
    /// Plugins that serve, without the host's own (`system` and `admin`).
    pub plugins: usize,
    /// Plugins whose circuit breaker is open, that have no free thread, or that block an
    /// I/O thread.
    pub unhealthy: usize,
}

/// A running host. Dropping it begins the drain.
pub struct Host {
    pub(crate) commands: CommandSender,
    pub(crate) health_check: Arc<HealthCheck>,
    pub(crate) info: Weak<dyn HostInfo>,
    pub(crate) events: Weak<EventPublisher>,
    pub(crate) caller: MethodCaller,
    pub(crate) shutdown: Shutdown,
    pub(crate) ended: oneshot::Receiver<io::Result<()>>,
}

impl Host {
    /// Stops accepting, answers the requests in flight within the drain time-out, and returns when
    /// the host has ended. Works in any async runtime.
    ///
    /// # Errors
    ///
    /// The sockets could not be watched, so that nothing was served.
    pub async fn stop(mut self) -> io::Result<()> {
        self.begin_stop();
        self.ended().await
    }

    /// Begins the drain and returns at once; [`Host::ended`] waits for its end.
    pub fn begin_stop(&self) {
        self.shutdown.begin();
    }

    /// Scans the whole plugin directory, retries refused files, and returns when each loadable
    /// plugin serves.
    pub async fn rescan_plugins(&self) {
        // There is no answer if the host ends.
        let _ = self.commands.ask(ReloadCommand::ScanAll).await;
    }

    /// Returns a check whether the host answers, to be called from another thread.
    #[must_use]
    pub fn health_check(&self) -> Arc<HealthCheck> {
        Arc::clone(&self.health_check)
    }

    /// Returns a function that reports the state of the host from any thread; `None` once the host
    /// has ended.
    pub fn status(&self) -> impl Fn() -> Option<Status> + Send + 'static {
        let info = Weak::clone(&self.info);
        move || {
            let info = info.upgrade()?;
            let counts = info.counts();
            let count = |name| counts.get(name).copied().unwrap_or(0);

            Some(Status {
                connections: count("connections_open"),
                in_flight: count("in_flight"),
                plugins: info.plugins().iter().filter(|plugin| !is_own_plugin(&plugin.name)).count(),
                unhealthy: info.unhealthy().len(),
            })
        }
    }

    /// Returns a function that reports, from any thread, which plugins are unhealthy, as in
    /// [`Status::unhealthy`]. It returns none once the host has ended.
    pub fn unhealthy(&self) -> impl Fn() -> Vec<String> + Send + 'static {
        let info = Weak::clone(&self.info);
        move || info.upgrade().map(|info| info.unhealthy()).unwrap_or_default()
    }

    /// Applies another configuration while the host serves: routes, limits, time-outs, and the
    /// settings of plugins, which are restarted for that.
    ///
    /// Either all of it takes effect or nothing. Keys that need a restart are logged and take
    /// effect then.
    ///
    /// # Errors
    ///
    /// One text for each plugin that refused its new settings.
    pub fn reconfigure(
        &self,
        config: Config,
    ) -> impl Future<Output = Result<(), Vec<String>>> + Send + use<> {
        let answer = self.commands.ask(|reply| ReloadCommand::Configure(Arc::new(config), reply));
        async move { answer.await.unwrap_or_else(|_| Err(vec!["the host ends".to_owned()])) }
    }

    /// Ends the host at once. Requests in flight are answered DEADLINE_EXCEEDED.
    pub fn cut(&self) {
        self.shutdown.cut();
    }

    /// Waits until the host has ended.
    ///
    /// # Errors
    ///
    /// As [`Host::stop`].
    pub async fn ended(&mut self) -> io::Result<()> {
        match (&mut self.ended).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the control thread of the host ended unexpectedly")),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}
