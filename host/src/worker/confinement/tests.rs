//! A sandbox in force. Each test runs this test program again, as a process of its own that
//! confines itself: it must not happen to the process of all tests.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};

use super::*;

/// The variable that names the directory of a test to the process that it starts.
const DIRECTORY: &str = "JACKFIELD_SANDBOX_DIRECTORY";

/// The variable with the sandbox as JSON.
const SANDBOX: &str = "JACKFIELD_SANDBOX";

const LIMITS: WorkerLimits = WorkerLimits { memory: 256 << 20, files: 128 };

/// A directory with a part that can be read, one that can be written, and one that is secret.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("jackfield-sandbox-{name}-{}", std::process::id()));
        for part in ["read", "write", "secret"] {
            fs::create_dir_all(path.join(part)).unwrap();
            fs::write(path.join(part).join("file"), part).unwrap();
        }
        Self(path)
    }

    fn sandbox(&self) -> SandboxSpec {
        SandboxSpec {
            read: vec![self.0.join("read")],
            write: vec![self.0.join("write")],
            network: false,
            execute: false,
            required: false,
        }
    }

    /// Makes all attempts in a sandbox, and returns the outcome of each.
    fn attempts(&self, sandbox: &SandboxSpec) -> BTreeMap<String, String> {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "worker::confinement::tests::makes_its_attempts_in_a_sandbox", "--nocapture"])
            .env(DIRECTORY, &self.0)
            .env(SANDBOX, serde_json::to_string(sandbox).unwrap())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("attempt ")?.split_once(": "));
        let attempts: BTreeMap<_, _> = lines.map(|(name, outcome)| (name.into(), outcome.into())).collect();
        assert!(output.status.success() && !attempts.is_empty(), "{text}{:?}", output.stderr);
        attempts
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn report<T>(attempt: &str, outcome: io::Result<T>) {
    match outcome {
        Ok(_) => println!("attempt {attempt}: done"),
        Err(error) => println!("attempt {attempt}: {:?}", error.kind()),
    }
}

/// Does nothing in the process of all tests. The signals are ignored by default.
#[test]
fn makes_its_attempts_in_a_sandbox() {
    let (Some(directory), Ok(sandbox)) = (env::var_os(DIRECTORY), env::var(SANDBOX)) else { return };
    let directory = PathBuf::from(directory);
    let sandbox: SandboxSpec = serde_json::from_str(&sandbox).unwrap();
    // Made before, so that only the connection is an attempt.
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let parent = rustix::process::getppid().unwrap();

    // The main thread of a test program waits for the thread of the test.
    match apply_to_thread(&LIMITS, Some(&sandbox)) {
        Ok(line) => println!("attempt apply: {line}"),
        Err(error) => {
            println!("attempt apply: {error}");
            return;
        }
    }

    attempt_files(&directory);
    report("tcp", TcpStream::connect(tcp.local_addr().unwrap()));
    report("udp", UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
    report("unix", UnixStream::connect(directory.join("write/socket")));
    report("abstract", abstract_address(&directory).and_then(|address| UnixStream::connect_addr(&address)));
    report("execute", Command::new("/usr/bin/env").output());
    report("kill the parent", kill_process(parent, Signal::URG).map_err(Into::into));
    let own = Pid::from_raw(std::process::id().cast_signed()).unwrap();
    report("signal itself", kill_process(own, Signal::URG).map_err(Into::into));
    report("thread", thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap()));
    let limits = [Resource::Data, Resource::Nofile, Resource::Core].map(|limit| getrlimit(limit).maximum);
    println!("attempt limits: {limits:?}");
}

fn attempt_files(directory: &Path) {
    let read = |path: &str| File::open(directory.join(path)).and_then(io::read_to_string);
    report("read in read", read("read/file"));
    report("write in read", fs::write(directory.join("read/new"), "x"));
    report("read in write", read("write/file"));
    report("write in write", fs::write(directory.join("write/new"), "x"));
    report("rename in write", fs::rename(directory.join("write/new"), directory.join("write/file")));
    report("read elsewhere", read("secret/file"));
    report("write elsewhere", fs::write(directory.join("secret/new"), "x"));
    report("remove elsewhere", fs::remove_file(directory.join("secret/file")));
    report("chmod elsewhere", fs::set_permissions(directory.join("secret"), Permissions::from_mode(0o777)));
    report("read the shadow file", File::open("/etc/shadow"));
    report("read its memory map", fs::read("/proc/self/maps"));
    report(
        "read the memory of the parent",
        File::open(format!("/proc/{}/mem", std::os::unix::process::parent_id())),
    );
    report("list processes", fs::read_dir("/proc"));
    report("read random numbers", File::open("/dev/urandom"));
    report("write to the null device", fs::write("/dev/null", "x"));
    report("list time zones", fs::read_dir("/usr/share/zoneinfo"));
    report("read the loader cache", File::open("/etc/ld.so.cache"));
}

fn abstract_address(directory: &Path) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(directory.as_os_str().as_encoded_bytes())
}

/// Returns the attempts whose outcome is not `expected`.
fn other_than(attempts: &BTreeMap<String, String>, expected: &str, names: &[&str]) -> Vec<String> {
    let other = names.iter().filter(|name| attempts.get(**name).is_none_or(|outcome| outcome != expected));
    other.map(|name| format!("{name}: {:?}", attempts.get(*name))).collect()
}

/// Runs the attempts, unless the kernel cannot enforce all of the sandbox.
fn enforced_attempts(directory: &Directory, sandbox: &SandboxSpec) -> Option<BTreeMap<String, String>> {
    let path = directory.0.join("write/socket");
    let _listener = UnixListener::bind(path).unwrap();
    let _abstract = UnixListener::bind_addr(&abstract_address(&directory.0).unwrap()).unwrap();

    let attempts = directory.attempts(sandbox);
    if attempts["apply"].contains("not enforced") {
        println!("not tested, because the kernel cannot do it: {}", attempts["apply"]);
        return None;
    }
    Some(attempts)
}

const IN_READ_AND_WRITE: [&str; 11] = [
    "read in read",
    "read in write",
    "write in write",
    "rename in write",
    "read its memory map",
    "read random numbers",
    "write to the null device",
    "list time zones",
    "read the loader cache",
    "signal itself",
    "thread",
];

const ELSEWHERE: [&str; 10] = [
    "write in read",
    "read elsewhere",
    "write elsewhere",
    "remove elsewhere",
    "chmod elsewhere",
    "read the shadow file",
    "read the memory of the parent",
    "list processes",
    "abstract",
    "kill the parent",
];

#[test]
fn denies_everything_outside_of_the_sandbox() {
    let directory = Directory::new("strict");
    let Some(attempts) = enforced_attempts(&directory, &directory.sandbox()) else { return };

    assert_eq!(other_than(&attempts, "done", &IN_READ_AND_WRITE), [""; 0]);
    assert_eq!(other_than(&attempts, "done", &["unix"]), [""; 0]);
    assert_eq!(other_than(&attempts, "PermissionDenied", &ELSEWHERE), [""; 0]);
    assert_eq!(other_than(&attempts, "PermissionDenied", &["tcp", "udp", "execute"]), [""; 0]);
    assert_eq!(fs::read_to_string(directory.0.join("secret/file")).unwrap(), "secret");
}

#[test]
fn permits_network_and_programs_if_they_are_configured() {
    let directory = Directory::new("lenient");
    let read = vec!["/usr/bin".into(), directory.0.join("read")];
    let sandbox = SandboxSpec { read, network: true, execute: true, ..directory.sandbox() };
    let Some(attempts) = enforced_attempts(&directory, &sandbox) else { return };

    assert_eq!(other_than(&attempts, "done", &IN_READ_AND_WRITE), [""; 0]);
    assert_eq!(other_than(&attempts, "done", &["tcp", "udp", "execute"]), [""; 0]);
    assert_eq!(other_than(&attempts, "PermissionDenied", &ELSEWHERE), [""; 0]);
}

#[test]
fn sets_the_limits_and_reports_what_it_restricts() {
    let directory = Directory::new("limits");
    let missing = directory.0.join("missing");
    let sandbox = SandboxSpec { read: vec![missing.clone()], ..directory.sandbox() };
    let attempts = directory.attempts(&sandbox);

    assert_eq!(attempts["limits"], "[Some(268435456), Some(128), Some(1)]");
    let line = &attempts["apply"];
    let expected = "restricted: memory to 256 MiB, descriptors to 128, new privileges, ";
    assert!(line.starts_with(expected), "{line}");
    assert!(line.ends_with(&format!("paths that do not exist: {}", missing.display())), "{line}");
}

#[test]
fn refuses_to_confine_a_process_with_several_threads() {
    let directory = Directory::new("threads");

    let refused = apply(&LIMITS, Some(&directory.sandbox())).unwrap_err();

    assert_eq!(refused.reason, LoadErrorReason::SandboxUnavailable);
    assert!(refused.detail.contains("threads before its sandbox"), "{refused}");
}

#[test]
fn names_in_a_refusal_what_is_not_restricted() {
    let report =
        Enforcement { missing: vec!["files (Linux 5.13)".into(), "x".into()], ..Enforcement::default() };

    let refused = unavailable(&report);

    assert_eq!(refused.reason, LoadErrorReason::SandboxUnavailable);
    assert!(refused.detail.contains("does not restrict: files (Linux 5.13), x; use a kernel"), "{refused}");
}
