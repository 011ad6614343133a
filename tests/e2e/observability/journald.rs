//! The log in systemd's journal, received by a socket of the test.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::json;

use crate::support::start_script::StartScript;
use crate::support::user::is_root;
use crate::support::{CEILING, HostProcess};

/// Lines that the host writes in one second at most from one place; more than the kernel queues for
/// a journal that does not read.
const LINES: u32 = 500;

/// Receives lines until one contains `text`, and returns it.
#[track_caller]
fn receive_until(journal: &UnixDatagram, text: &str) -> String {
    let mut line = vec![0; 1 << 16];
    loop {
        let length = journal.recv(&mut line).unwrap_or_else(|error| panic!("no line with {text:?}: {error}"));
        let line = String::from_utf8_lossy(&line[..length]);
        if line.contains(text) {
            return line.into_owned();
        }
    }
}

#[test]
fn answers_requests_while_the_journal_does_not_read() {
    if !is_root("a journal that does not read") {
        return;
    }
    let builder = HostProcess::builder().plugin("services").config("[log]\nformat = \"journald\"");
    let directory = builder.directory().join("journal");
    std::fs::create_dir(&directory).unwrap();
    let journal = UnixDatagram::bind(directory.join("socket")).unwrap();
    journal.set_read_timeout(Some(CEILING)).unwrap();
    let mount =
        "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal; mount --bind journal /run/systemd/journal";
    let mut host = builder.script(StartScript::in_mount_namespace(mount)).spawn();
    receive_until(&journal, "ready on ");

    // From here on, the journal does not read.
    let mut peers: Vec<_> = (0..4).map(|_| host.peer()).collect();
    peers[0].result("services.flood", &json!(LINES));
    for number in 0..LINES {
        let peer = &mut peers[number as usize % 4];
        peer.result("services.log", &json!({ "level": "warn", "line": "on an I/O thread" }));
    }
    peers.iter_mut().for_each(|peer| peer.assert_usable());

    let line = receive_until(&journal, "log lines dropped: the log reader stalled");
    for field in ["PRIORITY\n", "TARGET\n", "CODE_FILE\n", "SYSLOG_IDENTIFIER\n", "JACKFIELD_DROPPED\n"] {
        assert!(line.contains(field), "no {field} in {line:?}");
    }

    host.terminate();
    journal.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    receive_until(&journal, "all requests answered");
}
