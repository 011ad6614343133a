//! Starts a plugin for the first time in a probing process, where it may crash, exit or hang.
//!
//! The probing process is this program again (`child`). It reports each step on a socket, so that a
//! refusal names the step that failed. When the probe ends, for whatever reason, its process group
//! is killed and the process is reaped before the host continues.

mod child;
mod process;
mod progress;
mod report;
mod services;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::description::{DescriptionCollector, PluginDescription, describe_limit};
use super::host_environment::HostEnvironment;
use super::load_error::{LoadError, LoadErrorReason};
use super::staged::StagedPlugin;
use super::static_tls;
use crate::config::Isolation;
use crate::log::{ShortDuration, printable};
use process::{ListenEnd, ProbeOutput, ProbeProcess};
use progress::ProbeProgress;
pub use report::ProbeDepth;
use report::ProbeRequest;
pub(crate) use report::ProbeStep;

/// The remedy if the probing process ends before it has received its request. Its output follows.
const SETUP_REMEDY: &str =
    "the plugin is not at fault: check LimitNOFILE=, TasksMax= and MemoryMax= of the host";

/// Proof that the program called [`enter`](crate::enter), and can therefore be started as a probing
/// process and as a worker process.
#[derive(Debug)]
pub struct ProbeEntry(());

/// Runs the probe if this process was started as a probing process, and does not return then.
pub(crate) fn enter() -> ProbeEntry {
    if child::is_probe_process() {
        child::run();
    }
    ProbeEntry(())
}

/// Starts probing processes.
#[derive(Debug, Clone)]
pub struct Prober {
    program: PathBuf,
    environment: HostEnvironment,

    /// Where the probed plugins are to run.
    isolation: Isolation,
}

impl Prober {
    /// Starts this program as the probing process. It remains the same program when its file is
    /// replaced.
    ///
    /// Probes get the environment that this process has now. Call it before plugins are loaded.
    #[must_use]
    pub fn this_program(_: &ProbeEntry) -> Self {
        Self::program("/proc/self/exe")
    }

    /// Starts `program` as the probing process. Its `main` must begin with
    /// [`enter`](crate::enter). It is for programs that embed the host and cannot change their own
    /// `main`, such as tests.
    #[must_use]
    pub fn program(program: impl Into<PathBuf>) -> Self {
        let (program, environment) = (program.into(), HostEnvironment::read());
        Self { program, environment, isolation: Isolation::InProcess }
    }

    /// Returns a prober for plugins that are to run there. In a worker process, a plugin may change
    /// state of its whole process, and needs no static thread-local storage of the host.
    #[must_use]
    pub fn for_isolation(&self, isolation: Isolation) -> Self {
        Self { isolation, ..self.clone() }
    }

    /// Returns the path of the program.
    pub(crate) fn path(&self) -> &Path {
        &self.program
    }

    /// Returns the environment of the host, as it was when the prober was created.
    pub(crate) fn environment(&self) -> &HostEnvironment {
        &self.environment
    }

    /// Opens, starts, self-tests, stops and closes a staged plugin in a separate process, with
    /// `settings`, which is a JSON object.
    ///
    /// The process has the working directory of this process, its environment without the variables
    /// of the dynamic loader and the supervisor, and a process group of its own, which has ended
    /// when this returns. Blocks for at most `limit`, and for the time that it
    /// takes to kill the process.
    ///
    /// # Errors
    ///
    /// The host has no static thread-local storage left for the plugin. Or, in the process, the
    /// plugin could not be opened, its ABI or manifest is different, its `start` or
    /// self-test failed or panicked, it ended the process, or it was not finished within `limit`.
    ///
    /// A `stop` that panics is logged and is not an error, because the host contains such a panic,
    /// too. Threads that still run after `stop` are not an error either, but the plugin is then
    /// retained when it is closed.
    pub fn probe(&self, staged: &StagedPlugin, settings: &[u8], limit: Duration) -> Result<(), LoadError> {
        self.probe_unless(&|| false, ProbeDepth::Start, staged, settings, limit)
    }

    /// As [`Prober::probe`] as far as `depth` says, but gives up when `is_cancelled` returns
    /// `true`. It is asked before the process is started, and then every 20 ms.
    ///
    /// # Errors
    ///
    /// As [`Prober::probe`], or the probe was cancelled, for which the reason is
    /// [`LoadErrorReason::HostEnds`].
    pub fn probe_unless(
        &self,
        is_cancelled: &dyn Fn() -> bool,
        depth: ProbeDepth,
        staged: &StagedPlugin,
        settings: &[u8],
        limit: Duration,
    ) -> Result<(), LoadError> {
        self.run(&ProbeJob { is_cancelled, depth, settings, describes: false, limit }, staged).map(drop)
    }

    /// As [`Prober::probe_unless`], and lets the plugin describe its methods, unless its contract
    /// is known. The contract is then in `staged`; parts that are missing because of a fault are
    /// logged.
    ///
    /// # Errors
    ///
    /// As [`Prober::probe_unless`]. A fault in the description is no error.
    pub(crate) fn probe_and_describe_unless(
        &self,
        is_cancelled: &dyn Fn() -> bool,
        depth: ProbeDepth,
        staged: &StagedPlugin,
        settings: &[u8],
        limit: Duration,
    ) -> Result<(), LoadError> {
        let describes = staged.contract.get().is_none();
        let description = self.run(&ProbeJob { is_cancelled, depth, settings, describes, limit }, staged)?;
        if let Some(description) = description {
            staged.contract.set(description.log(&staged.inspection.name));
        }
        Ok(())
    }

    /// Lets a staged plugin describe its methods in a separate process, without starting it: it is
    /// opened, checked, asked and closed. Blocks for at most `limit`, of which the description may
    /// take a quarter.
    ///
    /// Parts that are missing because the plugin panics, hangs, crashes or writes something invalid
    /// are listed in the result. They are not logged.
    ///
    /// # Errors
    ///
    /// The plugin cannot be opened, or the check of its ABI or manifest refuses it.
    pub fn describe(&self, staged: &StagedPlugin, limit: Duration) -> Result<PluginDescription, LoadError> {
        let (is_cancelled, depth) = (&|| false, ProbeDepth::Code);
        let job = ProbeJob { is_cancelled, depth, settings: b"{}", describes: true, limit };
        // The process may change its state: it does nothing else.
        let description = self.for_isolation(Isolation::Worker).run(&job, staged)?;
        description.ok_or_else(|| {
            LoadError::new(LoadErrorReason::ProbeFailed, "the probe process did not ask for a description")
        })
    }

    /// Runs a probing process, and returns what the plugin says about its methods, if it was asked.
    fn run(&self, job: &ProbeJob<'_>, staged: &StagedPlugin) -> Result<Option<PluginDescription>, LoadError> {
        let ProbeJob { is_cancelled, depth, settings, describes, limit } = *job;
        if is_cancelled() {
            return Err(LoadError::host_ends());
        }
        let may_change_process = self.isolation == Isolation::Worker;
        if !may_change_process {
            // Loading it would be refused as well, after a probe for nothing.
            static_tls::check(&staged.inspection)?;
        }

        let plugin = &staged.inspection.name;
        let began = Instant::now();
        let (socket, child_socket) = UnixStream::pair().map_err(|error| failed(&error))?;
        let manifest = staged.inspection.manifest.clone();
        let collector = describes.then(|| DescriptionCollector::new(&manifest));
        let describes_within = describes.then(|| describe_limit(limit));
        let parent = std::process::id();
        let request = ProbeRequest { parent, manifest, depth, may_change_process, describes_within };
        let request = request.encode(settings).map_err(|error| failed(&error))?;

        let mut process =
            ProbeProcess::spawn(&self.program, &self.environment, staged, socket, child_socket)?;
        let mut progress = ProbeProgress::new(collector);
        // A deadline that the clock cannot represent is no deadline.
        let deadline = began.checked_add(limit);
        let end = process.exchange(&request, deadline, is_cancelled, |bytes| progress.receive(bytes));
        let output = process.kill();

        progress.log(plugin);
        if progress.remaining_threads > 0 {
            staged.keep_loaded();
        }
        let elapsed = began.elapsed();
        let shown = ShortDuration(elapsed);
        tracing::debug!(plugin, ?elapsed, step = %progress.step, "plugin {plugin}: probed in {shown}");

        match verdict(&mut progress, end, &output, limit) {
            Ok(()) => {
                // Logged like all output of plugins, but here the plugin is known with certainty.
                if !output.stderr.is_empty() {
                    let text = printable(&output.stderr);
                    tracing::info!(
                        target: "jackfield::output",
                        plugin,
                        "plugin {plugin}: output in the probe: {text}"
                    );
                }
                Ok(progress.take_description())
            }
            Err(refused) => Err(progress.explain(refused, &output.stderr)),
        }
    }
}

/// The task of a probing process.
struct ProbeJob<'a> {
    is_cancelled: &'a dyn Fn() -> bool,
    depth: ProbeDepth,
    settings: &'a [u8],

    /// Whether the plugin is asked to describe its methods.
    describes: bool,

    limit: Duration,
}

/// Ends a description whose process ended before it. The plugin has passed its probe then.
fn end_description(progress: &mut ProbeProgress, end: &io::Result<ListenEnd>, output: &ProbeOutput) {
    match end {
        Ok(ListenEnd::Exited) => {
            progress.reject(&format!("the process that asked for it ended with {}", output.describe_end()));
        }
        Ok(ListenEnd::TimedOut) => progress.reject("the time for the probe had passed"),
        Ok(ListenEnd::Cancelled | ListenEnd::Answered) | Err(_) => {}
    }
}

/// Returns the verdict of the report or, if there is none, the error for how the probe ended.
fn verdict(
    progress: &mut ProbeProgress,
    end: io::Result<ListenEnd>,
    output: &ProbeOutput,
    limit: Duration,
) -> Result<(), LoadError> {
    let step = progress.step;
    if step == ProbeStep::Describing {
        end_description(progress, &end, output);
    }
    if let Some(verdict) = progress.verdict.take() {
        return verdict;
    }

    Err(match end {
        Ok(ListenEnd::Exited) => {
            // No code of the plugin runs during the setup: the program itself is not a probe.
            let end = output.describe_end();
            match step {
                ProbeStep::Setup => LoadError::new(
                    LoadErrorReason::ProbeFailed,
                    format_args!("the probe process failed in its setup ({end}); {SETUP_REMEDY}"),
                ),
                _ => LoadError::new(
                    LoadErrorReason::ProbeCrashed,
                    format_args!("the probe process ended with {end} in {step}"),
                ),
            }
        }
        Ok(ListenEnd::TimedOut) => {
            let limit = ShortDuration(limit);
            let detail = format!("the probe did not end within plugins.probe ({limit}); it was in {step}");
            LoadError::new(LoadErrorReason::ProbeTimedOut, detail)
        }
        Ok(ListenEnd::Cancelled) => LoadError::host_ends(),
        Ok(ListenEnd::Answered) => {
            LoadError::new(LoadErrorReason::ProbeFailed, "the probe process reported no verdict")
        }
        Err(error) => failed(&error),
    })
}

fn failed(error: &io::Error) -> LoadError {
    LoadError::of_system(LoadErrorReason::ProbeFailed, "cannot run the probe process", error)
}
