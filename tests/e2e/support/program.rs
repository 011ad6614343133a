//! Every command that a test starts, and the outcome of those that end by themselves.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use super::build::artifacts;

/// Exit code of a [`command`] whose program is missing.
pub(crate) const NOT_FOUND: i32 = 127;

/// Returns a command that starts `program` with default signal dispositions and no blocked signal,
/// whatever this process has inherited.
///
/// POSIX shells ignore SIGINT and SIGQUIT in what a script starts in the background, `nohup`
/// ignores SIGHUP, and a program inherits that. `env` replaces itself with the program, which
/// therefore has the process id of the command. If the program is missing, the exit code is
/// [`NOT_FOUND`].
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    // With its path, because some tests set a PATH without `env`.
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal").arg(program);
    command
}

/// The outcome of a command.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code, or -1 if a signal ended the command.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `jackfield` with these arguments in this directory and waits for its end.
pub(crate) fn jackfield<A: AsRef<OsStr>>(directory: &Path, args: &[A]) -> Finished {
    finish(command(&artifacts().program).args(args).current_dir(directory))
}

/// Runs a command and waits for its end.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let Output { status, stdout, stderr } = command.output().expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is UTF-8");
    Finished { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

#[cfg(test)]
mod tests {
    use rustix::process::Signal;

    use super::*;
    use crate::support::HostProcess;

    /// Marks the inner run of the test below.
    const INNER: &str = "JACKFIELD_TEST_SIGNALS";

    /// Returns whether a process, described by its `/proc/PID/status`, ignores or blocks a signal.
    fn ignores_or_blocks_a_signal(status: &str) -> bool {
        let masks = status.lines().filter_map(|line| {
            line.strip_prefix("SigIgn:").or_else(|| line.strip_prefix("SigBlk:")).map(str::trim)
        });
        // Without the signals from 32 on: posix_spawn(3) ignores two that belong to the C library.
        masks.map(|mask| u64::from_str_radix(mask, 16).expect("a mask")).any(|mask| mask & 0x7fff_ffff != 0)
    }

    /// Runs itself once more in a process that ignores and blocks signals, as the background of a
    /// script does.
    #[test]
    fn starts_programs_with_default_signal_dispositions() {
        if std::env::var_os(INNER).is_none() {
            let module = module_path!().trim_start_matches("e2e::");
            let name = format!("{module}::starts_programs_with_default_signal_dispositions");

            let mut inner = Command::new("/usr/bin/env");
            inner.args(["--ignore-signal=INT,QUIT,HUP,PIPE,USR1", "--block-signal=TERM,CHLD,INT"]);
            inner.arg(std::env::current_exe().expect("our own path"));
            inner.args(["--exact", &name]).env(INNER, "1");
            let inner = finish(&mut inner);
            assert!(inner.code == 0 && inner.stdout.contains("1 passed"), "{}{}", inner.stdout, inner.stderr);
            return;
        }

        let own = std::fs::read_to_string("/proc/thread-self/status").expect("the state of this thread");
        assert!(ignores_or_blocks_a_signal(&own), "{own}");

        let cat = finish(command("cat").arg("/proc/self/status"));
        assert!(!ignores_or_blocks_a_signal(&cat.stdout), "{}", cat.stdout);

        let mut host = HostProcess::with(&["hello"]);
        host.signal(Signal::INT);
        assert!(host.wait().success(), "{}", host.log());
    }
}
