//! Inherited sockets: they are found by path or by name, never removed or changed, and their queues
//! are left to the next host.

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;
use serde_json::Value;

use super::supervisor::{SupervisedHost, Supervisor, socket_file_metadata};
use crate::support::Peer;

/// `EX_OSERR`: the host cannot start because of the system.
const EX_OSERR: i32 = 71;
/// `O_CLOEXEC` as /proc shows it, in octal.
const CLOEXEC: u32 = 0o2_000_000;

#[test]
fn serves_an_inherited_socket_without_changing_it() {
    let supervisor = Supervisor::new("", &["device"]);
    let listener = supervisor.bind("run/jackfield.sock");
    let path = supervisor.path("run/jackfield.sock");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("a mode that the host never sets");
    let before = socket_file_metadata(&path);

    for _ in 0..3 {
        // This client waits in the accept queue before the host starts.
        let mut early = supervisor.peer();
        early.send_sync("system.ping", &Value::Null);

        let descriptor = OwnedFd::from(listener.try_clone().expect("a descriptor"));
        let mut host = supervisor.start_with(vec![descriptor], "whatever");
        supervisor.wait_for_notification("READY=1");
        assert_eq!(early.receive().result(), "pong");
        supervisor.peer().assert_usable();

        let info = fs::read_to_string(format!("/proc/{}/fdinfo/3", host.pid())).expect("the descriptor");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("its flags").trim();
        assert!(
            u32::from_str_radix(flags, 8).expect("octal") & CLOEXEC != 0,
            "children do not inherit the socket: {flags}"
        );
        assert!(
            !supervisor.path("run/jackfield.sock.lock").exists(),
            "the host did not bind the path, so there is no lock"
        );

        host.signal(Signal::TERM);
        assert_eq!(host.wait(), 0);
        assert_eq!(socket_file_metadata(&path), before, "the socket file is unchanged");
    }

    drop(listener);
    fs::remove_file(path).expect("the socket file still exists");
}

#[test]
fn leaves_the_accept_queue_to_the_next_host() {
    let supervisor = Supervisor::new("", &[]);
    let listener = supervisor.bind("run/jackfield.sock");
    let descriptor = || vec![OwnedFd::from(listener.try_clone().expect("a descriptor"))];
    let mut host = supervisor.start_with(descriptor(), "");
    supervisor.wait_for_notification("READY=1");

    // A stopped host cannot accept. So these connections are in the queue when it is killed.
    host.stop_and_wait();

    let mut peers: Vec<_> = (0..100).map(|_| supervisor.peer()).collect();
    peers.iter_mut().for_each(|peer| peer.send_sync("system.ping", &Value::Null));
    host.signal(Signal::KILL);
    host.wait();

    let next = supervisor.start_with(descriptor(), "");
    for peer in &mut peers {
        assert_eq!(peer.receive().result(), "pong");
    }
    next.terminate();
}

#[test]
fn reports_an_inherited_socket_whose_file_was_removed() {
    let supervisor = Supervisor::new("", &[]);
    let listener = supervisor.bind("run/jackfield.sock");
    let host = supervisor.start_with(vec![listener.into()], "");
    supervisor.wait_for_notification("READY=1");
    let mut early = supervisor.peer();

    fs::remove_file(supervisor.path("run/jackfield.sock")).expect("the socket file is removed");

    let reported = "the file of this inherited socket was removed";
    let line = host.log.wait_for("the loss", |line| line.contains(reported));
    assert!(line.contains("ERROR") && line.contains("restart its .socket unit"), "{line}");
    early.assert_usable();
    let path = supervisor.path("run/jackfield.sock");
    assert!(!path.exists(), "the name belongs to the process that bound it");
    host.terminate();
}

#[test]
fn finds_sockets_by_name_and_reports_unknown_ones() {
    let config =
        "[[listener]]\nsocket = \"run/jackfield.sock\"\n[admin]\nsocket = \"run/jackfield-admin.sock\"";
    let supervisor = Supervisor::new(config, &[]);
    let sockets = [supervisor.bind("run/elsewhere.sock"), supervisor.bind("run/operators.sock")];
    let host = supervisor.start_with(sockets.map(OwnedFd::from).into(), "jackfield:jackfield-admin.sock");
    supervisor.wait_for_notification("READY=1");

    Peer::connect(&supervisor.path("run/elsewhere.sock")).assert_usable();
    let mut operator = Peer::connect(&supervisor.path("run/operators.sock"));
    assert!(operator.result("admin.plugin.list", &Value::Null).is_array());
    assert!(
        !supervisor.path("run/jackfield.sock").exists()
            && !supervisor.path("run/jackfield-admin.sock").exists()
    );
    host.terminate();

    let host = supervisor.start_with(vec![OwnedFd::from(supervisor.bind("run/other.sock"))], "other");
    let line = host.log.wait_for("the socket", |line| line.contains("no [[listener]] has its path or name"));
    assert!(line.contains("other.sock"), "{line}");
    supervisor.wait_for_notification("READY=1");
    supervisor.peer().assert_usable();
    host.terminate();
}

#[test]
fn refuses_descriptors_that_are_not_listening_sockets() {
    let supervisor = Supervisor::new("", &[]);
    let assert_refused = |mut host: SupervisedHost, reason: &str| {
        assert_eq!(host.wait(), EX_OSERR, "{}", host.log.text());
        let log = host.log.text();
        assert!(log.contains("cannot be served") && log.contains(reason), "{log}");
    };

    let datagram = UnixDatagram::bind(supervisor.path("run/datagram")).expect("a socket");
    assert_refused(supervisor.start_with(vec![datagram.into()], "x"), "not a valid unix stream socket");
    let file = fs::File::open(supervisor.path("config.toml")).expect("a file");
    assert_refused(supervisor.start_with(vec![file.into()], "x"), "is not a socket");
    let (connected, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    assert_refused(supervisor.start_with(vec![connected.into()], "x"), "it does not listen");

    let mut command = supervisor.command(&["sh", "-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]);
    command.env("LISTEN_FDS", "4000000000");
    let mut host = SupervisedHost::spawn(command);
    assert_eq!(host.wait(), EX_OSERR);
    assert!(host.log.text().contains("is not a number of sockets"), "{}", host.log.text());

    // Sockets for another process are ignored.
    let mut command = supervisor.command(&[]);
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let host = SupervisedHost::spawn(command);

    supervisor.wait_for_notification("READY=1");
    supervisor.peer().assert_usable();
    host.terminate();
    assert!(!supervisor.path("run/jackfield.sock").exists(), "the host removes the socket that it has bound");
}

#[test]
fn starts_on_the_first_connection_to_systemd_socket_activate() {
    let activate = "/usr/bin/systemd-socket-activate";
    if !std::path::Path::new(activate).exists() {
        eprintln!("skipped: there is no systemd-socket-activate here");
        return;
    }
    let supervisor = Supervisor::new("", &["device"]);
    let path = supervisor.path("run/jackfield.sock");
    let notify = format!("NOTIFY_SOCKET={}", supervisor.path("notify").display());
    let listen = path.display().to_string();
    let mut host = SupervisedHost::spawn(supervisor.command(&[
        activate,
        "-E",
        &notify,
        "-l",
        &listen,
        "--fdname=jackfield",
    ]));

    host.log.wait_for("the socket", |line| line.starts_with("Listening on"));
    let before = socket_file_metadata(&path);

    supervisor.peer().assert_usable();
    supervisor.wait_for_notification("READY=1");

    host.signal(Signal::TERM);
    assert_eq!(host.wait(), 0, "{}", host.log.text());
    assert_eq!(socket_file_metadata(&path), before);
}
