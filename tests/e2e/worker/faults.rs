//! Each kind of fault, several times, beside plugins that are used all the time: only the calls
//! that ran in the process of the fault fail, the process is replaced, and nothing is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fault_kinds::{FaultKind, KINDS, Outcome};
use super::{Answering, add_in_worker, faults_copy, in_worker};
use crate::reload::put;
use crate::support::accounting::ReplyAccounting;
use crate::support::background::BackgroundThread;
use crate::support::footprint::{Footprint, idle_footprint};
use crate::support::peer::PLUGIN_CRASHED;
use crate::support::processes::children;
use crate::support::program::{command, finish};
use crate::support::wait::poll_within;
use crate::support::{CEILING, Frame, HostProcess, Peer, is_soak, wait_until};

/// How often each fault is committed, in a normal run and in a soak run.
const ROUNDS: usize = 3;
const SOAK_ROUNDS: usize = 100;

/// Calls that run in the worker at the time of the fault, besides the one that commits it.
const HELD: usize = 3;
/// Calls that wait at the time of the fault, and those of them that may wait in the worker: while
/// calls are short, it gets up to four for each thread.
const QUEUED: usize = 8;
const SENT_AHEAD: usize = 3;
/// Requests in flight of each neighbour.
const WINDOW: usize = 8;

/// Its threads are busy with one call, so that the calls after it wait.
const KEYS: &str = "threads = 1";
const WORKER: &str = "grace = \"200ms\"\nmemory = \"128MiB\"\nfiles = 128";

/// A library whose constructor ends the process.
const EXITS: &str = "#include <stdlib.h>\n__attribute__((constructor)) static void end(void) { exit(3); }\n";

fn copy_of(number: usize) -> String {
    format!("fault_{number:02}")
}

/// Starts a host with a copy of the fixture for each of these kinds, and with the neighbours.
fn start(kinds: &[FaultKind]) -> HostProcess {
    let mut builder = HostProcess::builder().plugin("device").plugin("hello");
    builder = add_in_worker(builder, "echoes");
    builder = builder.config("[plugins]\nwatch = false\n[timeouts]\nrequest = \"25s\"");

    for (number, kind) in kinds.iter().enumerate() {
        let copy = copy_of(number);
        let file = format!("lib{copy}.so");
        put(&builder.directory().join("plugins"), &faults_copy(number).0, &file);
        builder = builder.config(&in_worker(&copy, KEYS, WORKER));
        if kind.outcome == Outcome::Overdue {
            builder = builder.config(&format!(
                "[[route]]\nmethod = \"{copy}.run.*\"\nplugin = \"{copy}\"\ntimeout = \"400ms\""
            ));
        }
    }
    builder.start()
}

fn compile_library(directory: &Path) -> PathBuf {
    let (source, library) = (directory.join("exits.c"), directory.join("exits.so"));
    fs::write(&source, EXITS).expect("the source is written");
    let compiled = finish(command("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]));
    assert_eq!(compiled.code, 0, "{compiled:?}");
    library
}

/// Sends requests until `is_over`, and returns their number. Each must succeed.
fn use_neighbour(mut peer: Peer, methods: &[(&str, Value)], is_over: &AtomicBool) -> usize {
    let (mut accounting, mut sent, mut answered) = (ReplyAccounting::default(), 0, 0);

    while answered < sent || !is_over.load(Ordering::Relaxed) {
        while sent < answered + WINDOW && !is_over.load(Ordering::Relaxed) {
            let (method, params) = &methods[sent % methods.len()];
            let id = sent.to_string();
            accounting.record_request(&id);
            peer.send_async(&id, method, params);
            sent += 1;
        }
        if answered < sent {
            let reply = peer.receive();
            reply.result();
            accounting.record_reply(&reply);
            answered += 1;
        }
    }
    accounting.check().expect("each request is answered once");
    sent
}

fn start_neighbours(host: &HostProcess) -> [BackgroundThread<usize>; 2] {
    let in_process = [
        ("device.status.update", json!({ "deviceId": "d", "status": "online" })),
        ("hello.greet", json!({ "name": "neighbour" })),
        ("device.status.get", json!({ "deviceId": "d" })),
    ];
    let in_other_worker = [
        ("fixture.echo", json!([1])),
        ("fixture.echo_blocking", json!("b")),
        ("fixture.echo_async", Value::Null),
    ];
    let start = |methods: [(&'static str, Value); 3]| {
        let peer = host.peer();
        BackgroundThread::start(move |is_over| use_neighbour(peer, &methods, is_over))
    };
    [start(in_process), start(in_other_worker)]
}

/// One copy of the fixture, and its faults.
struct Subject<'a> {
    peer: Peer,
    copy: String,
    kind: &'a FaultKind,
    library: &'a Path,
    /// From the first PLUGIN_CRASHED of a round to the first result after it.
    replaced: Vec<Duration>,
    /// Replies to calls that waited, and those of them that ended with the process.
    queued: usize,
    queued_crashed: usize,
}

impl Subject<'_> {
    fn send(&mut self, id: &str, method: &str, params: &Value) {
        self.peer.send_async(id, &format!("{}.{method}", self.copy), params);
    }

    /// Commits the fault once in a method of this kind, and checks how each call ends.
    fn commit(&mut self, run: &str) {
        let before = Answering::of(&mut self.peer, &self.copy);
        (0..HELD).for_each(|number| self.send(&format!("held-{number}"), "hold", &Value::Null));
        let held = before.held + HELD as u64;
        wait_until("the calls run", || Answering::of(&mut self.peer, &self.copy).held == held);

        let fault = json!({ "fault": self.kind.name, "library": self.library });
        self.send("fault", &format!("run.{run}"), &fault);
        let queued = |number| format!("queued-{number}");
        (0..QUEUED).for_each(|number| self.send(&queued(number), "count_blocking", &json!(number)));

        let crashed_before = self.queued_crashed;
        let mut crashed_at = None;
        let mut served_at = None;
        let mut open = HELD + 1 + QUEUED;
        while open > 0 {
            let reply = self.peer.receive();
            open -= 1;
            match reply.code() {
                Some(PLUGIN_CRASHED) => drop(crashed_at.get_or_insert_with(Instant::now)),
                None if crashed_at.is_some() => drop(served_at.get_or_insert_with(Instant::now)),
                _ => {}
            }
            let id = reply.id().expect("each reply has an id");
            self.check(&id, &reply);
            if id == "fault" && self.kind.outcome == Outcome::Answered {
                // The process lives on, with little left. It can still be replaced.
                self.send("end", "run.blocking", &json!({ "fault": "abort" }));
                open += 1;
            }
        }

        let crashed = self.queued_crashed - crashed_before;
        assert!(crashed <= SENT_AHEAD, "{} in {run}: {crashed} of the waiting calls failed", self.kind.name);
        let after = Answering::of(&mut self.peer, &self.copy);
        assert_ne!(after.pid, before.pid, "{}: another process answers", self.kind.name);
        let served_at = served_at.unwrap_or_else(Instant::now);
        self.replaced.push(served_at - crashed_at.expect("a held call ends with the process"));
    }

    fn check(&mut self, id: &str, reply: &Frame) {
        let Self { copy, kind, .. } = self;
        let allowed = match id.split('-').next() {
            Some("fault") => kind.outcome.allows(reply, copy),
            Some("held" | "end") => kind.outcome.allows_crash(reply, copy),
            _ => {
                self.queued += 1;
                let has_crashed = reply.code() == Some(PLUGIN_CRASHED);
                self.queued_crashed += usize::from(has_crashed);
                reply.code().is_none() || has_crashed
            }
        };
        assert!(allowed, "{}: unexpected reply to {id}: {reply:?}", kind.name);
    }
}

/// Commits one kind of fault in all kinds of methods in turn.
fn commit_all<'a>(host: &HostProcess, number: usize, kind: &'a FaultKind, library: &'a Path) -> Subject<'a> {
    let (peer, copy) = (host.peer(), copy_of(number));
    let mut subject =
        Subject { peer, copy, kind, library, replaced: Vec::new(), queued: 0, queued_crashed: 0 };
    for round in 0..if is_soak() { SOAK_ROUNDS } else { ROUNDS } {
        subject.commit(["blocking", "async", "inline"][round % 3]);
    }
    subject
}

/// The resources of a host and the processes that it has started.
fn resources(host: &HostProcess) -> (Footprint, Vec<String>) {
    let mut commands: Vec<_> = children(host.pid()).into_iter().map(|child| child.command).collect();
    commands.sort();
    (idle_footprint(host.pid()), commands)
}

/// Returns the memory files that a process has open or mapped.
fn memory_files(pid: u32) -> usize {
    let opened = fs::read_dir(format!("/proc/{pid}/fd")).expect("a living process").flatten();
    let is_memory_file = |path: PathBuf| path.to_string_lossy().contains("memfd:");
    let opened = opened.filter(|entry| fs::read_link(entry.path()).is_ok_and(is_memory_file)).count();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a living process");
    opened + maps.lines().filter(|line| line.contains("memfd:")).count()
}

#[test]
fn contains_every_kind_of_fault_in_the_worker() {
    let host = start(&KINDS);
    let library = compile_library(host.directory());
    for number in 0..KINDS.len() {
        Answering::of(&mut host.peer(), &copy_of(number));
    }
    let (before, processes) = resources(&host);
    let files = memory_files(host.pid());

    let mut neighbours = start_neighbours(&host);
    let subjects: Vec<_> = thread::scope(|scope| {
        let (host, library) = (&host, library.as_path());
        let commit = |(number, kind)| scope.spawn(move || commit_all(host, number, kind, library));
        let threads: Vec<_> = KINDS.iter().enumerate().map(commit).collect();
        threads.into_iter().map(|thread| thread.join().expect("every fault is contained")).collect()
    });
    let served: Vec<_> = neighbours.iter_mut().filter_map(BackgroundThread::stop).collect();

    report(&subjects, &served);
    drop(subjects);
    assert!(served.iter().all(|served| *served > 0), "{served:?}");

    let released = poll_within(CEILING, || {
        let (after, now) = resources(&host);
        let has_zombie = children(host.pid()).iter().any(|child| child.state == 'Z');
        let is_released = after.descriptors <= before.descriptors && after.threads <= before.threads;
        (is_released && now == processes && !has_zombie && memory_files(host.pid()) <= files).then_some(())
    });
    let after = (resources(&host), children(host.pid()), memory_files(host.pid()));
    assert!(released.is_some(), "{before:?} {processes:?} {files}, then {after:?}");
}

/// Prints the counts of each kind, and the time of the replacements.
fn report(subjects: &[Subject<'_>], served: &[usize]) {
    let mut all: Vec<Duration> = Vec::new();
    for subject in subjects {
        all.extend(&subject.replaced);
        println!(
            "{:18} {:?}: {} faults, {} waiting calls of which {} were in the process, replaced within {:?}",
            subject.kind.name,
            subject.kind.outcome,
            subject.replaced.len(),
            subject.queued,
            subject.queued_crashed,
            subject.replaced.iter().max()
        );
    }
    println!("{} faults at a time; {}", subjects.len(), replacements(all));
    println!("requests of neighbours without an error: {served:?}");
}

fn replacements(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let quantile = |percent: usize| all[(all.len() * percent / 100).min(all.len() - 1)];
    format!("{} replacements: p50 {:?}, p99 {:?}", all.len(), quantile(50), quantile(99))
}

#[test]
fn measures_the_time_of_one_replacement_at_a_time() {
    let [kind, ..] = &KINDS;
    let host = start(std::slice::from_ref(kind));
    let mut neighbours = start_neighbours(&host);

    let subject = commit_all(&host, 0, kind, Path::new(""));

    let served: Vec<_> = neighbours.iter_mut().filter_map(BackgroundThread::stop).collect();
    assert!(served.iter().all(|served| *served > 0), "{served:?}");
    println!("one fault at a time; {}", replacements(subject.replaced));
}
