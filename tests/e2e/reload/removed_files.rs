//! Files and whole directories that go away, and come back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{FILE, Image, Operator, in_plugins, number, wait_until_number, with_first};
use crate::support::peer::{METHOD_NOT_FOUND, PLUGIN_UNAVAILABLE};
use crate::support::{HostProcess, wait_until};

/// How soon a directory that took the other's place is looked into.
const HEALED: Duration = Duration::from_secs(5);
/// A file that is back within this has never gone.
const BACK: Duration = Duration::from_millis(100);

const ROUTED: &str = "[[route]]\nmethod = \"numbered.*\"\nplugin = \"subject\"";

#[test]
fn one_that_is_removed_answers_its_last_requests_and_no_more() {
    for (config, code) in [("", METHOD_NOT_FOUND), (ROUTED, PLUGIN_UNAVAILABLE)] {
        let host = with_first(config);
        let mut operator = Operator::of(&host);
        let mut peer = host.peer();
        let latch = host.latch("last");
        peer.send_async("last", "numbered.slow_until", &latch.params());
        wait_until("it is in flight", || host.count("in_flight") == 1);
        fs::remove_file(in_plugins(&host, FILE)).expect("the plugin is there");
        let row = operator.wait_until("it is removed", |row| row["state"] == "removed");
        assert_eq!(row["draining"], json!([host_generation(&row)]), "{row}");
        let mut other = host.peer();
        other.call("numbered.inline", &Value::Null).error(code);
        latch.open();
        assert_eq!(peer.receive().result(), 1, "the last one is answered");
        let row = operator.wait_until_unloaded();
        assert_eq!((&row["unloaded"], &row["generation"]), (&json!(1), &Value::Null), "{row}");
        other.call("numbered.inline", &Value::Null).error(code);
        // Back again, it serves again.
        Image::numbered(2).put(&host, FILE);
        operator.wait_until("it serves", |row| row["state"] == "serving");
        assert_eq!(number(&mut other), 2);
    }
}

/// The generation that drains.
fn host_generation(row: &Value) -> u64 {
    row["draining"][0].as_u64().unwrap_or_default()
}

#[test]
fn one_that_is_away_for_a_moment_has_not_gone() {
    let host = with_first("");
    let mut peer = host.peer();
    let mut quick = true;
    for wanted in 2..12 {
        let began = Instant::now();
        fs::remove_file(in_plugins(&host, FILE)).expect("the plugin is there");
        // Each is a reason to look, and to miss the file once more.
        for noise in ["a.txt", "b.txt", "a.txt", "c.txt"] {
            fs::write(in_plugins(&host, noise), "noise").expect("another file");
            let reply = peer.call("numbered.inline", &Value::Null);
            assert!(!quick || began.elapsed() > BACK || reply.code().is_none(), "{reply:?}");
        }
        Image::numbered(wanted).put(&host, FILE);
        quick &= began.elapsed() < BACK;
        wait_until_number(&host, wanted.into());
    }
    assert!(!quick || !host.log_contains("its file has gone"), "{}", host.log());
}

/// The inodes of the directories that the host watches.
fn watched(host: &HostProcess) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{}/fdinfo", host.pid())).expect("a living process").flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let inode = |line: &str| {
        let inode = line.strip_prefix("inotify ")?.split(' ').find_map(|word| word.strip_prefix("ino:"))?;
        u64::from_str_radix(inode, 16).ok()
    };
    texts.flat_map(|text| text.lines().filter_map(inode).collect::<Vec<_>>()).collect()
}

#[track_caller]
fn assert_watched(host: &HostProcess) {
    let inode = fs::metadata(host.path("plugins")).expect("the directory").ino();
    wait_until("the directory is watched", || watched(host).contains(&inode));
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_followed() {
    let mut host = with_first("");
    for wanted in 2..5 {
        let new = host.scratch().directory(&format!("plugins.{wanted}"));
        super::put(&new, &Image::numbered(wanted).0, FILE);
        let began = Instant::now();
        fs::rename(host.path("plugins"), host.path(&format!("old.{wanted}"))).expect("the old one goes");
        fs::rename(new, host.path("plugins")).expect("the new one comes");
        if wanted == 4 {
            // Seen by a signal first, it is watched all the same.
            host.signal(Signal::HUP);
        }
        wait_until_number(&host, wanted.into());
        assert!(began.elapsed() < HEALED, "{:?}", began.elapsed());
        assert_watched(&host);
    }
}

#[test]
fn without_its_directory_what_serves_serves_on_and_a_new_one_is_followed() {
    let mut host = with_first("");
    // Ready is said before that.
    assert_watched(&host);
    fs::remove_dir_all(host.path("plugins")).expect("the directory is there");
    for _ in 0..3 {
        host.signal(Signal::HUP);
    }
    host.wait_for_log("there is no such directory");
    assert_eq!(number(&mut host.peer()), 1);
    let began = Instant::now();
    host.scratch().directory("plugins");
    Image::numbered(2).put(&host, FILE);
    wait_until_number(&host, 2);
    assert!(began.elapsed() < HEALED, "{:?}", began.elapsed());
    assert_watched(&host);
    let said = host.log_lines().into_iter().filter(|line| line.contains("there is no such directory"));
    assert_eq!(said.count(), 1, "{}", host.log());
    assert!(!host.log_contains("cannot be watched"), "{}", host.log());
}

#[test]
fn unwatched_it_is_looked_at_when_told() {
    let mut host = with_first("[plugins]\nwatch = false");
    let mut peer = host.peer();
    Image::numbered(2).put(&host, FILE);
    assert!(!watched(&host).contains(&fs::metadata(host.path("plugins")).expect("the directory").ino()));
    assert_eq!(number(&mut peer), 1);
    host.signal(Signal::HUP);
    wait_until_number(&host, 2);
    // Renamed, it is the same plugin by the other name that a file of it may have; one word is
    // enough.
    fs::rename(in_plugins(&host, FILE), in_plugins(&host, "subject.so")).expect("it is renamed");
    host.signal(Signal::HUP);
    host.wait_for_log("its file has gone");
    let mut operator = Operator::of(&host);
    operator
        .wait_until("it serves by its other name", |row| row["state"] == "serving" && row["unloaded"] == 2);
    wait_until_number(&host, 2);
    // What was refused is tried again when told, whatever it was refused for.
    fs::write(in_plugins(&host, "subject.so"), "no plugin").expect("it is written over");
    host.signal(Signal::HUP);
    operator.wait_until("it is refused", |row| row["refused"].is_object());
    assert_eq!(number(&mut peer), 2);
}
