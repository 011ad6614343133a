//! Programs that are no probe, or a bad one: each is refused in words, in time, and is gone afterwards.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::{LoadError, LoadErrorReason, PluginDirectory, Prober, StagedPlugin};
use super::image::Image;
use super::{Scratch, set_mode};

/// More than any of the programs takes that are to end by themselves.
const LONG: Duration = Duration::from_secs(30);

fn stage(scratch: &Scratch) -> StagedPlugin {
    scratch.file("p.so", &Image::default().bytes());
    PluginDirectory::open(&scratch.0).unwrap().stage(OsStr::new("p.so"), &[]).unwrap()
}

/// A shell script, ready to be a program.
fn program(scratch: &Scratch, script: &str) -> Prober {
    let program = scratch.file("program", format!("#!/bin/sh\n{script}\n").as_bytes());
    set_mode(&program, 0o755);
    Prober::program(program)
}

/// Probes with `prober`. A process that another test starts at the wrong moment may hold the script open for writing
/// until it has become another program, and a file that is being written cannot be run.
fn outcome(
    prober: &Prober,
    staged: &StagedPlugin,
    settings: &[u8],
    limit: Duration,
) -> Result<(), LoadError> {
    loop {
        match prober.probe(staged, settings, limit) {
            Err(refused) if refused.detail.contains("Text file busy") => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
}

/// What a plugin is refused for when `script` is the program.
fn probe(script: &str, settings: &[u8], limit: Duration) -> LoadError {
    let scratch = Scratch::new();
    let staged = stage(&scratch);
    outcome(&program(&scratch, script), &staged, settings, limit).unwrap_err()
}

/// Whether the process of this number has ended (a zombie has).
fn is_gone(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with('Z')))
        .unwrap_or(true)
}

#[test]
fn a_program_that_is_no_probe_is_told_from_a_plugin_that_crashes() {
    let refused = probe("echo words on stderr >&2; exit 3", b"{}", LONG);
    assert_eq!(refused.reason, LoadErrorReason::ProbeFailed);
    assert!(
        refused.detail.contains("exit code 3") && refused.detail.contains("words on stderr"),
        "{refused}"
    );
    let refused = probe("kill -SEGV $$", b"{}", LONG);
    assert_eq!(refused.reason, LoadErrorReason::ProbeFailed);
    assert!(refused.detail.contains("signal 11 (SIGSEGV)"), "{refused}");
    let scratch = Scratch::new();
    let missing = Prober::program("/no/such/program").probe(&stage(&scratch), b"{}", LONG).unwrap_err();
    assert_eq!(missing.reason, LoadErrorReason::ProbeFailed);
}

#[test]
fn the_step_reached_is_told() {
    let refused = probe(r#"echo '{"step":"opening"}'; kill -ABRT $$"#, b"{}", LONG);
    assert_eq!(refused.reason, LoadErrorReason::ProbeCrashed);
    assert!(refused.detail.contains("signal 6 (SIGABRT) in dlopen"), "{refused}");
    let refused = probe(r#"echo '{"step":"starting"}'; exit 0"#, b"{}", LONG);
    assert_eq!(refused.reason, LoadErrorReason::ProbeCrashed);
    assert!(refused.detail.contains("exit code 0 in start"), "{refused}");
    let refused = probe(r#"echo '{"refused":{"reason":"start-failed","detail":"no luck"}}'"#, b"{}", LONG);
    assert_eq!(refused, LoadError { reason: LoadErrorReason::StartFailed, detail: "no luck".into() });
}

#[test]
fn a_verdict_is_taken_at_its_word_and_does_not_wait_for_the_end() {
    let scratch = Scratch::new();
    let staged = stage(&scratch);
    let prober = program(&scratch, "echo '\"passed\"'; exec sleep 600");
    let began = Instant::now();
    outcome(&prober, &staged, b"{}", LONG).unwrap();
    assert!(began.elapsed() < LONG);
}

#[test]
fn a_report_that_is_none_is_refused() {
    // As `cat` of the copy would give, and a plugin that found the socket.
    for script in ["echo hello", "cat", "while :; do echo '{}'; done", "head -c 3000000 /dev/zero; sleep 600"]
    {
        let refused = probe(script, b"{}", LONG);
        assert_eq!(refused.reason, LoadErrorReason::ProbeFailed, "{script}: {refused}");
        assert!(refused.detail.contains("report"), "{script}: {refused}");
    }
}

#[test]
fn one_that_hangs_is_cut_with_all_it_started() {
    let scratch = Scratch::new();
    let pids = scratch.0.join("pids");
    let script = format!("sleep 600 & echo $$ $! > {}; wait", pids.display());
    let limit = Duration::from_secs(2);
    let began = Instant::now();
    let refused = probe(&script, b"{}", limit);
    assert_eq!(refused.reason, LoadErrorReason::ProbeTimedOut, "{refused}");
    assert!(began.elapsed() >= limit);
    let pids = fs::read_to_string(pids).unwrap();
    let pids: Vec<&str> = pids.split_whitespace().collect();
    assert_eq!(pids.len(), 2);
    assert!(!Path::new("/proc").join(pids[0]).exists(), "reaped");
    // The other is reaped by whoever adopted it: only its end is ours.
    let patience = Instant::now() + LONG;
    while !is_gone(pids[1]) {
        assert!(Instant::now() < patience, "process {} lives", pids[1]);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_that_does_not_read_or_writes_without_end_is_cut_too() {
    let limit = Duration::from_millis(500);
    // Settings that no socket holds, and nobody reads.
    let settings = vec![b' '; 8 << 20];
    assert_eq!(probe("exec sleep 600", &settings, limit).reason, LoadErrorReason::ProbeTimedOut);
    let refused = probe("while :; do echo noise >&2; done", b"{}", limit);
    assert_eq!(refused.reason, LoadErrorReason::ProbeTimedOut);
    assert!(refused.detail.len() < 8 << 10, "{} bytes", refused.detail.len());
    // Both streams closed: the parent must not spin, nor take it for the end.
    assert_eq!(probe("exec 1>&- 2>&-; exec sleep 600", b"{}", limit).reason, LoadErrorReason::ProbeTimedOut);
}
