//! Plugin files and plugin directories that are removed or renamed, and return.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{FILE, Image, Operator, in_plugins, number, wait_until_number, with_first};
use crate::support::peer::{METHOD_NOT_FOUND, PLUGIN_UNAVAILABLE};
use crate::support::{HostProcess, wait_until};

/// Upper bound for the time until a directory that replaces another one is scanned.
const RESCAN_BOUND: Duration = Duration::from_secs(5);
/// A file that returns within this time does not count as removed.
const GRACE: Duration = Duration::from_millis(100);

/// Part of the message about a removed file.
const REMOVED: &str = " no longer serves";
/// Part of the message about a missing plugin directory.
const NO_DIRECTORY: &str = "plugins does not exist; no plugins are loaded from it";

const ROUTE: &str = "[[route]]\nmethod = \"numbered.*\"\nplugin = \"subject\"";

#[test]
fn completes_calls_in_flight_of_a_removed_plugin() {
    for (config, code) in [("", METHOD_NOT_FOUND), (ROUTE, PLUGIN_UNAVAILABLE)] {
        let host = with_first(config);
        let mut operator = Operator::connect(&host);
        let mut peer = host.peer();

        let latch = host.latch("last");
        peer.send_async("last", "numbered.slow_until", &latch.params());
        wait_until("the request is in flight", || host.count("in_flight") == 1);

        fs::remove_file(in_plugins(&host, FILE)).expect("the plugin file is removed");

        let row = operator.wait_until("the plugin is removed", |row| row["state"] == "removed");
        assert_eq!(row["draining"], json!([draining_generation(&row)]), "{row}");

        let mut other = host.peer();
        other.call("numbered.inline", &Value::Null).error(code);

        latch.open();
        assert_eq!(peer.receive().result(), 1, "the last request is answered");

        let row = operator.wait_until_unloaded();
        assert_eq!((&row["unloaded"], &row["generation"]), (&json!(1), &Value::Null), "{row}");
        other.call("numbered.inline", &Value::Null).error(code);

        // When the file returns, the plugin serves again.
        Image::numbered(2).put(&host, FILE);
        operator.wait_until("the plugin serves", |row| row["state"] == "serving");
        assert_eq!(number(&mut other), 2);
    }
}

/// Returns the first draining generation of a row of the plugin list, or 0.
fn draining_generation(row: &Value) -> u64 {
    row["draining"][0].as_u64().unwrap_or_default()
}

#[test]
fn ignores_a_file_that_is_missing_for_a_moment() {
    let host = with_first("");
    let mut peer = host.peer();
    // A file that a busy machine writes back after `GRACE` may count as removed.
    let mut is_quick = true;

    for version in 2..12 {
        let began = Instant::now();
        fs::remove_file(in_plugins(&host, FILE)).expect("the plugin file is removed");
        // Each of these writes causes a directory scan that misses the file.
        for noise in ["a.txt", "b.txt", "a.txt", "c.txt"] {
            fs::write(in_plugins(&host, noise), "noise").expect("another file is written");
            let reply = peer.call("numbered.inline", &Value::Null);
            assert!(!is_quick || began.elapsed() > GRACE || reply.code().is_none(), "{reply:?}");
        }

        Image::numbered(version).put(&host, FILE);
        is_quick &= began.elapsed() < GRACE;
        wait_until_number(&host, version.into());
    }
    assert!(!is_quick || !host.log_contains(REMOVED), "{}", host.log());
}

/// Returns the inodes of the directories that the host watches.
fn watched_inodes(host: &HostProcess) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{}/fdinfo", host.pid())).expect("the host runs").flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let inode = |line: &str| {
        let inode = line.strip_prefix("inotify ")?.split(' ').find_map(|word| word.strip_prefix("ino:"))?;
        u64::from_str_radix(inode, 16).ok()
    };
    texts.flat_map(|text| text.lines().filter_map(inode).collect::<Vec<_>>()).collect()
}

/// Waits until the host watches the plugin directory.
#[track_caller]
fn assert_watched(host: &HostProcess) {
    let inode = fs::metadata(host.path("plugins")).expect("the directory exists").ino();
    wait_until("the directory is watched", || watched_inodes(host).contains(&inode));
}

#[test]
fn watches_a_directory_that_replaces_another() {
    let mut host = with_first("");
    for version in 2..5 {
        let new = host.scratch().directory(&format!("plugins.{version}"));
        super::put(&new, &Image::numbered(version).0, FILE);

        let began = Instant::now();
        fs::rename(host.path("plugins"), host.path(&format!("old.{version}")))
            .expect("the old directory is renamed");
        fs::rename(new, host.path("plugins")).expect("the new directory is renamed");

        if version == 4 {
            // A scan caused by a signal must not prevent the new directory from being watched.
            host.signal(Signal::HUP);
        }

        wait_until_number(&host, version.into());
        assert!(began.elapsed() < RESCAN_BOUND, "{:?}", began.elapsed());
        assert_watched(&host);
    }
}

#[test]
fn keeps_serving_without_the_directory_and_watches_a_new_one() {
    let mut host = with_first("");

    // The host logs that it is ready before it watches the directory.
    assert_watched(&host);

    fs::remove_dir_all(host.path("plugins")).expect("the directory is removed");
    for _ in 0..3 {
        host.signal(Signal::HUP);
    }
    host.wait_for_log(NO_DIRECTORY);
    assert_eq!(number(&mut host.peer()), 1);

    let began = Instant::now();
    host.scratch().directory("plugins");
    Image::numbered(2).put(&host, FILE);
    wait_until_number(&host, 2);
    assert!(began.elapsed() < RESCAN_BOUND, "{:?}", began.elapsed());
    assert_watched(&host);

    let warnings = host.log_lines().into_iter().filter(|line| line.contains(NO_DIRECTORY));
    assert_eq!(warnings.count(), 1, "{}", host.log());
    assert!(!host.log_contains("cannot be watched"), "{}", host.log());
}

#[test]
fn scans_an_unwatched_directory_on_sighup() {
    let mut host = with_first("[plugins]\nwatch = false");
    let mut peer = host.peer();

    Image::numbered(2).put(&host, FILE);
    assert!(
        !watched_inodes(&host)
            .contains(&fs::metadata(host.path("plugins")).expect("the directory exists").ino())
    );
    assert_eq!(number(&mut peer), 1);

    host.signal(Signal::HUP);
    wait_until_number(&host, 2);

    // The renamed file is the same plugin under the other permitted file name. One signal suffices.
    fs::rename(in_plugins(&host, FILE), in_plugins(&host, "subject.so")).expect("the file is renamed");
    host.signal(Signal::HUP);
    host.wait_for_log(REMOVED);

    let mut operator = Operator::connect(&host);
    operator.wait_until("the plugin serves under its other file name", |row| {
        row["state"] == "serving" && row["unloaded"] == 2
    });
    wait_until_number(&host, 2);

    // A scan on SIGHUP refuses invalid content, and the current generation continues to serve.
    fs::write(in_plugins(&host, "subject.so"), "no plugin").expect("the file is overwritten");
    host.signal(Signal::HUP);
    operator.wait_until("the file is refused", |row| row["refused"].is_object());
    assert_eq!(number(&mut peer), 2);
}
