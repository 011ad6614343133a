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

use super::StagedPlugin;
use super::load_error::{LoadError, LoadErrorReason};
use process::{ListenEnd, ProbeProcess};
use report::{ProbeReport, ProbeRequest, ProbeStep};

/// The probing process's first argument (`argv[0]`), by which it knows what it is.
const ARGUMENT: &str = "jackfield-probe";
/// How much of a report is read, in bytes; the child's own bounds keep it far below.
const REPORT_MAX: usize = 1 << 20;

/// Proof that the program called [`enter`], and so can be its own probe.
#[derive(Debug)]
pub struct ProbeEntry(());

/// To be called first in `main`, before threads, sockets or a runtime: when this process was started as a probe it
/// becomes one, and does not return.
#[must_use]
pub fn enter() -> ProbeEntry {
    if child::is_asked_for() {
        child::run();
    }
    ProbeEntry(())
}

/// How probing processes are started.
#[derive(Debug, Clone)]
pub struct Prober {
    program: PathBuf,
}

impl Prober {
    /// Probes in processes of this very program, which stays the same one when its file is replaced.
    #[must_use]
    pub fn this_program(_: &ProbeEntry) -> Self {
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
    pub fn probe(&self, staged: &StagedPlugin, settings: &[u8], limit: Duration) -> Result<(), LoadError> {
        let name = &staged.inspection.name;
        let began = Instant::now();
        let (socket, theirs) = UnixStream::pair().map_err(|error| failed(&error))?;
        let request =
            ProbeRequest { parent: std::process::id(), manifest: staged.inspection.manifest.clone() };
        let request = request.encode(settings).map_err(|error| failed(&error))?;
        let mut process =
            ProbeProcess::spawn(&self.program, OsString::from(ARGUMENT), staged, socket, theirs)?;
        let mut heard = ProbeProgress::default();
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
            (None, Ok(ListenEnd::Exited)) => {
                // Before the first step no code of the plugin runs: it is the program that is no probe.
                let reason = if heard.step == ProbeStep::Begun {
                    LoadErrorReason::ProbeFailed
                } else {
                    LoadErrorReason::ProbeCrashed
                };
                Some(LoadError::new(reason, format_args!("{} in {}", output.ended_how(), heard.step)))
            }
            (None, Ok(ListenEnd::TimedOut)) => {
                let detail = format!("not through within {limit:?}: it was in {}", heard.step);
                Some(LoadError::new(LoadErrorReason::ProbeTimedOut, detail))
            }
            (None, Ok(ListenEnd::Answered)) => {
                Some(LoadError::new(LoadErrorReason::ProbeFailed, "it answered nothing"))
            }
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

fn failed(error: &std::io::Error) -> LoadError {
    LoadError::new(
        LoadErrorReason::ProbeFailed,
        format_args!("the probing process could not be run: {error}"),
    )
}

/// What the child has reported so far.
#[derive(Default)]
struct ProbeProgress {
    pending: Vec<u8>,
    length: usize,
    step: ProbeStep,
    log: Vec<(u8, String)>,
    stop_panic: Option<String>,
    left_threads: usize,
    verdict: Option<Result<(), LoadError>>,
}

impl ProbeProgress {
    /// Takes bytes of the report; `true` when the verdict is among them.
    fn take(&mut self, bytes: &[u8]) -> bool {
        self.length += bytes.len();
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            match ProbeReport::decode(&line) {
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
        self.verdict.get_or_insert_with(|| Err(LoadError::new(LoadErrorReason::ProbeFailed, why)));
    }

    fn hear(&mut self, report: ProbeReport) {
        match report {
            ProbeReport::Step(step) => self.step = step,
            ProbeReport::Log { level, line } => self.log.push((level, line)),
            ProbeReport::LeftThreads(left) => self.left_threads = left,
            ProbeReport::StopPanicked(text) => self.stop_panic = Some(text),
            ProbeReport::Refused { reason, detail } => {
                let reason = LoadErrorReason::from_code(&reason).unwrap_or(LoadErrorReason::ProbeFailed);
                self.verdict.get_or_insert(Err(LoadError { reason, detail }));
            }
            ProbeReport::Passed => {
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
    fn explain(&self, mut refused: LoadError, stderr: &str) -> LoadError {
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
