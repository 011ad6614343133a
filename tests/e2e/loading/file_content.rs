//! Files with invalid content: the host, `check` and `plugin inspect` give the same reason, and no
//! code of them runs.

use std::path::Path;

use super::elf::{
    DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_TEXTREL, Elf, PF_W, PF_X, PT_GNU_STACK, PT_LOAD, PT_NULL,
};
use super::{assert_checked, assert_inspected, assert_only_neighbour, assert_refused, with_neighbour};
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::wait_until;

/// A change to a copy of a valid plugin.
type Change = fn(&mut Elf);

/// The changed copies: name, reason, change.
const CHANGED: [(&str, &str, Change); 12] = [
    ("class32", "elf-class", |elf| elf.put(4, &[1])),
    ("big_endian", "elf-class", |elf| elf.put(5, &[2])),
    // EM_S390, which is not supported.
    ("other_machine", "elf-machine", |elf| elf.put(18, &[22, 0])),
    // ET_REL and ET_EXEC.
    ("object", "elf-type", |elf| elf.put(16, &[1, 0])),
    ("executable", "elf-type", |elf| elf.put(16, &[2, 0])),
    ("stack", "executable-stack", |elf| elf.add_flags(elf.program_headers(PT_GNU_STACK)[0], PF_X)),
    ("no_stack", "executable-stack", |elf| {
        elf.put(elf.program_headers(PT_GNU_STACK)[0], &PT_NULL.to_le_bytes());
    }),
    ("writable_code", "writable-code", |elf| {
        let code = elf.program_headers(PT_LOAD).into_iter().find(|at| elf.u32(at + 4) & PF_X != 0);
        elf.add_flags(code.expect("one segment is code"), PF_W);
    }),
    ("textrel", "text-relocations", |elf| elf.retag(DT_TEXTREL)),
    ("rpath", "run-path", |elf| elf.retag(DT_RPATH)),
    ("runpath", "run-path", |elf| elf.retag(DT_RUNPATH)),
    ("needs_path", "foreign-library", |elf| {
        let name = elf.string_of(elf.dynamic_entry(DT_NEEDED));
        elf.put(name, b"/");
    }),
];

/// Fixtures with invalid manifests or settings of the compiler.
const FIXTURES: [(&str, &str); 5] = [
    ("no_note", "no-manifest"),
    ("no_root", "no-root-module"),
    ("unreadable_manifest", "manifest-unreadable"),
    ("other_api", "api-version"),
    ("panic_abort", "panic-abort"),
];

/// Files of other kinds.
const OTHERS: [(&str, &str, &[u8]); 3] = [
    ("text", "not-elf", b"a text file with the name of a library\n"),
    ("script", "not-elf", b"#!/bin/sh\ntouch /tmp/jackfield-script-ran\n"),
    ("empty", "empty", b""),
];

#[test]
fn refuses_each_file_with_its_reason() {
    let builder = with_neighbour();
    let scratch = builder.directory().to_owned();
    let mut refused = Vec::new();

    for (name, reason, change) in CHANGED {
        let mut elf = Elf::read(artifacts().library("hello"));
        change(&mut elf);
        write(&scratch, name, &elf.0);
        refused.push((name, reason));
    }
    for (name, reason) in FIXTURES {
        install(artifacts().library(name), &at(&scratch, name));
        refused.push((name, reason));
    }
    for (name, reason, content) in OTHERS {
        write(&scratch, name, content);
        refused.push((name, reason));
    }

    // A program, unchanged.
    install(&Path::new("/bin/sh").canonicalize().expect("a shell"), &at(&scratch, "program"));
    refused.push(("program", "elf-type"));

    let host = builder.start();
    for (name, reason) in &refused {
        assert_refused(&host, name, reason);
        assert_inspected(&at(&scratch, name), reason);
    }

    let files: Vec<_> = refused.iter().map(|(name, reason)| (format!("lib{name}.so"), *reason)).collect();
    assert_checked(&scratch, &files);
    assert_only_neighbour(&host);
}

#[test]
fn loads_an_unchanged_copy() {
    // The control: the same plugin, read and written by the same code, but unchanged.
    let builder = with_neighbour();

    write(builder.directory(), "untouched", &Elf::read(artifacts().library("hello")).0);
    let host = builder.start();

    assert_eq!(super::plugins(&host), ["device", "system", "untouched"]);
    assert_eq!(host.peer().result("hello.greet", &serde_json::json!({ "name": "Ada" })), "hello, Ada");
}

#[test]
fn never_runs_constructors_of_refused_files() {
    let builder = with_neighbour();
    let scratch = builder.directory().to_owned();
    let marks = |name: &str| scratch.join(format!("{name}.mark"));
    let changed =
        |name: &str| CHANGED.iter().find(|(other, ..)| *other == name).expect("the change exists").2;

    for name in ["stack", "runpath", "needs_path", "textrel", "writable_code"] {
        let mut elf = marking(&marks(name));
        changed(name)(&mut elf);
        write(&scratch, name, &elf.0);
    }

    // Cut by its last byte, and a file that others can write.
    let mut cut = marking(&marks("cut"));
    cut.0.pop();
    write(&scratch, "cut", &cut.0);
    write(&scratch, "open", &marking(&marks("open")).0);
    set_mode(&at(&scratch, "open"), 0o666);
    write(&scratch, "sound", &marking(&marks("sound")).0);

    let host = builder.start();
    assert_eq!(super::plugins(&host), ["device", "sound", "system"]);
    for name in ["stack", "runpath", "needs_path", "textrel", "writable_code", "cut", "open"] {
        assert!(!marks(name).exists(), "a constructor of {name} ran");
        assert!(host.log_contains(&format!("plugin=\"{name}\"")), "{name} was considered");
    }
    // The valid plugin proves that a constructor leaves a mark: first in the probe, then in the
    // host.
    wait_until("the probe and the host have loaded it", || {
        std::fs::read_to_string(marks("sound")).is_ok_and(|m| m.lines().count() == 2)
    });
    let mark = std::fs::read_to_string(marks("sound")).expect("the mark");
    let pids: Vec<u32> = mark.lines().map(|line| line.parse().expect("a process id")).collect();
    assert_eq!(pids[1], host.pid());
    assert_ne!(pids[0], host.pid());

    // `check` and `inspect` do not run code of any file, not even of valid ones.
    assert_eq!(crate::support::program::jackfield(&scratch, &["check"]).code, 78);
    let inspect = ["plugin", "inspect", "plugins/libsound.so"];
    assert_eq!(crate::support::program::jackfield(&scratch, &inspect).code, 0);
    assert_eq!(std::fs::read_to_string(marks("sound")).expect("the mark"), mark);
}

/// Returns the fixture whose constructor leaves a mark in this file.
pub(super) fn marking(mark: &Path) -> Elf {
    const LABEL: &[u8] = b"jackfield-fixture-mark:";
    let mut elf = Elf::read(artifacts().library("constructor_marks"));

    let label = elf.0.windows(LABEL.len()).position(|window| window == LABEL).expect("the label is in .data");
    let mut path = mark.as_os_str().as_encoded_bytes().to_vec();

    path.push(0);
    elf.put(label, &path);
    elf
}

fn at(scratch: &Path, name: &str) -> std::path::PathBuf {
    scratch.join(format!("plugins/lib{name}.so"))
}

fn write(scratch: &Path, name: &str, content: &[u8]) {
    std::fs::write(at(scratch, name), content).expect("the file is written");
    set_mode(&at(scratch, name), 0o644);
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the mode is set");
}
