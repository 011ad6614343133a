//! One run of one load against one server: the generator is a process of its own, what the server used meanwhile is
//! taken before and after.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::peer::{Peer, end};
use super::usage::Usage;
use crate::device::PARAMS;
use crate::load::Report;

/// How often it is looked whether a generator has ended.
const LOOK: Duration = Duration::from_millis(10);

/// So many connections, so many requests in flight on each.
#[derive(Debug, Clone, Copy)]
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

/// Who makes the load.
#[derive(Debug, Clone)]
pub(super) enum Generator {
    /// `jackfield bench`, calling this method with the params of the device, or with those in a file.
    Framed { method: String, params: Option<PathBuf> },
    /// This program.
    Own(&'static str),
}

impl Generator {
    pub(super) fn framed(method: &str) -> Self {
        Self::Framed { method: method.to_owned(), params: None }
    }
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) report: Report,
    used: Usage,
}

impl Run {
    fn each(&self, sum: f64) -> f64 {
        sum / self.report.results.max(1) as f64
    }

    /// Server CPU for each request, in microseconds.
    pub(super) fn cpu_us(&self) -> f64 {
        self.each(self.used.cpu.as_secs_f64() * 1e6)
    }

    pub(super) fn switches(&self) -> f64 {
        self.each(self.used.switches as f64)
    }
}

/// What runs loads.
pub(super) struct Driver {
    /// The program `jackfield`.
    pub(super) jackfield: PathBuf,
    /// Set when this program is to end.
    pub(super) interrupted: Arc<AtomicBool>,
}

impl Driver {
    /// An error when this program is to end.
    pub(super) fn go_on(&self) -> io::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        Ok(())
    }

    pub(super) fn run(&self, peer: &Peer, by: &Generator, load: Load, length: Duration) -> io::Result<Run> {
        self.run_at(peer, by, load, length, None)
    }

    /// As [`Driver::run`], with so many requests due a second.
    pub(super) fn run_at(
        &self,
        peer: &Peer,
        by: &Generator,
        load: Load,
        length: Duration,
        rate: Option<f64>,
    ) -> io::Result<Run> {
        self.go_on()?;
        let mut command = self.command(by, load, length)?;
        command.arg("--socket").arg(&peer.socket);
        command.args(["--connections", &load.connections.to_string()]);
        match rate {
            Some(rate) => command.args(["--rate", &format!("{rate:.0}")]),
            None => command.args(["--window", &load.window.to_string()]),
        };
        let before = Usage::of(peer.pid())?;
        let printed = self.output(command)?;
        let used = Usage::of(peer.pid())?.since(before);
        let report: Report = serde_json::from_str(&printed).map_err(|error| {
            io::Error::other(format!("{}, {}: {error}: {printed}", peer.name, load.name()))
        })?;
        let faults = report.lost + report.unanswered + report.wrong + report.errors.values().sum::<u64>();
        if faults > 0 || report.results == 0 {
            return Err(io::Error::other(format!("{}, {}: {printed}", peer.name, load.name())));
        }
        Ok(Run { report, used })
    }

    fn command(&self, by: &Generator, load: Load, length: Duration) -> io::Result<Command> {
        let millis = length.as_millis().to_string();
        Ok(match by {
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
            Generator::Own(language) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["load", language, "--duration-ms", &millis]);
                command
            }
        })
    }

    /// What a short-lived program prints; ended when this program is to end.
    fn output(&self, mut command: Command) -> io::Result<String> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        while child.try_wait()?.is_none() {
            if self.go_on().is_err() {
                end(&mut child, Signal::SIGKILL);
            }
            sleep(LOOK);
        }
        self.go_on()?;
        // A report is far smaller than a pipe.
        let mut printed = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut printed)?;
        }
        Ok(printed)
    }
}
