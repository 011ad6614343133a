//! Files that cannot replace what serves: it serves on, and why is said in the list, in the reply
//! and in the log.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, in_plugins, number, put, wait_until_number, with_first, write};
use crate::support::footprint::{assert_settles, idle_footprint};
use crate::support::{HostProcess, wait_until};

/// Files of content that is refused, with the reason.
const CONTENT: [(&str, &str); 13] = [
    ("no_note", "no-manifest"),
    ("no_root", "no-root-module"),
    ("other_api", "api-version"),
    ("unreadable_manifest", "manifest-unreadable"),
    ("panic_abort", "panic-abort"),
    ("wrong_abi", "abi-mismatch"),
    ("lying_manifest", "manifest-mismatch"),
    ("constructor_crashes", "probe-crashed"),
    ("start_fails", "start-failed"),
    ("start_panics", "start-panicked"),
    ("start_aborts", "probe-crashed"),
    ("start_exits", "probe-crashed"),
    ("start_hangs", "probe-timed-out"),
];

/// What the operator is told in each place, and what still answers.
#[track_caller]
fn assert_refused(host: &HostProcess, operator: &mut Operator, reason: &str) {
    let before = operator.generation();
    let verdict = operator.refused(reason);
    assert_eq!(verdict["generation"], before, "what serves is told with it: {verdict}");
    assert!(verdict["refused"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{verdict}");
    let row = operator.row(NAME);
    assert_eq!((&row["state"], &row["generation"]), (&json!("serving"), &json!(before)), "{row}");
    assert_eq!(row["refused"], verdict["refused"], "{row}");
    let (plugin, reason) = (format!("plugin=\"{NAME}\""), format!("reason=\"{reason}\""));
    wait_until("the log says so", || {
        let lines = host.log_lines();
        let told = lines.iter().rfind(|line| line.contains("ERROR") && line.contains(&plugin));
        told.is_some_and(|line| line.contains(&reason))
    });
    assert_eq!(number(&mut host.peer()), 1);
}

#[test]
fn content_that_is_no_good_replaces_nothing() {
    // Short, for the one that hangs; far above what the others take.
    let host = with_first("[plugins]\nwatch = false\nprobe = \"4s\"");
    let mut operator = Operator::of(&host);
    for (fixture, reason) in CONTENT {
        put(&host.path("plugins"), &Image::of(fixture).0, FILE);
        assert_refused(&host, &mut operator, reason);
    }
    // A script, and an object for another machine.
    write(&in_plugins(&host, FILE), b"#!/bin/sh\nexit 0\n");
    assert_refused(&host, &mut operator, "not-elf");
    let mut foreign = Image::numbered(2).0;
    // e_machine: MIPS.
    foreign[18] = 8;
    put(&host.path("plugins"), &foreign, FILE);
    assert_refused(&host, &mut operator, "elf-machine");
    assert_eq!(operator.row(NAME)["unloaded"], 0, "nothing of all that came so far as to be a generation");
    // The good one after all of them.
    Image::numbered(2).put(&host, FILE);
    operator.published();
    assert_eq!(operator.row(NAME)["refused"], Value::Null);
    wait_until_number(&host, 2);
}

#[test]
fn what_is_no_file_of_ours_replaces_nothing() {
    let host = with_first("[plugins]\nwatch = false");
    let (mut operator, file) = (Operator::of(&host), in_plugins(&host, FILE));
    let elsewhere = host.path("elsewhere.so");
    write(&elsewhere, &Image::numbered(2).0);
    let kinds: [(&str, &dyn Fn()); 6] = [
        ("symlink", &|| std::os::unix::fs::symlink(&elsewhere, &file).expect("a link")),
        ("hard-linked", &|| fs::hard_link(&elsewhere, &file).expect("another name")),
        ("not-a-regular-file", &|| fs::create_dir(&file).expect("a directory")),
        ("not-a-regular-file", &|| {
            let path = CString::new(file.to_str().expect("a path")).expect("no NUL");
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o644),
                0,
            )
            .expect("a FIFO");
        }),
        ("writable-by-others", &|| {
            write(&file, &Image::numbered(2).0);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("its mode");
        }),
        ("empty", &|| write(&file, b"")),
    ];
    for (reason, make) in kinds {
        fs::remove_file(&file).or_else(|_| fs::remove_dir(&file)).expect("what was there before");
        make();
        assert_refused(&host, &mut operator, reason);
    }
}

#[test]
fn refused_ones_leave_nothing_behind() {
    let host = with_first("[plugins]\nwatch = false");
    // What the host starts for the first of them it keeps for the others.
    Operator::of(&host).list();
    let before = idle_footprint(host.pid());
    for fixture in ["start_fails", "start_panics", "no_root", "wrong_abi", "start_aborts"] {
        for _ in 0..5 {
            put(&host.path("plugins"), &Image::of(fixture).0, FILE);
            let verdict = Operator::of(&host).reload(NAME);
            assert_eq!(verdict["outcome"], "refused", "{fixture}: {verdict}");
        }
    }
    assert_eq!(number(&mut host.peer()), 1);
    wait_until("no connection is left", || crate::support::footprint::connections(host.pid()) == 0);
    assert_settles(host.pid(), &before);
}

#[test]
fn of_two_that_claim_one_method_the_first_keeps_it_until_it_goes() {
    let host = HostProcess::with(&["device"]);
    let mut operator = Operator::of(&host);
    put(&host.path("plugins"), &Image::of("claims_device").0, FILE);
    operator.wait_until("it is refused", |row| row["refused"]["reason"] == "method-taken");
    let update = json!({ "deviceId": "a", "status": "online" });
    assert_eq!(host.peer().result("device.status.update", &update)["sequence"], 1);
    // The owner's own reloads change nothing about that, and the refusal is said once.
    for _ in 0..3 {
        assert_eq!(operator.reload("device")["outcome"], "published");
        assert_eq!(operator.reload(NAME)["refused"]["reason"], "method-taken");
    }
    assert_eq!(host.peer().result("device.status.update", &update)["sequence"], 2);
    let said = host.log_lines().into_iter().filter(|line| line.contains("method-taken"));
    assert_eq!(said.count(), 1, "{}", host.log());
    fs::remove_file(host.path("plugins/libdevice.so")).expect("the owner's file");
    operator.wait_until("it has the method now", |row| row["state"] == "serving");
    assert_eq!(host.peer().result("device.status.get", &Value::Null), 0);
    // And the other way round: what comes back is the second now.
    put(&host.path("plugins"), &Image::of("device").0, "libdevice.so");
    wait_until("it is refused in its turn", || operator.row("device")["refused"]["reason"] == "method-taken");
}
