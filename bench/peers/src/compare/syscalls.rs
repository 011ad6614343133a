//! System calls per request, counted by strace in a run of their own.
//!
//! strace slows the server down, so that fewer requests are processed together. For async loads the
//! number is an upper bound.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::driver::{Driver, Generator, Load};
use super::peer::{Peer, terminate};
use super::usage::process_tree;

/// Time-out until strace traces every thread.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval of the checks whether strace traces every thread.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Duration of the load in such a run.
const DURATION: Duration = Duration::from_millis(250);

/// Returns whether strace is installed.
pub(super) fn has_strace() -> bool {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    strace.is_ok_and(|status| status.success())
}

/// Returns the system calls per request of a load, or `None` if strace could not trace the server.
pub(super) fn per_request(
    driver: &Driver,
    peer: &Peer,
    generator: &Generator,
    load: Load,
) -> io::Result<Option<f64>> {
    let counts = peer.directory().join("syscalls");
    let processes = process_tree(peer.pid())?;
    let mut strace = Command::new("strace")
        .args(["-c", "-f", "-q", "-o"])
        .arg(&counts)
        .args(processes.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;

    let measured = wait_until_traced(&processes).and_then(|is_traced| {
        if !is_traced {
            return Ok(None);
        }
        let run = driver.run(peer, generator, load, DURATION)?;
        Ok(Some(run.report.results.max(1)))
    });
    terminate(&mut strace, Signal::SIGINT);

    let Some(requests) = measured? else { return Ok(None) };
    let text = fs::read_to_string(&counts)?;
    fs::remove_file(&counts)?;
    Ok(total(&text).map(|calls| calls as f64 / requests as f64))
}

/// Waits until every thread of the processes is traced, and returns whether that came in time.
fn wait_until_traced(processes: &[Pid]) -> io::Result<bool> {
    let end = Instant::now() + ATTACH_TIMEOUT;
    while Instant::now() < end {
        let mut is_traced = true;
        for pid in processes {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
                is_traced &=
                    !status.lines().any(|line| line.starts_with("TracerPid:") && line.ends_with("\t0"));
            }
        }
        if is_traced {
            return Ok(true);
        }
        sleep(POLL_INTERVAL);
    }
    Ok(false)
}

/// Returns the calls in the last line of a summary: `100.00 SECONDS USECS CALLS [ERRORS] total`.
fn total(summary: &str) -> Option<u64> {
    let line = summary.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn reads_the_calls_with_and_without_errors() {
        let with_errors = "% time     seconds  usecs/call     calls    errors syscall\n\
                           100.00    0.000123           0        29         1 total\n";
        assert_eq!(total(with_errors), Some(29));
        assert_eq!(total("100.00    0.000123           4        31           total\n"), Some(31));
        assert_eq!(total(""), None);
    }
}
