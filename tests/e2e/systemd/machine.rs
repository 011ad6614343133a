//! systemd as PID 1, in namespaces of its own: a system to install into, to crash, and to throw
//! away.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::build::{artifacts, root};
use crate::support::host::install;
use crate::support::log::Log;
use crate::support::program::{Finished, finish};
use crate::support::scratch::Scratch;
use crate::support::{Peer, wait::wait_for, wait_until};

/// Where the shipped configuration has the clients' socket.
pub(super) const SOCKET: &str = "/run/jackfield/jackfield.sock";
/// And the operators'.
pub(super) const ADMIN: &str = "/run/jackfield/jackfield-admin.sock";

/// Why there can be no such system here, in a word or two; `None` if there can.
pub(super) fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("root");
    }
    for (program, name) in [
        ("/lib/systemd/systemd", "systemd"),
        ("/usr/bin/unshare", "unshare"),
        ("/usr/bin/setpriv", "setpriv"),
    ] {
        if !Path::new(program).exists() {
            return Some(name);
        }
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    ["overlay", "cgroup2"].into_iter().find(|name| !filesystems.contains(name))
}

/// The script that boots it.
fn boot() -> PathBuf {
    root().join("tests/e2e/systemd/boot.sh")
}

/// A system that runs; gone with everything in it when dropped.
pub(super) struct Machine {
    outer: Child,
    init: u32,
    console: Log,
    scratch: Scratch,
}

impl Machine {
    /// Boots a system with the shipped files as `make install` puts them, and these plugins.
    pub(super) fn with_installed(plugins: &[&str]) -> Self {
        let built = artifacts().program.parent().expect("a directory").to_owned();
        let script = root().join("scripts/install");
        let line = format!(
            "DESTDIR=$ROOT PREFIX=/usr {} {} {}",
            script.display(),
            built.display(),
            plugins.join(" ")
        );
        Self::boot(&["sh", "-c", &line])
    }

    /// Boots; `before` runs first, with the new root's path in `$ROOT`.
    pub(super) fn boot(before: &[&str]) -> Self {
        let scratch = Scratch::new();
        let mut command = Command::new("setpriv");
        // Killed with the thread that started it, and its PID 1 with it, and everything in there
        // with that.
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--uts", "--ipc"]);
        command.args(["--fork", "--kill-child", "sh"]).arg(boot());
        command.arg(scratch.path()).args(before);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut outer = command.spawn().expect("unshare starts");
        let console = Log::follow(outer.stderr.take().expect("its stderr is a pipe"));
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let init = wait_for("PID 1 runs", || {
            assert!(outer.try_wait().expect("our child").is_none(), "{}", console.text());
            fs::read_to_string(&children).ok()?.trim().parse::<u32>().ok()
        });
        let machine = Self { outer, init, console, scratch };
        wait_until("the system is up", || {
            let state = machine.run(&["systemctl", "is-system-running"]).stdout;
            matches!(state.trim(), "running" | "degraded")
        });
        machine
    }

    /// Runs a command in there, to its end.
    pub(super) fn run<W: AsRef<OsStr>>(&self, words: &[W]) -> Finished {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--all", "--"]).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        finish(&mut command)
    }

    /// As [`Machine::run`]; it must end well. Gives back what it printed.
    #[track_caller]
    pub(super) fn must(&self, words: &[&str]) -> String {
        let finished = self.run(words);
        assert_eq!(finished.code, 0, "{words:?}: {finished:?}\n{}", self.journal());
        finished.stdout
    }

    /// What is at a path in there.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Puts a plugin or fixture into the plugin directory, whole at once.
    pub(super) fn add_plugin(&self, name: &str) {
        let [beside, to] =
            [".new", ""].map(|end| self.path(&format!("/usr/lib/jackfield/plugins/{name}.so{end}")));
        install(artifacts().library(name), &beside);
        fs::rename(beside, to).expect("it is renamed");
    }

    /// Writes a file in there, its directory made.
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory in there");
        fs::write(path, text).expect("a file in there");
    }

    /// A connection to the clients' socket.
    #[track_caller]
    pub(super) fn peer(&self) -> Peer {
        Peer::connect(&self.path(SOCKET))
    }

    /// One property of the service.
    pub(super) fn property(&self, name: &str) -> String {
        self.must(&["systemctl", "show", "--value", "-p", name, "jackfield.service"]).trim().to_owned()
    }

    /// The service's process, numbered as in there; 0 when there is none.
    pub(super) fn main_pid(&self) -> u32 {
        self.property("MainPID").parse().expect("a number")
    }

    /// Sends the service's process a signal.
    #[track_caller]
    pub(super) fn kill(&self, signal: &str) {
        let signal = format!("--signal={signal}");
        self.must(&["systemctl", "kill", "--kill-who=main", &signal, "jackfield.service"]);
    }

    /// The service's journal.
    pub(super) fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "--output=cat", "--unit=jackfield.service"]).stdout
    }

    /// What systemd itself complained about.
    pub(super) fn console(&self) -> String {
        self.console.text()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- the service's journal ---\n{}\n--- the console ---\n{}",
                self.journal(),
                self.console()
            );
        }
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        let gone = || !Path::new(&format!("/proc/{}", self.init)).exists();
        if std::thread::panicking() {
            return;
        }
        wait_until("the system is gone", gone);
        self.console.wait_for_end();
        let mut sweep = Command::new("unshare");
        let swept = finish(sweep.args(["--mount", "sh"]).arg(boot()).arg("--sweep").arg(self.scratch.path()));
        assert_eq!(swept.code, 0, "its control group is left: {swept:?}");
    }
}
