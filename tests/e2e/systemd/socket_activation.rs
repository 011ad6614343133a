//! Sockets that are handed over: served by path or by name, never removed nor changed, their queues
//! for the next host.

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;
use serde_json::Value;

use super::supervisor::{Place, Supervised, facts};
use crate::support::Peer;

/// `EX_OSERR`.
const SYSTEM: i32 = 71;
/// `O_CLOEXEC` as /proc shows it, in octal.
const CLOEXEC: u32 = 0o2_000_000;

#[test]
fn a_socket_that_was_handed_over_is_served_and_left_as_it_is() {
    let place = Place::new("", &["device"]);
    let listener = place.bind("run/jackfield.sock");
    let path = place.path("run/jackfield.sock");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("a mode that no host gives");
    let before = facts(&path);
    for _ in 0..3 {
        // In the queue before there is a host.
        let mut early = place.peer();
        early.send_sync("system.ping", &Value::Null);
        let descriptor = OwnedFd::from(listener.try_clone().expect("a descriptor"));
        let mut host = place.start_with(vec![descriptor], "whatever");
        place.hear("READY=1");
        assert_eq!(early.receive().result(), "pong");
        place.peer().assert_usable();
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/3", host.pid())).expect("the descriptor");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("its flags").trim();
        assert!(u32::from_str_radix(flags, 8).expect("octal") & CLOEXEC != 0, "no child has it: {flags}");
        assert!(
            !place.path("run/jackfield.sock.lock").exists(),
            "the name was not taken, so there is no lock"
        );

        host.signal(Signal::TERM);
        assert_eq!(host.wait(), 0);
        assert_eq!(facts(&path), before, "its file is as it was");
    }
    drop(listener);
    fs::remove_file(path).expect("whoever bound it removes it");
}

#[test]
fn what_waits_in_the_queue_of_a_host_that_ends_is_for_the_next() {
    let place = Place::new("", &[]);
    let listener = place.bind("run/jackfield.sock");
    let descriptor = || vec![OwnedFd::from(listener.try_clone().expect("a descriptor"))];
    let mut host = place.start_with(descriptor(), "");
    place.hear("READY=1");
    // A host that does not run cannot accept: what connects now is in the queue when it is told to
    // end.
    host.stand_still();
    let mut peers: Vec<_> = (0..100).map(|_| place.peer()).collect();
    peers.iter_mut().for_each(|peer| peer.send_sync("system.ping", &Value::Null));
    host.signal(Signal::KILL);
    host.wait();
    let next = place.start_with(descriptor(), "");
    for peer in &mut peers {
        assert_eq!(peer.receive().result(), "pong");
    }
    next.terminate();
}

#[test]
fn a_socket_bound_elsewhere_is_found_by_its_name_and_one_for_nobody_is_told() {
    let config =
        "[[listener]]\nsocket = \"run/jackfield.sock\"\n[admin]\nsocket = \"run/jackfield-admin.sock\"";
    let place = Place::new(config, &[]);
    let sockets = [place.bind("run/elsewhere.sock"), place.bind("run/operators.sock")];
    let host = place.start_with(sockets.map(OwnedFd::from).into(), "jackfield:jackfield-admin.sock");
    place.hear("READY=1");
    Peer::connect(&place.path("run/elsewhere.sock")).assert_usable();
    let mut operator = Peer::connect(&place.path("run/operators.sock"));
    assert!(operator.result("admin.plugin.list", &Value::Null).is_array());
    assert!(!place.path("run/jackfield.sock").exists() && !place.path("run/jackfield-admin.sock").exists());
    host.terminate();

    let host = place.start_with(vec![OwnedFd::from(place.bind("run/other.sock"))], "other");
    let line = host.log.wait_for("the socket", |line| line.contains("no listener of the configuration"));
    assert!(line.contains("other.sock"), "{line}");
    place.hear("READY=1");
    place.peer().assert_usable();
    host.terminate();
}

#[test]
fn what_is_no_listening_socket_is_refused_with_its_reason() {
    let place = Place::new("", &[]);
    let refused = |mut host: Supervised, reason: &str| {
        assert_eq!(host.wait(), SYSTEM, "{}", host.log.text());
        let log = host.log.text();
        assert!(log.contains("cannot be served") && log.contains(reason), "{log}");
    };
    let datagram = UnixDatagram::bind(place.path("run/datagram")).expect("a socket");
    refused(place.start_with(vec![datagram.into()], "x"), "not a valid unix stream socket");
    let file = fs::File::open(place.path("config.toml")).expect("a file");
    refused(place.start_with(vec![file.into()], "x"), "is not a socket");
    let (connected, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    refused(place.start_with(vec![connected.into()], "x"), "it does not listen");

    let mut command = place.command(&["sh", "-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]);
    command.env("LISTEN_FDS", "4000000000");
    let mut host = Supervised::of(command);
    assert_eq!(host.wait(), SYSTEM);
    assert!(host.log.text().contains("is no number of sockets"), "{}", host.log.text());

    // What was meant for another process is none of ours.
    let mut command = place.command(&[]);
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let host = Supervised::of(command);
    place.hear("READY=1");
    place.peer().assert_usable();
    host.terminate();
    assert!(!place.path("run/jackfield.sock").exists(), "it bound that itself");
}

#[test]
fn systemd_socket_activate_starts_it_with_the_first_connection() {
    let activate = "/usr/bin/systemd-socket-activate";
    if !std::path::Path::new(activate).exists() {
        eprintln!("skipped, for there is no systemd-socket-activate");
        return;
    }
    let place = Place::new("", &["device"]);
    let path = place.path("run/jackfield.sock");
    let notify = format!("NOTIFY_SOCKET={}", place.path("notify").display());
    let listen = path.display().to_string();
    let mut host =
        Supervised::of(place.command(&[activate, "-E", &notify, "-l", &listen, "--fdname=jackfield"]));
    host.log.wait_for("the socket", |line| line.starts_with("Listening on"));
    let before = facts(&path);
    place.peer().assert_usable();
    place.hear("READY=1");
    host.signal(Signal::TERM);
    assert_eq!(host.wait(), 0, "{}", host.log.text());
    assert_eq!(facts(&path), before);
}
