//! Refused files: the current generation continues to serve, and list, reply and log state the
//! reason.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, in_plugins, number, put, wait_until_number, with_first, write};
use crate::support::footprint::{assert_released, idle_footprint};
use crate::support::{HostProcess, wait_until};

/// Fixtures that are refused, with the reason.
const CONTENT: [(&str, &str); 8] = [
    ("no_note", "no-manifest"),
    ("no_root", "no-root-module"),
    ("other_api", "api-version"),
    ("unreadable_manifest", "manifest-unreadable"),
    ("panic_abort", "panic-abort"),
    ("wrong_abi", "abi-mismatch"),
    ("lying_manifest", "manifest-mismatch"),
    ("constructor_crashes", "probe-crashed"),
];

/// Faults of the fixture `start_faults`, with the reason of the refusal.
const START_FAULTS: [(&str, &str); 5] = [
    ("error", "start-failed"),
    ("panic", "start-panicked"),
    ("abort", "probe-crashed"),
    ("exit", "probe-crashed"),
    ("hang", "probe-timed-out"),
];

/// Time limit of the probe. It is short because of the fixture that hangs, and far above the time
/// that others take.
const PROBE: &str = "[plugins]\nwatch = false\nprobe = \"4s\"\n";

/// Returns settings of the plugin [`NAME`] that select the fault of the fixture `start_faults`. The
/// fixture `numbered` ignores them.
fn start_fault(fault: &str) -> String {
    format!("[plugin.{NAME}.settings]\nfault = \"{fault}\"\n")
}

/// Asserts that a reload is refused with this reason, and that the current generation continues to
/// serve.
#[track_caller]
fn assert_refused(host: &HostProcess, operator: &mut Operator, reason: &str) {
    let before = operator.generation();
    let verdict = operator.reload_refused(reason);
    assert_eq!(verdict["generation"], before, "the verdict contains the serving generation: {verdict}");
    assert!(verdict["refused"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{verdict}");

    let row = operator.row(NAME);
    assert_eq!((&row["state"], &row["generation"]), (&json!("serving"), &json!(before)), "{row}");
    assert_eq!(row["refused"], verdict["refused"], "{row}");

    let (plugin, reason) = (format!("plugin=\"{NAME}\""), format!("reason=\"{reason}\""));
    wait_until("the reason is logged", || {
        let lines = host.log_lines();
        let last = lines.iter().rfind(|line| line.contains("ERROR") && line.contains(&plugin));
        last.is_some_and(|line| line.contains(&reason))
    });
    assert_eq!(number(&mut host.peer()), 1);
}

/// Asserts that the refused content did not become a generation, and that valid content is loaded
/// afterwards.
#[track_caller]
fn assert_loads_valid_content(host: &HostProcess, operator: &mut Operator) {
    assert_eq!(operator.row(NAME)["unloaded"], 0, "no refused content has become a generation");

    Image::numbered(2).put(host, FILE);
    operator.reload_published();
    assert_eq!(operator.row(NAME)["refused"], Value::Null);
    wait_until_number(host, 2);
}

#[test]
fn keeps_serving_when_content_is_refused() {
    let host = with_first(PROBE);
    let mut operator = Operator::connect(&host);

    for (fixture, reason) in CONTENT {
        put(&host.path("plugins"), &Image::of(fixture).0, FILE);
        assert_refused(&host, &mut operator, reason);
    }

    // The next files are a script and an object for another machine.
    write(&in_plugins(&host, FILE), b"#!/bin/sh\nexit 0\n");
    assert_refused(&host, &mut operator, "not-elf");
    let mut foreign = Image::numbered(2).0;
    // The byte of e_machine; 8 is MIPS.
    foreign[18] = 8;
    put(&host.path("plugins"), &foreign, FILE);
    assert_refused(&host, &mut operator, "elf-machine");

    assert_loads_valid_content(&host, &mut operator);
}

#[test]
fn keeps_serving_when_start_fails() {
    for (fault, reason) in START_FAULTS {
        let host = with_first(&format!("{PROBE}{}", start_fault(fault)));
        let mut operator = Operator::connect(&host);

        Image::of("start_faults").put(&host, FILE);

        assert_refused(&host, &mut operator, reason);
        assert_loads_valid_content(&host, &mut operator);
    }
}

#[test]
fn keeps_serving_when_a_file_is_refused() {
    let host = with_first("[plugins]\nwatch = false");
    let (mut operator, file) = (Operator::connect(&host), in_plugins(&host, FILE));
    let elsewhere = host.path("elsewhere.so");
    write(&elsewhere, &Image::numbered(2).0);
    let kinds: [(&str, &dyn Fn()); 6] = [
        ("symlink", &|| std::os::unix::fs::symlink(&elsewhere, &file).expect("the link is created")),
        ("hard-linked", &|| fs::hard_link(&elsewhere, &file).expect("the hard link is created")),
        ("not-a-regular-file", &|| fs::create_dir(&file).expect("the directory is created")),
        ("not-a-regular-file", &|| {
            let path =
                CString::new(file.to_str().expect("the path is UTF-8")).expect("the path contains no NUL");
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o644),
                0,
            )
            .expect("the FIFO is created");
        }),
        ("writable-by-others", &|| {
            write(&file, &Image::numbered(2).0);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("the mode is set");
        }),
        ("empty", &|| write(&file, b"")),
    ];
    for (reason, create) in kinds {
        fs::remove_file(&file).or_else(|_| fs::remove_dir(&file)).expect("the previous file is removed");
        create();

        assert_refused(&host, &mut operator, reason);
    }
}

#[test]
fn releases_all_resources_of_refused_content() {
    for fault in ["error", "panic", "abort"] {
        let host = with_first(&format!("[plugins]\nwatch = false\n{}", start_fault(fault)));
        // The first request of an operator creates resources that the host keeps, so it is sent
        // before the footprint is taken.
        Operator::connect(&host).list();
        let before = idle_footprint(host.pid());

        for fixture in ["start_faults", "no_root", "wrong_abi"] {
            for _ in 0..9 {
                put(&host.path("plugins"), &Image::of(fixture).0, FILE);
                let verdict = Operator::connect(&host).reload(NAME);
                assert_eq!(verdict["outcome"], "refused", "{fixture}: {verdict}");
            }
        }

        assert_eq!(number(&mut host.peer()), 1);
        wait_until("all connections are closed", || crate::support::footprint::connections(host.pid()) == 0);
        assert_released(host.pid(), &before);
    }
}
