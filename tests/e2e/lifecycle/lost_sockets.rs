//! Socket files that are removed or replaced while the host serves.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::EX_OSERR;
use crate::support::http::try_get_unix;
use crate::support::program::jackfield;
use crate::support::threads::threads;
use crate::support::{HostProcess, Peer, wait_until};

const SOCKETS: [&str; 3] = ["run/jackfield.sock", "run/jackfield-admin.sock", "run/metrics.sock"];

fn host() -> HostProcess {
    HostProcess::builder().config("[metrics]\nlisten = \"run/metrics.sock\"").start()
}

#[track_caller]
fn wait_until_reachable(socket: &Path) {
    wait_until("clients reach the socket", || UnixStream::connect(socket).is_ok());
}

fn count_lines(host: &HostProcess, text: &str) -> usize {
    host.log_lines().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn binds_sockets_again_whose_directory_was_removed() {
    let mut host = host();
    let mode = |name: &&str| fs::metadata(host.path(name)).expect("the socket").permissions().mode();
    let modes: Vec<_> = SOCKETS.iter().map(mode).collect();
    let mut early = host.peer();
    early.assert_usable();

    // All files disappear at the same time. While they are removed one after another, the host may
    // bind the first socket again, which leaves the directory in use or is logged a second time.
    fs::rename(host.path("run"), host.path("old")).expect("the directory is moved away");
    fs::remove_dir_all(host.path("old")).expect("the directory is removed");
    SOCKETS.iter().for_each(|name| wait_until_reachable(&host.path(name)));

    host.peer().assert_usable();
    let mut operator = Peer::connect(&host.path("run/jackfield-admin.sock"));
    assert!(operator.result("admin.plugin.list", &Value::Null).is_array());
    assert_eq!(try_get_unix(&host.path("run/metrics.sock"), "/readyz").expect("a reply").status, 200);
    assert_eq!(SOCKETS.iter().map(mode).collect::<Vec<_>>(), modes);
    early.assert_usable();
    let bound_again = "the socket file was removed while the host serves; it is bound again";
    wait_until("each is logged", || count_lines(&host, bound_again) == SOCKETS.len());

    // The lock was taken again, too.
    let second = jackfield(host.directory(), &["serve"]);
    assert_eq!(second.code, EX_OSERR, "{second:?}");
    assert!(second.stderr.contains("in use by another process"), "{second:?}");
    host.terminate();
    assert!(SOCKETS.iter().all(|name| !host.path(name).exists()), "the new files are removed");
}

#[test]
fn answers_clients_that_were_queued_when_the_file_was_removed() {
    let mut host = host();
    host.signal(Signal::STOP);
    let pid = host.pid();
    wait_until("all threads are stopped", || threads(pid).iter().all(|thread| thread.state == 'T'));

    let mut queued: Vec<_> = (0..100).map(|_| host.peer()).collect();
    queued.iter_mut().for_each(|peer| peer.send_sync("system.ping", &Value::Null));
    fs::remove_file(host.socket()).expect("the file is removed");
    host.signal(Signal::CONT);

    for peer in &mut queued {
        assert_eq!(peer.receive().result(), "pong");
    }
    wait_until_reachable(&host.socket());
    queued.iter_mut().for_each(Peer::assert_usable);
}

#[test]
fn leaves_a_socket_alone_that_another_process_bound_meanwhile() {
    let mut host = host();
    let mut early = host.peer();
    let elsewhere = host.path("run/theirs");
    let theirs = UnixListener::bind(&elsewhere).expect("another program's socket");
    let inode = |path: &Path| fs::symlink_metadata(path).expect("the file").ino();
    let their_inode = inode(&elsewhere);

    fs::rename(&elsewhere, host.socket()).expect("the file is replaced");

    let line = host.wait_for_log("the socket file was replaced while the host serves and cannot be bound");
    assert!(line.contains("ERROR") && line.contains("in use by another process"), "{line}");
    early.assert_usable();

    // A file of another kind is in the way.
    drop(theirs);
    fs::write(&elsewhere, "precious").expect("a file");
    fs::rename(&elsewhere, host.socket()).expect("the file is replaced");
    host.wait_for_log("there is a regular file by this name");
    assert_eq!(fs::read_to_string(host.socket()).expect("the file"), "precious");

    fs::remove_file(host.socket()).expect("the file is removed");
    wait_until_reachable(&host.socket());
    host.peer().assert_usable();
    early.assert_usable();
    assert_ne!(inode(&host.socket()), their_inode);
    assert_eq!(count_lines(&host, "cannot be bound again"), 2, "{}", host.log());
    host.terminate();
}

#[test]
fn leaves_the_lock_of_another_host_alone() {
    let mut host = host();
    let lock = host.path("run/jackfield.sock.lock");
    fs::remove_file(&lock).expect("the lock is removed");
    fs::write(&lock, "").expect("another file");

    host.terminate();

    fs::remove_file(&lock).expect("the file of another host still exists");
}
