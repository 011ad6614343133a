//! Programs that are no probe or a faulty one. The prober refuses each with a reason and in time,
//! and ends its process.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::{LoadError, LoadErrorReason, PluginDirectory, ProbeDepth, Prober, StagedPlugin};
use super::image::Image;
use super::{Scratch, set_mode};

/// Longer than the run time of every program that ends without being killed.
const LONG: Duration = Duration::from_secs(30);

fn stage(scratch: &Scratch) -> StagedPlugin {
    scratch.file("p.so", &Image::default().bytes());
    PluginDirectory::open(&scratch.0).unwrap().stage(OsStr::new("p.so"), &[]).unwrap()
}

/// Returns a prober that runs a shell script.
fn prober(scratch: &Scratch, script: &str) -> Prober {
    let program = scratch.file("program", format!("#!/bin/sh\n{script}\n").as_bytes());
    set_mode(&program, 0o755);
    Prober::program(program)
}

/// Probes with `prober`.
///
/// A process that another test starts at the same time may hold the script open for writing until
/// it executes its program, and a file that is open for writing cannot be executed.
fn probe_with(
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

/// Returns the refusal of a plugin when `script` is the program.
fn probe(script: &str, settings: &[u8], limit: Duration) -> LoadError {
    let scratch = Scratch::new();
    let staged = stage(&scratch);
    probe_with(&prober(&scratch, script), &staged, settings, limit).unwrap_err()
}

/// Returns whether the process with this id has ended. A zombie has ended.
fn has_ended(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with('Z')))
        .unwrap_or(true)
}

#[test]
fn distinguishes_a_program_that_is_no_probe_from_a_plugin_that_crashes() {
    let refused = probe("echo words on stderr >&2; exit 3", b"{}", LONG);
    assert_eq!(refused.reason, LoadErrorReason::ProbeFailed);
    assert!(
        refused.detail.contains("exit code 3") && refused.detail.contains("words on stderr"),
        "{refused}"
    );
    assert!(refused.detail.contains("the plugin is not at fault: check LimitNOFILE="), "{refused}");
    let refused = probe("kill -SEGV $$", b"{}", LONG);
    assert_eq!(refused.reason, LoadErrorReason::ProbeFailed);
    assert!(refused.detail.contains("signal 11 (SIGSEGV)"), "{refused}");
    let scratch = Scratch::new();
    let missing = Prober::program("/no/such/program").probe(&stage(&scratch), b"{}", LONG).unwrap_err();
    assert_eq!(missing.reason, LoadErrorReason::ProbeFailed);
}

#[test]
fn reports_the_step_that_failed() {
    let refused = probe(r#"echo '{"step":"opening"}'; kill -ABRT $$"#, b"{}", LONG);
    assert_eq!(refused.reason, LoadErrorReason::ProbeCrashed);
    assert!(refused.detail.contains("signal 6 (SIGABRT) in dlopen"), "{refused}");
    let refused = probe(r#"echo '{"step":"starting"}'; exit 0"#, b"{}", LONG);
    assert_eq!(refused.reason, LoadErrorReason::ProbeCrashed);
    assert!(refused.detail.contains("exit code 0 in start"), "{refused}");
    let refused = probe(r#"echo '{"refused":{"reason":"start-failed","detail":"no luck"}}'"#, b"{}", LONG);
    assert_eq!(refused, LoadError::new(LoadErrorReason::StartFailed, "no luck"));
}

#[test]
fn does_not_wait_for_the_end_of_the_process_after_its_verdict() {
    let scratch = Scratch::new();
    let staged = stage(&scratch);
    let prober = prober(&scratch, "echo '\"passed\"'; exec sleep 600");
    let began = Instant::now();
    probe_with(&prober, &staged, b"{}", LONG).unwrap();
    assert!(began.elapsed() < LONG);
}

#[test]
fn refuses_an_invalid_report() {
    // Reports as from `cat`, which prints the copy, and from a plugin that found the socket.
    for script in ["echo hello", "cat", "while :; do echo '{}'; done", "head -c 3000000 /dev/zero; sleep 600"]
    {
        let refused = probe(script, b"{}", LONG);
        assert_eq!(refused.reason, LoadErrorReason::ProbeFailed, "{script}: {refused}");
        assert!(refused.detail.contains("report"), "{script}: {refused}");
    }
}

#[test]
fn kills_a_process_that_hangs_with_everything_it_started() {
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
    // The process that adopted the other one reaps it; the prober only ends it.
    let deadline = Instant::now() + LONG;
    while !has_ended(pids[1]) {
        assert!(Instant::now() < deadline, "process {} lives", pids[1]);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn kills_a_process_that_does_not_read_or_writes_endlessly() {
    let limit = Duration::from_millis(500);
    // Settings that fit into no socket buffer, and that the process does not read.
    let settings = vec![b' '; 8 << 20];
    assert_eq!(probe("exec sleep 600", &settings, limit).reason, LoadErrorReason::ProbeTimedOut);
    let refused = probe("while :; do echo noise >&2; done", b"{}", limit);
    assert_eq!(refused.reason, LoadErrorReason::ProbeTimedOut);
    assert!(refused.detail.len() < 8 << 10, "{} bytes", refused.detail.len());
    // The host must neither spin nor mistake closed streams for the end of the process.
    assert_eq!(probe("exec 1>&- 2>&-; exec sleep 600", b"{}", limit).reason, LoadErrorReason::ProbeTimedOut);
}

#[test]
fn passes_a_plugin_that_crashes_or_hangs_while_it_describes_itself() {
    let describing = r#"printf '{"step":"opening"}\n{"step":"describing"}\n'"#;
    let describe = |end: &str, limit| {
        let scratch = Scratch::new();
        let (prober, staged) = (prober(&scratch, &format!("{describing}; {end}")), stage(&scratch));
        loop {
            match prober.describe(&staged, limit) {
                Err(refused) if refused.detail.contains("Text file busy") => std::thread::yield_now(),
                described => return described.unwrap(),
            }
        }
    };

    let crashed = describe("kill -ABRT $$", LONG);
    assert_eq!(crashed.contract.methods().len(), 1);
    let first = crashed.missing[0].to_string();
    assert!(first.ends_with("the process that asked for it ended with signal 6 (SIGABRT)"), "{first}");
    assert_eq!(crashed.missing.len(), 4);

    let hung = describe("exec sleep 600", Duration::from_millis(500));
    assert_eq!(hung.missing[0].why, "the time for the probe had passed");
}

#[test]
fn ends_a_process_whose_probe_is_cancelled() {
    let scratch = Scratch::new();
    let started = scratch.0.join("started");
    let prober =
        prober(&scratch, &format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", started.display()));
    let is_cancelled = || started.exists();

    let cancelled = loop {
        match prober.probe_unless(
            &is_cancelled,
            ProbeDepth::Start,
            &stage(&scratch),
            b"{}",
            Duration::from_secs(3600),
        ) {
            Err(refused) if refused.detail.contains("Text file busy") => std::thread::yield_now(),
            outcome => break outcome,
        }
    };

    assert_eq!(cancelled, Err(LoadError::host_ends()));
    let pid = fs::read_to_string(&started).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "reaped");

    let again = prober.probe_unless(&is_cancelled, ProbeDepth::Start, &stage(&scratch), b"{}", LONG);
    assert_eq!(again, Err(LoadError::host_ends()), "no process is started");
}
