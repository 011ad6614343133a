//! A plugin's first start, in a process that may crash, exit or hang: this program once more, as a probe.
//!
//! The parent's side. The child (`child`) reports each step on a socket, so that a refusal can say how far the plugin
//! came; whatever ends it, its whole process group is killed and it is reaped before the parent goes on.

mod child;
mod process;
mod report;
mod services;
mod state;

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jackfield_plugin_api::Level;

use super::Staged;
use super::refused::{Reason, Refused};
use process::{End, Process};
use report::{Report, Request, Step};

/// The probing process's first argument (`argv[0]`), by which it knows what it is.
const ARGUMENT: &str = "jackfield-probe";
/// How much of a report is read, in bytes; the child's own bounds keep it far below.
const REPORT_MAX: usize = 1 << 20;

/// Proof that the program called [`enter`], and so can be its own probe.
#[derive(Debug)]
pub struct Entry(());

/// To be called first in `main`, before threads, sockets or a runtime: when this process was started as a probe it
/// becomes one, and does not return.
#[must_use]
pub fn enter() -> Entry {
    if child::is_asked_for() {
        child::run();
    }
    Entry(())
}

/// How probing processes are started.
#[derive(Debug, Clone)]
pub struct Prober {
    program: PathBuf,
}

impl Prober {
    /// Probes in processes of this very program, which stays the same one when its file is replaced.
    #[must_use]
    pub fn this_program(_: &Entry) -> Self {
        Self { program: PathBuf::from("/proc/self/exe") }
    }

    /// Probes in processes of `program`, whose `main` must begin with [`enter`]: for programs that embed the host
    /// and cannot change their own `main`, as tests.
    #[must_use]
    pub fn program(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// Opens, starts, stops and closes a staged plugin in a process of its own, with `settings`, a JSON object.
    ///
    /// The process has an empty environment, the working directory `/`, and a process group of its own that is gone
    /// when this returns. Blocks for at most `limit`, and a moment for the killing.
    ///
    /// # Errors
    /// What the plugin was refused for: it did not open, its ABI or manifest is another one, its `start` failed or
    /// panicked, it ended the process, or was not through within `limit`. A `stop` that panics is logged, and no
    /// reason to refuse: the panic is contained there as it will be here. Nor are threads that run on after `stop`,
    /// but then the plugin will be retained when it is closed.
    pub fn probe(&self, staged: &Staged, settings: &[u8], limit: Duration) -> Result<(), Refused> {
        let name = &staged.inspection.name;
        let began = Instant::now();
        let (socket, theirs) = UnixStream::pair().map_err(|error| failed(&error))?;
        let request = Request { parent: std::process::id(), manifest: staged.inspection.manifest.clone() };
        let request = request.encode(settings).map_err(|error| failed(&error))?;
        let mut process = Process::spawn(&self.program, OsString::from(ARGUMENT), staged, socket, theirs)?;
        let mut heard = Heard::default();
        // A limit too long for the clock is no limit.
        let end = process.attend(&request, began.checked_add(limit), |lines| heard.take(lines));
        let output = process.kill();
        heard.log(name);
        if heard.left_threads > 0 {
            staged.keep_loaded();
        }
        tracing::debug!(plugin = name, elapsed = ?began.elapsed(), step = %heard.step, "probed");
        let refused = match (heard.verdict.take(), end) {
            (Some(verdict), _) => verdict.err(),
            (None, Ok(End::Exited)) => {
                // Before the first step no code of the plugin runs: it is the program that is no probe.
                let reason =
                    if heard.step == Step::Begun { Reason::ProbeFailed } else { Reason::ProbeCrashed };
                Some(Refused::new(reason, format_args!("{} in {}", output.ended_how(), heard.step)))
            }
            (None, Ok(End::TimedOut)) => {
                let detail = format!("not through within {limit:?}: it was in {}", heard.step);
                Some(Refused::new(Reason::ProbeTimedOut, detail))
            }
            (None, Ok(End::Answered)) => Some(Refused::new(Reason::ProbeFailed, "it answered nothing")),
            (None, Err(error)) => Some(failed(&error)),
        };
        let Some(refused) = refused else {
            // As what it writes later, of which nobody knows so well whose it is.
            if !output.stderr.is_empty() {
                tracing::info!(target: "jackfield::output", plugin = name, "in the probe: {}", output.stderr);
            }
            return Ok(());
        };
        Err(heard.explain(refused, &output.stderr))
    }
}

fn failed(error: &std::io::Error) -> Refused {
    Refused::new(Reason::ProbeFailed, format_args!("the probing process could not be run: {error}"))
}

/// What the child has reported so far.
#[derive(Default)]
struct Heard {
    pending: Vec<u8>,
    length: usize,
    step: Step,
    log: Vec<(u8, String)>,
    stop_panic: Option<String>,
    left_threads: usize,
    verdict: Option<Result<(), Refused>>,
}

impl Heard {
    /// Takes bytes of the report; `true` when the verdict is among them.
    fn take(&mut self, bytes: &[u8]) -> bool {
        self.length += bytes.len();
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            match Report::decode(&line) {
                Some(report) => self.hear(report),
                None => self.refuse("its report cannot be read"),
            }
        }
        if self.length > REPORT_MAX {
            self.refuse("its report has no end");
        }
        self.verdict.is_some()
    }

    fn refuse(&mut self, why: &str) {
        self.verdict.get_or_insert_with(|| Err(Refused::new(Reason::ProbeFailed, why)));
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Step(step) => self.step = step,
            Report::Log { level, line } => self.log.push((level, line)),
            Report::LeftThreads(left) => self.left_threads = left,
            Report::StopPanicked(text) => self.stop_panic = Some(text),
            Report::Refused { reason, detail } => {
                let reason = Reason::from_code(&reason).unwrap_or(Reason::ProbeFailed);
                self.verdict.get_or_insert(Err(Refused { reason, detail }));
            }
            Report::Passed => {
                self.verdict.get_or_insert(Ok(()));
            }
        }
    }

    /// Lines of the probe are for one who looks for a fault: a plugin that is loaded writes them again.
    fn log(&self, plugin: &str) {
        for (_, line) in &self.log {
            tracing::debug!(plugin, "probe: {line}");
        }
        if let Some(text) = &self.stop_panic {
            tracing::warn!(plugin, "its stop panicked in the probe: {text}");
        }
        if self.left_threads > 0 {
            let threads = self.left_threads;
            tracing::warn!(
                plugin,
                threads,
                "threads of it ran on after its stop: its code will never be unloaded"
            );
        }
    }

    /// Adds to a refusal what the plugin wrote last, to its log and to stderr.
    fn explain(&self, mut refused: Refused, stderr: &str) -> Refused {
        if let Some((_, line)) = self.log.iter().rev().find(|(level, _)| *level == Level::Error as u8) {
            refused.detail.push_str("; it logged: ");
            refused.detail.push_str(line);
        }
        if !stderr.is_empty() {
            refused.detail.push_str("; it wrote: ");
            refused.detail.push_str(stderr);
        }
        refused
    }
}
