//! `scripts/install-plugins`, `scripts/need` and `scripts/keep-going`, which the Makefile calls.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use super::script;
use crate::support::build::root;
use crate::support::program::{command, finish};
use crate::support::scratch::Scratch;

#[test]
fn installs_plugins_completely_and_writable_for_the_owner_only() {
    let scratch = Scratch::new();
    scratch.directory("built");
    let to = scratch.join("plugins");

    let install = |content: &str| {
        for name in ["one", "two"] {
            scratch.write(&format!("built/lib{name}.so"), format!("{name} {content}"));
        }
        let mut command = script("install-plugins");
        let finished = finish(command.arg(scratch.join("built")).arg(&to).args(["one", "two"]));
        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (0, "", ""));
    };

    install("first");

    fs::set_permissions(&to, fs::Permissions::from_mode(0o777)).expect("a directory for all to write");

    let first = fs::metadata(to.join("one.so")).expect("the file exists").ino();
    install("second");

    assert_eq!(fs::read_to_string(to.join("one.so")).expect("the file exists"), "one second");
    assert_ne!(
        fs::metadata(to.join("one.so")).expect("the file exists").ino(),
        first,
        "replaced, not written over"
    );

    let mode = |path: PathBuf| fs::metadata(path).expect("the file exists").permissions().mode() & 0o777;
    assert_eq!((mode(to.join("two.so")), mode(to.clone())), (0o644, 0o755));

    let names = fs::read_dir(&to).expect("the directory").count();
    assert_eq!(names, 2, "no temporary file remains");

    let mut command = script("install-plugins");
    assert_ne!(
        finish(command.arg(scratch.join("built")).arg(&to).arg("three")).code,
        0,
        "a missing file is an error"
    );
}

#[test]
fn reports_missing_programs_in_one_line() {
    let nothing = finish(script("need").args(["cc", "sh"]));
    assert_eq!((nothing.code, nothing.stdout.as_str(), nothing.stderr.as_str()), (0, "", ""));

    // A system without any of the required programs, and without apt-get.
    let bare = Scratch::new();
    for name in ["sh", "id"] {
        let found = ["/usr/bin", "/bin"]
            .iter()
            .map(|place| PathBuf::from(place).join(name))
            .find(|path| path.exists());
        symlink(found.expect("every system has these programs"), bare.join(name)).expect("a link");
    }

    let missing = finish(script("need").args(["cc", "php", "id"]).env("PATH", bare.path()));
    assert_eq!(missing.code, 1, "{missing:?}");
    assert_eq!(missing.stderr, "missing: install with: apt-get install build-essential php-cli\n");

    let mut wanted = script("need");
    wanted.args(["--wanted", "cc", "cargo-none"]).env("PATH", bare.path()).env_remove("CARGO");
    let wanted = finish(&mut wanted);
    let expected = "missing: install with: apt-get install build-essential\n\
                missing: install with: cargo install --locked cargo-none\n";
    assert_eq!(
        (wanted.code, wanted.stderr.as_str()),
        (0, expected),
        "a missing optional program is not an error"
    );
}

#[test]
fn makes_the_other_targets_after_one_has_failed_and_names_it() {
    let scratch = Scratch::new();
    scratch.write("Makefile", "one two:\n\t@exit 3\nthree:\n\t@echo made three\n");
    let keep_going = |targets: &[&str]| {
        let mut command = script("keep-going");
        finish(command.args(targets).current_dir(scratch.path()).env_remove("MAKEFLAGS"))
    };

    let failed = keep_going(&["one", "two", "three"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (1, "made three\n"), "{failed:?}");
    assert!(failed.stderr.ends_with("\nfailed: make one\nfailed: make two\n"), "{failed:?}");

    let made = keep_going(&["three"]);
    assert_eq!((made.code, made.stdout.as_str(), made.stderr.as_str()), (0, "made three\n", ""));
}

#[test]
fn runs_the_tests_of_php_after_those_of_rust_have_failed() {
    let scratch = Scratch::new();
    let log = scratch.join("log");
    scratch.directory("scripts");
    scratch.directory("clients");
    scratch.directory("clients/php");
    for name in ["Makefile", "scripts/keep-going"] {
        fs::copy(root().join(name), scratch.join(name)).expect("the file is copied");
    }

    for (name, code) in [("cargo", 101), ("clients/php/run-tests.sh", 0), ("scripts/need", 0)] {
        let fake = format!("#!/bin/sh\necho {name} $1 >>{}\nexit {code}\n", log.display());
        scratch.write(name, fake);
        fs::set_permissions(scratch.join(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    let mut make = command("make");
    make.arg("test").arg(format!("CARGO={}", scratch.join("cargo").display()));
    let finished = finish(make.current_dir(scratch.path()).env_remove("MAKEFLAGS"));

    assert_ne!(finished.code, 0, "{finished:?}");
    assert!(finished.stderr.contains("failed: make test-rust\nfailed: make test-fuzz\n"), "{finished:?}");
    let ran = fs::read_to_string(log).expect("the fakes have run");
    assert!(ran.contains("clients/php/run-tests.sh"), "{ran}");
}
