//! The record itself: gone after a good end, never trusted, and one host's alone.

use std::fs;

use super::kill_by;
use crate::support::admin::plugin_row;
use crate::support::{HostProcess, Peer};

#[test]
fn a_good_end_leaves_nothing_to_tell_of() {
    let mut host = HostProcess::with(&["dies"]);
    assert!(host.path("run/recorder/running").exists() && host.path("run/recorder/names.json").exists());
    host.terminate();
    let left: Vec<_> = fs::read_dir(host.path("run/recorder")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    host.restart_ready();
    assert!(!host.log_contains("the host before"), "{}", host.log());
}

#[test]
fn what_is_no_record_is_said_and_ignored() {
    let mut host = HostProcess::with(&["dies"]);
    let record = host.path("run/recorder/running");
    let size = fs::metadata(&record).unwrap().len();
    type Spoil = fn(&mut Vec<u8>);
    let ways: [(&str, Spoil); 4] = [
        ("bytes, not", |bytes| bytes.truncate(bytes.len() / 2)),
        ("bytes, not", |bytes| bytes.resize(bytes.len() * 3, 0xff)),
        ("does not begin as a record does", |bytes| bytes.fill(0xa5)),
        ("its layout is 165", |bytes| bytes[8] = 165),
    ];
    for (words, spoil) in ways {
        kill_by(&host, "dies.inline", "x", "abort");
        host.wait();
        let mut bytes = fs::read(&record).unwrap();
        assert_eq!(bytes.len() as u64, size);
        spoil(&mut bytes);
        fs::write(&record, bytes).unwrap();
        host.restart_ready();
        let line = host.wait_for_log("the record of the host before cannot be read, and is ignored");
        assert!(line.contains(words), "{words:?} in {line}");
        assert_eq!(host.count("deaths"), 0);
        assert_eq!(fs::metadata(&record).unwrap().len(), size);
    }
    // Seats that say what cannot be, names and deaths that are none: told as far as it goes.
    kill_by(&host, "dies.inline", "x", "abort");
    host.wait();
    let mut bytes = fs::read(&record).unwrap();
    bytes[128..].fill(0xff);
    fs::write(&record, bytes).unwrap();
    fs::write(host.path("run/recorder/names.json"), "{\"1\":").unwrap();
    fs::write(host.path("run/recorder/deaths.json"), "[[[[").unwrap();
    host.restart_ready();
    assert!(host.log_contains("the names of what ran cannot be read"), "{}", host.log());
    assert!(host.log_contains("the deaths of late cannot be read, and are forgotten"));
    assert_eq!(plugin_row(&host, "dies")["state"], "serving");
}

#[test]
fn without_a_place_for_it_the_host_serves_all_the_same() {
    let builder = HostProcess::builder().plugin("dies").config("[plugins.deaths]\nrecord = \"taken\"");
    fs::write(builder.directory().join("taken"), "a file where a directory should be").unwrap();
    let mut host = builder.start();
    assert!(host.log_contains("no record can be kept"), "{}", host.log());
    host.peer().assert_usable();
    kill_by(&host, "dies.inline", "x", "abort");
    host.restart_ready();
    assert!(!host.log_contains("the host before"));
}

#[test]
fn a_directory_that_others_may_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let builder = HostProcess::builder().plugin("dies");
    let directory = builder.directory().join("run/recorder");
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let host = builder.start();
    assert!(host.log_contains("no record can be kept"), "{}", host.log());
    assert!(host.log_contains("others may write to the directory"), "{}", host.log());
    assert!(fs::read_dir(&directory).unwrap().next().is_none());
}

#[test]
fn two_hosts_do_not_share_one() {
    let first = HostProcess::with(&["dies"]);
    let record = first.path("run/recorder");
    let config = format!("[plugins.deaths]\nrecord = {record:?}");
    let second = HostProcess::builder().config(&config).start();
    assert!(second.log_contains("another host keeps its record there"), "{}", second.log());
    Peer::connect(&second.socket()).assert_usable();
    drop(second);
    assert!(record.join("running").exists(), "the first one's is left alone");
}
