//! The crash record: removed at a shutdown, validated before use, and never shared by two hosts.

use std::fs;

use super::crash_in;
use crate::support::admin::plugin_row;
use crate::support::{HostProcess, Peer};

#[test]
fn removes_the_record_at_shutdown() {
    let mut host = HostProcess::with(&["crashes_host"]);
    assert!(host.path("run/recorder/running").exists() && host.path("run/recorder/names.json").exists());

    host.terminate();

    let remaining: Vec<_> = fs::read_dir(host.path("run/recorder")).unwrap().flatten().collect();
    assert!(remaining.is_empty(), "{remaining:?}");

    host.restart_ready();

    assert!(!host.log_contains("previous host"), "{}", host.log());
}

#[test]
fn reports_and_ignores_an_invalid_record() {
    let mut host = HostProcess::with(&["crashes_host"]);
    let record = host.path("run/recorder/running");
    let size = fs::metadata(&record).unwrap().len();

    type Corruption = fn(&mut Vec<u8>);
    let corruptions: [(&str, Corruption); 4] = [
        ("bytes instead of", |bytes| bytes.truncate(bytes.len() / 2)),
        ("bytes instead of", |bytes| bytes.resize(bytes.len() * 3, 0xff)),
        ("does not begin like a crash record", |bytes| bytes.fill(0xa5)),
        ("its layout is 165", |bytes| bytes[8] = 165),
    ];
    for (reason, corrupt) in corruptions {
        crash_in(&host, "crashes_host.inline", "x", "abort");
        host.wait();

        let mut bytes = fs::read(&record).unwrap();
        assert_eq!(bytes.len() as u64, size);
        corrupt(&mut bytes);
        fs::write(&record, bytes).unwrap();

        host.restart_ready();

        let line = host.wait_for_log("what the previous host ran is unknown");
        assert!(line.contains(reason), "{reason:?} in {line}");
        assert_eq!(host.count("deaths"), 0);
        assert_eq!(fs::metadata(&record).unwrap().len(), size);
    }

    // Impossible record slots and invalid name and crash files: the readable part is reported.
    crash_in(&host, "crashes_host.inline", "x", "abort");
    host.wait();

    let mut bytes = fs::read(&record).unwrap();
    bytes[128..].fill(0xff);
    fs::write(&record, bytes).unwrap();
    fs::write(host.path("run/recorder/names.json"), "{\"1\":").unwrap();
    fs::write(host.path("run/recorder/deaths.json"), "[[[[").unwrap();

    host.restart_ready();

    assert!(host.log_contains("what ran in the crash is reported without names"), "{}", host.log());
    assert!(host.log_contains("earlier crashes are forgotten"));
    assert_eq!(plugin_row(&host, "crashes_host")["state"], "serving");
}

#[test]
fn serves_without_a_record_if_its_directory_is_unusable() {
    let builder = HostProcess::builder().plugin("crashes_host").config("[plugins.crash]\nrecord = \"taken\"");
    fs::write(builder.directory().join("taken"), "a file where a directory should be").unwrap();
    let mut host = builder.start();
    assert!(host.log_contains("cannot write the crash record in "), "{}", host.log());
    assert!(host.log_contains("/taken is in the way; remove it"), "{}", host.log());
    assert!(host.log_contains("(see plugins.crash.record)"), "{}", host.log());

    host.peer().assert_usable();

    crash_in(&host, "crashes_host.inline", "x", "abort");
    host.restart_ready();

    assert!(!host.log_contains("previous host"));
}

#[test]
fn rejects_a_record_directory_that_others_can_write() {
    use std::os::unix::fs::PermissionsExt;
    let builder = HostProcess::builder().plugin("crashes_host");
    let directory = builder.directory().join("run/recorder");
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();

    let host = builder.start();

    assert!(host.log_contains("cannot write the crash record in "), "{}", host.log());
    assert!(host.log_contains("its group or others can write to it (mode 0777)"), "{}", host.log());
    assert!(fs::read_dir(&directory).unwrap().next().is_none());
}

#[test]
fn keeps_the_record_of_one_host_from_another() {
    let first = HostProcess::with(&["crashes_host"]);
    let record = first.path("run/recorder");
    let config = format!("[plugins.crash]\nrecord = {record:?}");

    let second = HostProcess::builder().config(&config).start();

    assert!(second.log_contains("another host uses it"), "{}", second.log());
    Peer::connect(&second.socket()).assert_usable();

    drop(second);
    assert!(record.join("running").exists(), "the record of the first host still exists");
}
