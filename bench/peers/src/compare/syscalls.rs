//! Syscalls for each request, counted by strace in a run of their own: it slows the server down, so that fewer requests
//! are ready together. In the async loads the number is an upper bound.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::drive::{Driver, Generator, Load};
use super::peer::{Peer, end};

/// How long strace may take until it traces every thread.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the load of such a run is.
const LENGTH: Duration = Duration::from_millis(250);

/// Whether strace is there.
pub(super) fn is_there() -> bool {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    strace.is_ok_and(|status| status.success())
}

/// Syscalls for each request of a load. `None`: strace may not, or did not get to it.
pub(super) fn each(driver: &Driver, peer: &Peer, by: &Generator, load: Load) -> io::Result<Option<f64>> {
    let counts = peer.directory().join("syscalls");
    let mut strace = Command::new("strace")
        .args(["-c", "-f", "-q", "-p", &peer.pid().to_string(), "-o"])
        .arg(&counts)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let measured = attached(peer).and_then(|is_attached| {
        if !is_attached {
            return Ok(None);
        }
        let run = driver.run(peer, by, load, LENGTH)?;
        Ok(Some(run.report.results.max(1)))
    });
    end(&mut strace, Signal::SIGINT);
    let Some(requests) = measured? else { return Ok(None) };
    let text = fs::read_to_string(&counts)?;
    fs::remove_file(&counts)?;
    Ok(total(&text).map(|calls| calls as f64 / requests as f64))
}

/// Whether every thread of the server is traced, which takes a moment.
fn attached(peer: &Peer) -> io::Result<bool> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let mut all = true;
        for task in fs::read_dir(format!("/proc/{}/task", peer.pid()))? {
            let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
            all &= !status.lines().any(|line| line.starts_with("TracerPid:") && line.ends_with("\t0"));
        }
        if all {
            return Ok(true);
        }
        sleep(Duration::from_millis(5));
    }
    Ok(false)
}

/// The calls in the last line of a summary: `100.00 SECONDS USECS CALLS [ERRORS] total`.
fn total(summary: &str) -> Option<u64> {
    let line = summary.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_calls_are_read_with_and_without_errors() {
        let with = "% time     seconds  usecs/call     calls    errors syscall\n\
                    100.00    0.000123           0        29         1 total\n";
        assert_eq!(total(with), Some(29));
        assert_eq!(total("100.00    0.000123           4        31           total\n"), Some(31));
        assert_eq!(total(""), None);
    }
}
