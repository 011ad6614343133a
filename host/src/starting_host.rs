//! The start of a host on a thread of its own, which can be stopped.

use std::future::Future;
use std::pin::pin;

use tokio::sync::oneshot;

use crate::host::Host;
use crate::host_builder::{Builder, StartError};
use crate::host_thread::HostThread;
use crate::shutdown::Shutdown;

/// A host that starts. Dropping it stops the start.
pub struct StartingHost {
    started: oneshot::Receiver<Result<Host, StartError>>,

    /// `None` once the host has started, or has failed to.
    shutdown: Option<Shutdown>,
}

impl Builder {
    /// Starts the host on a thread of its own, as [`Builder::start`] does on the calling one.
    ///
    /// # Errors
    ///
    /// The system provides no thread.
    pub fn start_in_background(self) -> Result<StartingHost, StartError> {
        let shutdown = self.shutdown();
        let (sender, started) = oneshot::channel();
        let start = move || {
            // If nothing waits for the host any more, it is dropped, which ends it.
            let _ = sender.send(self.start());
        };
        // Nothing joins the thread: it ends after it has handed over the host.
        HostThread::spawn("starting", start).map_err(StartError::of_system("start a thread"))?;
        Ok(StartingHost { started, shutdown: Some(shutdown) })
    }

    /// Starts the host, serves until `shutdown` completes, drains, and ends. If `shutdown`
    /// completes earlier, the host stops to start.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let mut shutdown = pin!(shutdown);
        let mut starting = self.start_in_background()?;

        let host = tokio::select! {
            started = starting.started() => started?,
            () = &mut shutdown => return starting.stop().await,
        };
        shutdown.await;
        host.stop().await.map_err(StartError::of_system("serve its sockets"))?;
        Ok(())
    }
}

impl StartingHost {
    /// Waits until the host has started. Works in any async runtime, and can be called again if the
    /// future was dropped.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`], or [`StartError::Stopped`].
    pub async fn started(&mut self) -> Result<Host, StartError> {
        let result = (&mut self.started).await;
        self.shutdown = None;
        result.unwrap_or_else(|_| {
            Err(StartError::System {
                what: "wait for its start",
                source: std::io::Error::other("the thread that starts it ended unexpectedly"),
            })
        })
    }

    /// Begins to stop the start and returns at once: no further plugin is probed or started, and
    /// those that have started stop. A plugin whose `start` runs is given up after 2.5 s.
    pub fn begin_stop(&self) {
        if let Some(shutdown) = &self.shutdown {
            shutdown.begin();
        }
    }

    /// As [`StartingHost::begin_stop`], but gives up a plugin whose `start` runs at once.
    pub fn cut(&self) {
        if let Some(shutdown) = &self.shutdown {
            shutdown.cut();
        }
    }

    /// Stops the start, and waits until the host has ended.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`], if it had failed before.
    pub async fn stop(mut self) -> Result<(), StartError> {
        self.begin_stop();
        self.ended().await
    }

    /// Waits until a host has ended whose start was stopped.
    ///
    /// # Errors
    ///
    /// As [`StartingHost::stop`].
    pub async fn ended(&mut self) -> Result<(), StartError> {
        match self.started().await {
            // It had started when it was stopped.
            Ok(mut host) => host.ended().await.map_err(StartError::of_system("serve its sockets")),
            Err(StartError::Stopped) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for StartingHost {
    fn drop(&mut self) {
        self.begin_stop();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Config, Listener, PluginsConfig};

    /// Returns a builder for a host in a directory that no other test uses, and the directory.
    fn builder(name: &str) -> (Builder, PathBuf) {
        let directory =
            std::env::temp_dir().join(format!("jackfield-starting-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();

        let config = Config {
            listeners: vec![Listener::at(directory.join("host.sock"))],
            admin: None,
            plugins: PluginsConfig { directory: directory.join("plugins"), ..PluginsConfig::default() },
            ..Config::default()
        };
        (Builder::new(config, &crate::enter()), directory)
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn leaves_nothing_behind_when_it_is_stopped_before_it_has_started() {
        let (builder, directory) = builder("stopped");
        builder.shutdown().begin();

        let mut starting = builder.start_in_background().unwrap();

        assert!(matches!(block_on(starting.started()), Err(StartError::Stopped)));
        // Fails if a socket, a lock or the record is left.
        std::fs::remove_dir(directory).unwrap();
    }

    #[test]
    fn runs_until_the_shutdown_whenever_that_completes() {
        let (builder, directory) = builder("run");
        block_on(builder.run(async {})).unwrap();
        std::fs::remove_dir(directory).unwrap();
    }
}
