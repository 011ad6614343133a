//! The probing process: it protects its report from the plugin, then opens, starts, stops and
//! closes the plugin.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::abi::{HostCell, Instance, Root};
use rustix::fs::{FileType, SealFlags, fcntl_get_seals, fstat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use rustix::stdio::{dup2_stdout, stderr, stdin, stdout};

use super::super::library::OpenLibrary;
use super::super::load_error::{LoadError, LoadErrorReason};
use super::super::process_state::ProcessState;
use super::report::{PROCESS_NAME, ProbeDepth, ProbeReport, ProbeRequest, ProbeStep, Reporter};
use super::services::{self, ProbeServices};
use crate::system_failure::WithRemedy;

/// The lowest number for the descriptor of the report, where the process may have as many. It is
/// out of reach of code that closes or reuses low numbers.
const REPORT_FD_MIN: i32 = 100;

/// Time until a thread must have disappeared. Even a joined thread exists for a moment longer.
const THREAD_EXIT_MAX: Duration = Duration::from_millis(250);
const THREAD_EXIT_POLL: Duration = Duration::from_millis(1);

/// Returns whether this process was started as a probe. Any process can be given the name, so the
/// kinds of stdin and stdout are checked, too.
pub(super) fn is_probe_process() -> bool {
    env::args_os().next().is_some_and(|name| name == PROCESS_NAME)
        && fcntl_get_seals(stdin()).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
        && fstat(stdout()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// Probes, reports, and ends the process.
pub(super) fn run() -> ! {
    let mut socket = isolate_report().unwrap_or_else(|error| give_up("isolate its report", &error.into()));
    let (request, settings) =
        ProbeRequest::read(&mut socket).unwrap_or_else(|error| give_up("read its request", &error));
    // The host may have ended before the death signal was set.
    if getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs()) != Some(request.parent) {
        exit(1);
    }

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

/// Ends a probe that cannot report. The host adds stderr to the error that it logs.
fn give_up(failed: &str, error: &io::Error) -> ! {
    let _ = writeln!(io::stderr(), "cannot {failed}: {}", WithRemedy(error));
    exit(1)
}

/// Moves the socket of the report away from stdout, to which the plugin may print, and limits the
/// cost of a crash.
fn isolate_report() -> rustix::io::Result<UnixStream> {
    let socket = UnixStream::from(fcntl_dupfd_cloexec(stdout(), report_fd_min())?);
    dup2_stdout(stderr())?;

    // A crash of a probe is expected, and needs no core dump. The limit is 1 byte instead of 0: if
    // core_pattern is a pipe, the kernel writes the dump even at 0 (core(5)).
    setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })?;
    // The signal is sent when the parent thread ends. That thread waits for the probe, so it does
    // not end before its process.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(socket)
}

/// Returns the lowest number for the descriptor of the report, which the limit of this process
/// permits.
fn report_fd_min() -> i32 {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| i32::try_from(limit).ok());
    limit.map_or(REPORT_FD_MIN, |limit| REPORT_FD_MIN.min(limit / 2))
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

    reporter.send(&ProbeReport::Step(ProbeStep::Closing));
    match remaining_threads() {
        0 => {
            // The outcome does not matter: the host may retain code that stays mapped.
            let _ = opened.close();
        }
        // Closing would unmap the code that these threads run.
        count => reporter.send(&ProbeReport::RemainingThreads(count)),
    }
    Ok(())
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
    let tested = instance.self_test().map_err(|failure| {
        LoadError::new(LoadErrorReason::SelfTestFailed, format_args!("self_test failed: {failure}"))
    });
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
