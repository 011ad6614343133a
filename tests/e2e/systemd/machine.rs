//! A temporary system in its own namespaces, with systemd as PID 1, in which tests install and
//! crash the service.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::support::build::{artifacts, root};
use crate::support::host::install;
use crate::support::log::Log;
use crate::support::program::{Finished, command, finish};
use crate::support::scratch::Scratch;
use crate::support::{Peer, wait::wait_for, wait_until};

/// The client socket of the shipped configuration.
pub(super) const SOCKET: &str = "/run/jackfield/jackfield.sock";
/// The admin socket of the shipped configuration.
pub(super) const ADMIN: &str = "/run/jackfield/jackfield-admin.sock";

/// Returns the missing prerequisite of such a system, or `None` if it can be booted.
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

/// Returns the script that boots the system.
fn boot() -> PathBuf {
    root().join("tests/e2e/systemd/boot.sh")
}

/// A running system. It is removed with all of its content when dropped.
pub(super) struct Machine {
    outer: Child,
    init: u32,
    console: Log,
    scratch: Scratch,
}

impl Machine {
    /// Boots a system with the files of `make install`, and these example plugins in the plugin
    /// directory.
    pub(super) fn with_installed(plugins: &[&str]) -> Self {
        let built = artifacts().program.parent().expect("a directory").to_owned();
        let script = root().join("scripts/install");
        let line = format!(
            "DESTDIR=$ROOT PREFIX=/usr {} {} {} && cd $ROOT/usr/lib/jackfield && cp examples/*.so plugins/",
            script.display(),
            built.display(),
            plugins.join(" ")
        );
        Self::boot(&["sh", "-c", &line])
    }

    /// Boots a system. `before` runs first, with the path of the new root in `$ROOT`.
    pub(super) fn boot(before: &[&str]) -> Self {
        let scratch = Scratch::new();
        let mut command = command("setpriv");

        // The process is killed with the thread that started it, its PID 1 is killed with it, and
        // so is everything inside.
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

    /// Runs a command inside and waits for its end.
    pub(super) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Finished {
        let mut command = command("nsenter");
        command.args(["--target", &self.init.to_string(), "--all", "--"]).args(args);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        finish(&mut command)
    }

    /// Runs a command inside, which must succeed, and returns its output.
    #[track_caller]
    pub(super) fn run_successfully(&self, args: &[&str]) -> String {
        let finished = self.run(args);
        assert_eq!(finished.code, 0, "{args:?}: {finished:?}\n{}", self.journal());
        finished.stdout
    }

    /// Returns the path outside of a path inside.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Puts a plugin or fixture into the plugin directory by renaming.
    pub(super) fn add_plugin(&self, name: &str) {
        let [temporary, target] =
            [".new", ""].map(|end| self.path(&format!("/usr/lib/jackfield/plugins/{name}.so{end}")));
        install(artifacts().library(name), &temporary);

        fs::rename(temporary, target).expect("the plugin is renamed");
    }

    /// Writes a file inside and creates its directory.
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);

        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory in there");
        fs::write(path, text).expect("a file in there");
    }

    /// Opens a connection to the client socket.
    #[track_caller]
    pub(super) fn peer(&self) -> Peer {
        Peer::connect(&self.path(SOCKET))
    }

    /// Returns a property of the service.
    pub(super) fn property(&self, name: &str) -> String {
        self.run_successfully(&["systemctl", "show", "--value", "-p", name, "jackfield.service"])
            .trim()
            .to_owned()
    }

    /// Returns the process id of the service, as seen inside, or 0 if it does not run.
    pub(super) fn main_pid(&self) -> u32 {
        self.property("MainPID").parse().expect("a number")
    }

    /// Sends a signal to the process of the service.
    #[track_caller]
    pub(super) fn kill(&self, signal: &str) {
        let signal = format!("--signal={signal}");
        self.run_successfully(&["systemctl", "kill", "--kill-who=main", &signal, "jackfield.service"]);
    }

    /// Returns the journal of the service.
    pub(super) fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "--output=cat", "--unit=jackfield.service"]).stdout
    }

    /// Returns the messages of systemd itself.
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

        let has_ended = || !Path::new(&format!("/proc/{}", self.init)).exists();

        if std::thread::panicking() {
            return;
        }

        wait_until("the system has ended", has_ended);
        self.console.wait_for_end();

        let mut sweep = command("unshare");
        let swept = finish(sweep.args(["--mount", "sh"]).arg(boot()).arg("--sweep").arg(self.scratch.path()));
        assert_eq!(swept.code, 0, "its control group remains: {swept:?}");
    }
}
