//! One run of one load against one server.
//!
//! The load generator is a process of its own. The resource usage of the server is taken before and
//! after.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::peer::{Peer, terminate};
use super::usage::Usage;
use crate::device::PARAMS;
use crate::load::Report;

/// Interval of the checks whether a generator has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A number of connections, and of requests in flight on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) is_async: bool,
    pub(super) connections: usize,
    pub(super) window: usize,
}

impl Load {
    pub(super) const fn sync(connections: usize) -> Self {
        Self { is_async: false, connections, window: 1 }
    }

    pub(super) const fn async_(connections: usize, window: usize) -> Self {
        Self { is_async: true, connections, window }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self { is_async: false, connections, .. } => format!("sync x{connections}"),
            Self { connections, window, .. } => format!("async {connections}x{window}"),
        }
    }
}

/// The program that makes the load.
#[derive(Debug, Clone)]
pub(super) enum Generator {
    /// `jackfield bench` with this method, and the params of the device or those in a file.
    Framed { method: String, params: Option<PathBuf> },
    /// `peers load` with this protocol.
    Own(&'static str),
}

impl Generator {
    pub(super) fn framed(method: &str) -> Self {
        Self::Framed { method: method.to_owned(), params: None }
    }
}

/// The measurements of a run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) report: Report,
    used: Usage,
}

impl Run {
    fn per_request(&self, sum: f64) -> f64 {
        sum / self.report.results.max(1) as f64
    }

    /// Returns the CPU time of the server per request, in microseconds.
    pub(super) fn cpu_us(&self) -> f64 {
        self.per_request(self.used.cpu.as_secs_f64() * 1e6)
    }

    /// Returns the context switches of the server per request.
    pub(super) fn switches(&self) -> f64 {
        self.per_request(self.used.switches as f64)
    }
}

/// Runs loads.
pub(super) struct Driver {
    /// The program `jackfield`.
    pub(super) jackfield: PathBuf,
    /// Set by a signal that ends this program.
    pub(super) is_interrupted: Arc<AtomicBool>,
}

impl Driver {
    /// Checks whether measuring may continue.
    ///
    /// # Errors
    ///
    /// A signal has interrupted this program.
    pub(super) fn check_interrupt(&self) -> io::Result<()> {
        if self.is_interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        Ok(())
    }

    /// Runs a closed loop.
    pub(super) fn run(
        &self,
        peer: &Peer,
        generator: &Generator,
        load: Load,
        duration: Duration,
    ) -> io::Result<Run> {
        self.run_at(peer, generator, load, duration, None)
    }

    /// Runs an open loop with this many requests due per second, or a closed loop without a rate.
    pub(super) fn run_at(
        &self,
        peer: &Peer,
        generator: &Generator,
        load: Load,
        duration: Duration,
        rate: Option<f64>,
    ) -> io::Result<Run> {
        self.check_interrupt()?;
        let mut command = self.command(generator, load, duration)?;
        command.arg("--socket").arg(&peer.socket);
        command.args(["--connections", &load.connections.to_string()]);
        match rate {
            Some(rate) => command.args(["--rate", &format!("{rate:.0}")]),
            None => command.args(["--window", &load.window.to_string()]),
        };

        let before = Usage::of(peer.pid())?;
        let printed = self.output(command)?;
        let used = Usage::of(peer.pid())?.since(before);

        let failed = |reason: String| io::Error::other(format!("{}, {}: {reason}", peer.name, load.name()));
        let report: Report = serde_json::from_str(&printed)
            .map_err(|error| failed(format!("the report is not valid: {error}: {printed}")))?;
        if report.failures() > 0 || report.results == 0 {
            return Err(failed(format!("requests without a correct result: {printed}")));
        }
        Ok(Run { report, used })
    }

    fn command(&self, generator: &Generator, load: Load, duration: Duration) -> io::Result<Command> {
        let millis = duration.as_millis().to_string();
        Ok(match generator {
            Generator::Framed { method, params } => {
                let mut command = Command::new(&self.jackfield);
                command.args(["bench", method]);
                match params {
                    None => command.arg(PARAMS),
                    Some(file) => command.arg("-").stdin(File::open(file)?),
                };
                command.args(["--json", "--duration", &format!("{millis}ms")]);
                command.args(load.is_async.then_some("--async"));
                command
            }
            Generator::Own(protocol) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["load", protocol, "--duration-ms", &millis]);
                command
            }
        })
    }

    /// Returns the output of a short-lived program, which is killed if a signal interrupts this
    /// one.
    fn output(&self, mut command: Command) -> io::Result<String> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        while child.try_wait()?.is_none() {
            if self.check_interrupt().is_err() {
                terminate(&mut child, Signal::SIGKILL);
            }
            sleep(POLL_INTERVAL);
        }
        self.check_interrupt()?;

        // A report fits a pipe, so it can be read after the program has ended.
        let mut printed = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut printed)?;
        }
        Ok(printed)
    }
}
