//! Socket files: stale sockets of the same user are replaced, everything else is left alone, and
//! only one of several hosts binds a path.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, getegid, geteuid, kill_process};

use super::{EX_OSERR, refused_start};
use crate::support::build::artifacts;
use crate::support::log::Log;
use crate::support::program::{command, jackfield};
use crate::support::scratch::Scratch;
use crate::support::start_script::StartScript;
use crate::support::user::OTHER_USER;
use crate::support::{HostProcess, Peer, wait_until};

/// Attempts to start a second host, and the threads that make them.
const STARTS: usize = 100;
const THREADS: usize = 4;
/// Number of races between hosts that start at the same moment.
const RACES: usize = 8;

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("the socket exists").ino()
}

/// Creates a socket file that no process listens on.
fn create_stale_socket(path: &Path) {
    fs::create_dir_all(path.parent().expect("the path has a parent")).expect("a directory");
    drop(UnixListener::bind(path).expect("a socket"));
    assert!(fs::symlink_metadata(path).expect("its file").file_type().is_socket());
}

#[test]
fn replaces_a_stale_socket() {
    let builder = HostProcess::builder();
    let path = builder.directory().join("run/jackfield.sock");

    create_stale_socket(&path);
    // A lock file of a host that was killed does not hold a lock.
    fs::write(path.with_extension("sock.lock"), "").expect("a file");

    let mut host = builder.start();
    host.peer().assert_usable();

    host.terminate();

    assert!(!path.exists() && !path.with_extension("sock.lock").exists(), "no file remains");
}

#[test]
fn replaces_the_socket_of_a_killed_host() {
    let mut host = HostProcess::with(&["device"]);
    let mut peer = host.peer();
    peer.assert_usable();

    let before = inode(&host.socket());
    host.signal(Signal::KILL);
    host.wait();
    peer.expect_close();

    assert_eq!(inode(&host.socket()), before, "a killed host cannot clean up");

    let mut next = Instance::start(host.directory());
    next.log.wait_for("ready", |line| line.contains("ready on "));

    Peer::connect(&host.socket()).assert_usable();
    assert_eq!(next.terminate(), Some(0));
    assert!(!host.socket().exists());
}

#[test]
fn leaves_files_of_other_kinds_alone() {
    type Make = fn(&Path);
    let kinds: [(&str, Make); 4] = [
        ("regular file", |path| fs::write(path, "precious").expect("a file")),
        ("directory", |path| fs::create_dir(path).expect("a directory")),
        ("symbolic link", |path| symlink("/tmp/nowhere", path).expect("a link")),
        ("special file", |path| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("a FIFO");
        }),
    ];
    for (word, make) in kinds {
        let builder = HostProcess::builder().config("[[listener]]\nsocket = \"taken/x.sock\"");
        let taken = builder.directory().join("taken");
        fs::create_dir(&taken).expect("a directory");
        let path = taken.join("x.sock");
        make(&path);
        let before = inode(&path);

        let mut host = builder.spawn();
        assert_eq!(host.wait().code(), Some(EX_OSERR));

        assert!(
            host.log().contains(&format!("there is a {word} by this name; it is left alone")),
            "{}",
            host.log()
        );

        assert_eq!(inode(&path), before, "{word}");
        assert_eq!(fs::read_dir(&taken).expect("the directory").count(), 1, "no lock file remains");
    }
}

#[test]
fn leaves_a_stale_socket_of_another_user_alone() {
    if !geteuid().is_root() {
        eprintln!("skipped, because only root can create such a socket");
        return;
    }
    let builder = HostProcess::builder().config("[[listener]]\nsocket = \"taken/x.sock\"");
    let path = builder.directory().join("taken/x.sock");
    create_stale_socket(&path);

    chown(&path, Some(OTHER_USER), None).expect("another owner");
    let before = inode(&path);

    let mut host = builder.spawn();

    assert_eq!(host.wait().code(), Some(EX_OSERR));
    assert!(host.log().contains(&format!("a dead socket of user {OTHER_USER}")), "{}", host.log());

    assert_eq!(inode(&path), before);
}

#[test]
fn never_replaces_a_live_socket() {
    let host = HostProcess::with(&["device"]);
    let before = inode(&host.socket());
    let mut peer = host.peer();

    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..STARTS / THREADS {
                    let second = jackfield(host.directory(), &["serve"]);
                    assert_eq!(second.code, EX_OSERR, "{second:?}");
                    assert!(second.stderr.contains("in use by another process"), "{second:?}");
                }
            });
        }
        for _ in 0..STARTS {
            peer.assert_usable();
        }
    });
    assert_eq!(inode(&host.socket()), before);
    host.peer().assert_usable();

    // A socket of another program, which has no lock file, is not taken either.
    let builder = HostProcess::builder().config("[[listener]]\nsocket = \"taken/x.sock\"");
    let path = builder.directory().join("taken/x.sock");
    fs::create_dir(path.parent().expect("a parent")).expect("a directory");
    let theirs = UnixListener::bind(&path).expect("another program's socket");

    let before = inode(&path);

    let mut host = builder.spawn();
    assert_eq!(host.wait().code(), Some(EX_OSERR));
    assert!(host.log_contains("in use by another process"), "{}", host.log());

    assert_eq!(inode(&path), before, "the socket was not replaced");

    drop(theirs);
}

#[test]
fn lets_one_of_several_concurrent_starts_replace_a_stale_socket() {
    let scratch = Scratch::new();
    scratch.directory("plugins");
    scratch.write("config.toml", "");
    let socket = scratch.join("run/jackfield.sock");
    for race in 0..RACES {
        create_stale_socket(&socket);

        let mut instances: Vec<_> = (0..THREADS).map(|_| Instance::start(scratch.path())).collect();
        let mut running = || instances.iter_mut().map(|one| usize::from(one.is_running())).sum::<usize>();
        wait_until("all but one have ended", || running() == 1);

        let (running, ended): (Vec<_>, Vec<_>) = instances.into_iter().partition(|one| one.status.is_none());
        for mut loser in ended {
            assert_eq!(loser.status, Some(Some(EX_OSERR)), "race {race}");
            loser.log.wait_for_end();
            assert!(loser.log.text().contains("in use by another process"), "{}", loser.log.text());
        }

        let [mut winner] = <[Instance; 1]>::try_from(running).ok().expect("one host runs");
        winner.log.wait_for("ready", |line| line.contains("ready on "));
        Peer::connect(&socket).assert_usable();
        assert_eq!(winner.terminate(), Some(0));
    }
}

#[test]
fn applies_the_configured_mode_and_group() {
    let groups = fs::read_to_string("/etc/group").expect("the groups");
    let group = groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (name, gid) = (parts.next()?, parts.nth(1)?.parse::<u32>().ok()?);
        let usable = if geteuid().is_root() { gid != 0 } else { gid == getegid().as_raw() };
        usable.then(|| (name.to_owned(), gid))
    });
    let (name, gid) = group.expect("a group");

    let config = format!(
        "[[listener]]\nsocket = \"run/a.sock\"\n[[listener]]\nsocket = \"run/b.sock\"\nmode = \"0600\"\n\
         [[listener]]\nsocket = \"run/deep/er/c.sock\"\nmode = \"0666\"\ngroup = \"{name}\""
    );

    let mut host = HostProcess::builder().config(&config).start();

    let mode_and_group = |name: &str| {
        let metadata = fs::symlink_metadata(host.path(name)).expect("the socket exists");
        (metadata.permissions().mode() & 0o7777, metadata.gid())
    };

    assert_eq!(mode_and_group("run/a.sock").0, 0o660, "the default is independent of the umask");
    assert_eq!(mode_and_group("run/b.sock").0, 0o600);
    assert_eq!(mode_and_group("run/deep/er/c.sock"), (0o666, gid));

    for socket in ["run/a.sock", "run/b.sock", "run/deep/er/c.sock"] {
        Peer::connect(&host.path(socket)).assert_usable();
    }

    host.terminate();
    assert!(!host.path("run/deep/er/c.sock").exists());

    let unknown = "[[listener]]\nsocket = \"run/x.sock\"\ngroup = \"no-such-group-here\"";
    let (code, log) = refused_start(HostProcess::builder().config(unknown));
    assert_eq!(code, EX_OSERR);
    assert!(log.contains("there is no group \"no-such-group-here\""), "{log}");
}

#[test]
fn refuses_an_admin_socket_in_a_directory_that_others_can_write() {
    for mode in [0o777, 0o775] {
        let builder = HostProcess::builder().config("[admin]\nsocket = \"shared/admin.sock\"");
        let shared = builder.directory().join("shared");
        fs::create_dir(&shared).expect("a directory");
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).expect("its mode");

        let (code, log) = refused_start(builder);

        assert_eq!(code, EX_OSERR);
        let expected = [
            "shared/admin.sock: ",
            "other users could replace the admin socket",
            &format!("\"shared\" has mode {mode:04o}; run chmod go-w"),
            "admin.socket",
        ];
        assert!(expected.iter().all(|part| log.contains(part)), "{log}");
    }
}

#[test]
fn warns_about_sockets_that_others_could_replace() {
    let config = "[[listener]]\nsocket = \"shared/jackfield.sock\"\n\
                  [admin]\nsocket = \"shared/own/admin.sock\"\n\
                  [metrics]\nlisten = \"sticky/metrics.sock\"\n";
    let builder = HostProcess::builder().config(config);
    for (name, mode) in [("shared", 0o777), ("sticky", 0o1777)] {
        let shared = builder.directory().join(name);
        fs::create_dir(&shared).expect("a directory");
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).expect("its mode");
    }

    let mut host = builder.start();

    for (socket, directory) in [
        ("shared/jackfield.sock", "\"shared\" has mode 0777"),
        ("shared/own/admin.sock", "\"shared\" has mode 0777"),
        ("sticky/metrics.sock", "\"sticky\" has mode 1777"),
    ] {
        let expected = format!("{}: other users could replace this socket: ", host.path(socket).display());
        let line = host.wait_for_log(&expected);
        assert!(line.contains("WARN") && line.contains(directory), "{line}");
        assert!(fs::symlink_metadata(host.path(socket)).expect("the socket").file_type().is_socket());
    }
    host.terminate();

    let host = HostProcess::builder().start();
    assert!(!host.log_contains("could replace"), "{}", host.log());
}

#[test]
fn creates_directories_that_only_their_owner_can_change() {
    let config = "[[listener]]\nsocket = \"a/b/x.sock\"\nmode = \"0620\"";
    let host = HostProcess::builder().config(config).script(StartScript::in_process("umask 000")).start();

    let mode = |name: &str| fs::metadata(host.path(name)).expect("it exists").permissions().mode() & 0o7777;
    assert_eq!((mode("a"), mode("a/b"), mode("run")), (0o755, 0o755, 0o755));
    assert_eq!(mode("a/b/x.sock"), 0o620);
}

/// A host in an existing directory, so that several hosts can compete for one socket.
struct Instance {
    child: Child,
    log: Log,
    /// The exit code once it has ended; the inner `None` stands for a signal.
    status: Option<Option<i32>>,
}

impl Instance {
    fn start(directory: &Path) -> Self {
        let mut command = command(&artifacts().program);
        // Without arguments the program serves with the configuration in the current directory.
        command.current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");

        let log = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
        Self { child, log, status: None }
    }

    fn is_running(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("our child").map(|status| status.code());
        }
        self.status.is_none()
    }

    fn terminate(&mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::TERM).expect("the signal is sent");
        wait_until("the process ends", || !self.is_running());
        self.status.flatten()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
