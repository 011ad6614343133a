//! The probing process: it protects its report from the plugin, then opens, starts, stops,
//! describes and closes the plugin.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::abi::{HostCell, Instance, Root};
use rustix::stdio::stdin;

use super::super::child_setup::{self, give_up};
use super::super::description;
use super::super::library::OpenLibrary;
use super::super::load_error::{LoadError, LoadErrorReason};
use super::super::process_state::ProcessState;
use super::report::{PROCESS_NAME, ProbeDepth, ProbeReport, ProbeRequest, ProbeStep, Reporter};
use super::services::{self, ProbeServices};

/// Time until a thread must have disappeared. Even a joined thread exists for a moment longer.
const THREAD_EXIT_MAX: Duration = Duration::from_millis(250);
const THREAD_EXIT_POLL: Duration = Duration::from_millis(1);

/// Returns whether this process was started as a probe.
pub(super) fn is_probe_process() -> bool {
    child_setup::is_child_process(|name| name == PROCESS_NAME)
}

/// Probes, reports, and ends the process.
pub(super) fn run() -> ! {
    let mut socket = child_setup::isolate_socket()
        .map(UnixStream::from)
        .unwrap_or_else(|error| give_up("isolate its report", &error.into()));
    let (request, settings) =
        ProbeRequest::read(&mut socket).unwrap_or_else(|error| give_up("read its request", &error));
    child_setup::exit_without_parent(request.parent);

    let reporter = Reporter::new(socket);
    let report = match probe(&request, settings, &reporter) {
        Ok(()) => ProbeReport::Passed,
        Err(LoadError { reason, detail, .. }) => {
            ProbeReport::Refused { reason: reason.code().to_owned(), detail }
        }
    };
    reporter.send(&report);
    exit(0)
}

fn probe(request: &ProbeRequest, settings: Vec<u8>, reporter: &Reporter) -> Result<(), LoadError> {
    reporter.send(&ProbeReport::Step(ProbeStep::Opening));
    let copy: OwnedFd = stdin()
        .try_clone_to_owned()
        .map_err(|error| no_resources("cannot duplicate a descriptor", &error))?;
    let before = (!request.may_change_process).then(ProcessState::in_probe);
    let opened = OpenLibrary::open(copy)?;

    reporter.send(&ProbeReport::Step(ProbeStep::Checking));
    let root = opened.root(&request.manifest)?;
    match request.depth {
        ProbeDepth::Start => start_and_stop_on_thread(root, settings, reporter.clone(), before)?,
        ProbeDepth::Code => check_process_state(before.as_ref())?,
    }
    match remaining_threads() {
        0 => {}
        count => reporter.send(&ProbeReport::RemainingThreads(count)),
    }

    let has_returned = describe(root, request, reporter);
    reporter.send(&ProbeReport::Step(ProbeStep::Closing));
    // Closing would unmap the code that remaining threads run.
    if has_returned && remaining_threads() == 0 {
        // The outcome does not matter: the host may retain code that stays mapped.
        let _ = opened.close();
    }
    Ok(())
}

/// Lets the plugin describe its methods, if the host asks for that. It comes last, because the code
/// that runs here may do anything, and must not be mistaken for what the plugin does when it
/// serves. Returns whether all code has returned.
fn describe(root: Root, request: &ProbeRequest, reporter: &Reporter) -> bool {
    let Some(limit) = request.describes_within else { return true };
    reporter.send(&ProbeReport::Step(ProbeStep::Describing));
    let mut report = |answer: description::PartAnswer<'_>| {
        reporter.send(&ProbeReport::Described(answer.map(str::to_owned).map_err(str::to_owned)));
    };
    description::ask(root, request.manifest.methods.len(), limit, &mut report)
}

/// Runs [`start_and_stop`] on a thread that is joined before the code is closed, as in the host.
fn start_and_stop_on_thread(
    root: Root,
    settings: Vec<u8>,
    reporter: Reporter,
    before: Option<ProcessState>,
) -> Result<(), LoadError> {
    let thread = thread::Builder::new()
        .name("probe".into())
        .spawn(move || start_and_stop(&root, &settings, &reporter, before.as_ref()))
        .map_err(|error| no_resources("cannot start a thread", &error))?;

    let panicked = || {
        LoadError::new(LoadErrorReason::ProbeFailed, "the thread of the probe panicked; please report this")
    };
    thread.join().unwrap_or_else(|_| Err(panicked()))
}

fn no_resources(failed: &str, error: &io::Error) -> LoadError {
    let failed = format_args!("the probe process {failed}");
    LoadError::of_system(LoadErrorReason::NoResources, failed, error)
}

/// Returns the number of threads that the plugin left behind: all but this one and those of the
/// probe's own services.
fn remaining_threads() -> usize {
    let deadline = Instant::now() + THREAD_EXIT_MAX;
    loop {
        let threads = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        let remaining = threads.saturating_sub(1 + services::sleep_threads());
        if remaining == 0 || Instant::now() >= deadline {
            return remaining;
        }
        thread::sleep(THREAD_EXIT_POLL);
    }
}

fn start_and_stop(
    root: &Root,
    settings: &[u8],
    reporter: &Reporter,
    before: Option<&ProcessState>,
) -> Result<(), LoadError> {
    let host = HostCell::new(Arc::new(ProbeServices::new(reporter.clone())));
    reporter.send(&ProbeReport::Step(ProbeStep::Starting));
    let instance = Instance::start(root, &host, settings).map_err(LoadError::from)?;

    reporter.send(&ProbeReport::Step(ProbeStep::Testing));
    let tested = instance.self_test().map_err(|failure| LoadError::self_test_failed(&failure));
    let tested = tested.and_then(|()| check_process_state(before));

    reporter.send(&ProbeReport::Step(ProbeStep::Stopping));
    if let Err(text) = instance.stop() {
        reporter.send(&ProbeReport::StopPanicked(text));
    }
    tested
}

/// Checks that the plugin did not change state of the whole process, if it must not.
fn check_process_state(before: Option<&ProcessState>) -> Result<(), LoadError> {
    let Some(before) = before else { return Ok(()) };
    match before.changes(&ProcessState::in_probe()).as_slice() {
        [] => Ok(()),
        changes => {
            let detail =
                format!("the plugin changed state of the whole process: {}; it must not", changes.join(", "));
            Err(LoadError::new(LoadErrorReason::ProcessStateChanged, detail))
        }
    }
}
