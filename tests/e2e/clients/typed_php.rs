//! `jackfield generate php`: the classes that it writes, used with the PHP client against the host.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::HostProcess;
use crate::support::build::{artifacts, root};
use crate::support::host::install;
use crate::support::program::{Finished, command, finish, jackfield};
use crate::support::scratch::Scratch;

/// The generated classes of the example plugins, as this version writes them.
const GOLDEN: &str = "tests/typed-php/generated";

/// Environment variable: write the golden files instead of comparing them.
const BLESS: &str = "JACKFIELD_BLESS";

/// Runs `jackfield generate php` in a directory.
fn generate(directory: &Path, args: &[&str]) -> Finished {
    jackfield(directory, &[&["generate", "php", "--namespace", "Acme\\Rpc"], args].concat())
}

/// Copies plugin files into the directory, and returns their paths.
fn plugins(scratch: &Scratch, names: &[&str]) -> Vec<String> {
    let copy = |name: &&str| {
        let file = scratch.join(format!("lib{name}.so"));
        install(artifacts().library(name), &file);
        file.display().to_string()
    };
    names.iter().map(copy).collect()
}

/// Returns the PHP files in a directory and below.
fn php_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(php_files(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn generated_classes_call_every_method_of_a_host() {
    let host = HostProcess::with(&["device", "described"]);
    let socket = host.socket().display().to_string();

    let finished = generate(host.directory(), &["--out", "typed", "--socket", &socket]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let script = root().join("tests/typed-php/typed.php");
    let typed = host.path("typed");
    let mut php = command("php");
    php.args(["-d", "display_errors=1", "-d", "error_reporting=-1"]).arg(script).arg(&socket).arg(&typed);

    let finished = finish(&mut php);
    assert_eq!((finished.code, &*finished.stdout), (0, "22 methods\n"), "{finished:?}");

    // The same classes come from the plugin files: the methods of the host are in neither.
    let mut args = vec!["--check", "--out", "typed"];
    let files = plugins(host.scratch(), &["device", "described"]);
    args.extend(files.iter().map(String::as_str));
    let finished = generate(host.directory(), &args);
    assert_eq!(finished.code, 0, "{finished:?}");
}

#[test]
fn golden_files_of_the_example_plugins_are_current() {
    let scratch = Scratch::new();
    let golden = root().join(GOLDEN).display().to_string();
    let files = plugins(&scratch, &["device", "hello", "journal"]);
    let mut args = vec!["--out", &*golden];
    args.extend(files.iter().map(String::as_str));
    if env::var_os(BLESS).is_none() {
        args.push("--check");
    }

    let finished = generate(scratch.path(), &args);

    assert_eq!(finished.code, 0, "write them with {BLESS}=1: {finished:?}");
    for file in php_files(&root().join(GOLDEN)) {
        let finished = finish(command("php").arg("-l").arg(&file));
        assert_eq!(finished.code, 0, "{finished:?}");
    }
}

#[test]
fn check_names_missing_stale_and_surplus_files() {
    let scratch = Scratch::new();
    let files = plugins(&scratch, &["device", "hello"]);
    let (device, hello) = (&*files[0], &*files[1]);
    assert_eq!(generate(scratch.path(), &["--out", "out", device, hello]).code, 0);
    assert_eq!(generate(scratch.path(), &["--out", "out", "--check", device, hello]).code, 0);

    fs::remove_file(scratch.join("out/Device/Status.php")).expect("a file");
    let class = fs::read_to_string(scratch.join("out/Device.php")).expect("a file");
    fs::write(scratch.join("out/Device.php"), class + "\n").expect("a file");
    let finished = generate(scratch.path(), &["--out", "out", "--check", device]);

    assert_eq!(finished.code, 1, "{finished:?}");
    let lines: Vec<_> = finished.stderr.lines().collect();
    assert_eq!(
        lines[..3],
        ["missing: out/Device/Status.php", "stale: out/Device.php", "surplus: out/Hello.php"],
        "{finished:?}"
    );
    assert!(scratch.join("out/Hello.php").exists(), "--check changes nothing");

    assert_eq!(generate(scratch.path(), &["--out", "out", device]).code, 0);
    assert_eq!(generate(scratch.path(), &["--out", "out", "--check", device]).code, 0);
    assert!(!scratch.join("out/Hello.php").exists());
}

#[test]
fn keeps_files_that_it_has_not_written() {
    let scratch = Scratch::new();
    let files = plugins(&scratch, &["device"]);
    scratch.directory("out");
    scratch.write("out/Device.php", "<?php // by hand\n");

    let finished = generate(scratch.path(), &["--out", "out", &files[0]]);

    assert_ne!(finished.code, 0, "{finished:?}");
    assert!(finished.stderr.starts_with("out/Device.php: this file was not generated"), "{finished:?}");
    assert_eq!(fs::read_to_string(scratch.join("out/Device.php")).expect("a file"), "<?php // by hand\n");
}
