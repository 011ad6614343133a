//! The probing process from inside: it shields its report from the plugin, then opens, starts, stops and closes it.

use std::env;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::exit;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jackfield_plugin_api::abi::{HostCell, Instance, Root, StartFailure};
use rustix::fs::{FileType, SealFlags, fcntl_get_seals, fstat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use rustix::stdio::{dup2_stdout, stderr, stdin, stdout};

use super::super::library::OpenLibrary;
use super::super::load_error::{LoadError, LoadErrorReason};
use super::ARGUMENT;
use super::report::{ProbeReport, ProbeRequest, ProbeStep};
use super::services::{self, ProbeServices};
use super::state::ProcessState;
use crate::sync::lock;

/// The lowest number that the report's descriptor may get: out of the way of code that closes or reuses low ones.
const REPORT_FD_MIN: i32 = 100;

/// How long a thread may take to be gone. Also one that was joined is there for a moment more.
const LEAVING_MAX: Duration = Duration::from_millis(250);
const LEAVING_STEP: Duration = Duration::from_millis(1);

/// Whether this process was started as a probe: by its name, and by what its stdin and stdout are, for anybody can
/// choose a name.
pub(super) fn is_asked_for() -> bool {
    env::args_os().next().is_some_and(|name| name == ARGUMENT)
        && fcntl_get_seals(stdin()).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
        && fstat(stdout()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// The way back to the parent.
#[derive(Clone)]
pub(super) struct Reporter(Arc<Mutex<UnixStream>>);

impl Reporter {
    pub(super) fn send(&self, report: &ProbeReport) {
        let Ok(line) = report.encode() else { return };
        let mut socket = lock(&self.0);
        // A parent that has gone has killed this process, or will in a moment.
        let _ = socket.write_all(&line);
    }
}

/// Probes, reports, and ends the process.
pub(super) fn run() -> ! {
    let Ok(mut socket) = shield() else { exit(1) };
    let Ok((request, settings)) = ProbeRequest::read(&mut socket) else { exit(1) };
    // It may have died before the death signal was asked for.
    if getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs()) != Some(request.parent) {
        exit(1);
    }
    let reporter = Reporter(Arc::new(Mutex::new(socket)));
    let report = match probe(&request, settings, &reporter) {
        Ok(()) => ProbeReport::Passed,
        Err(LoadError { reason, detail }) => {
            ProbeReport::Refused { reason: reason.code().to_owned(), detail }
        }
    };
    reporter.send(&report);
    exit(0)
}

/// Takes the report's socket away from where a plugin writes its prints to, and limits what a crash costs.
fn shield() -> rustix::io::Result<UnixStream> {
    let socket = UnixStream::from(fcntl_dupfd_cloexec(stdout(), REPORT_FD_MIN)?);
    dup2_stdout(stderr())?;
    // Crashing is what a probe is for. 1, not 0: a core_pattern that is a pipe gets its dump at 0, too (core(5)).
    setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })?;
    // The parent's thread waits for the probe, so it does not end before its process does.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(socket)
}

fn probe(request: &ProbeRequest, settings: Vec<u8>, reporter: &Reporter) -> Result<(), LoadError> {
    reporter.send(&ProbeReport::Step(ProbeStep::Opening));
    let copy: OwnedFd =
        stdin().try_clone_to_owned().map_err(|error| LoadError::new(LoadErrorReason::NoResources, error))?;
    let before = ProcessState::now();
    let opened = OpenLibrary::open(copy)?;
    reporter.send(&ProbeReport::Step(ProbeStep::Checking));
    let root = opened.root(&request.manifest)?;
    // As in the host: the plugin's code runs on a thread that is joined before the code is closed.
    let on_thread = {
        let reporter = reporter.clone();
        thread::Builder::new()
            .name("probe".into())
            .spawn(move || start_and_stop(&root, &settings, &reporter, &before))
    };
    on_thread.map_err(|error| LoadError::new(LoadErrorReason::NoResources, error))?.join().unwrap_or_else(
        |_| Err(LoadError::new(LoadErrorReason::ProbeFailed, "the probing thread panicked")),
    )?;
    reporter.send(&ProbeReport::Step(ProbeStep::Closing));
    match left_threads() {
        0 => {
            // Whether all of it goes is not asked: code that stays is retained in the host, and that is allowed.
            let _ = opened.close();
        }
        // Their code would be taken away under them.
        left => reporter.send(&ProbeReport::LeftThreads(left)),
    }
    Ok(())
}

/// How many threads there are beside this one and our own sleepers.
fn left_threads() -> usize {
    let deadline = Instant::now() + LEAVING_MAX;
    loop {
        let threads = fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        let left = threads.saturating_sub(1 + services::sleepers());
        if left == 0 || Instant::now() >= deadline {
            return left;
        }
        thread::sleep(LEAVING_STEP);
    }
}

fn start_and_stop(
    root: &Root,
    settings: &[u8],
    reporter: &Reporter,
    before: &ProcessState,
) -> Result<(), LoadError> {
    let host = HostCell::new(Arc::new(ProbeServices::new(reporter.clone())));
    reporter.send(&ProbeReport::Step(ProbeStep::Starting));
    let instance = Instance::start(root, &host, settings).map_err(|failure| match failure {
        StartFailure::Refused(why) => LoadError::new(LoadErrorReason::StartFailed, why),
        StartFailure::Panicked(why) => LoadError::new(LoadErrorReason::StartPanicked, why),
    })?;
    reporter.send(&ProbeReport::Step(ProbeStep::Testing));
    let tested =
        instance.self_test().map_err(|failure| LoadError::new(LoadErrorReason::SelfTestFailed, failure));
    let tested = tested.and_then(|()| match before.changes(&ProcessState::now()).as_slice() {
        [] => Ok(()),
        changes => {
            let detail = format!("it changed what belongs to the whole process: {}", changes.join(", "));
            Err(LoadError::new(LoadErrorReason::ProcessStateChanged, detail))
        }
    });
    reporter.send(&ProbeReport::Step(ProbeStep::Stopping));
    if let Err(text) = instance.stop() {
        reporter.send(&ProbeReport::StopPanicked(text));
    }
    tested
}
