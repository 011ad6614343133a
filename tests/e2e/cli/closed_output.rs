//! Commands whose reader has ended: they end with an exit code, not with a panic.

use std::fs;
use std::io::pipe;
use std::process::Stdio;

use crate::support::build::artifacts;
use crate::support::program::{Finished, command, finish};
use crate::support::scratch::Scratch;

/// `EX_IOERR`: the output cannot be written.
const EX_IOERR: i32 = 74;
/// `EX_CONFIG`: the configuration or a plugin is invalid.
const EX_CONFIG: i32 = 78;

/// Runs `jackfield` in a directory. Returns the outcome without a reader of its standard output,
/// and the exit code without a reader of its standard error.
fn without_reader(scratch: &Scratch, args: &[&str]) -> (Finished, i32) {
    let command = || {
        let mut command = command(&artifacts().program);
        command.args(args).current_dir(scratch.path());
        command
    };
    let closed = || {
        let (_, writer) = pipe().unwrap();
        Stdio::from(writer)
    };

    let stdout_closed = finish(command().stdout(closed()));
    let stderr_closed = finish(command().stderr(closed()));
    (stdout_closed, stderr_closed.code)
}

#[test]
fn reports_that_nobody_reads_the_output() {
    let scratch = Scratch::new();
    scratch.write("config.toml", "");
    scratch.directory("plugins");
    let device = artifacts().library("device").to_str().unwrap();

    for args in [&["check"][..], &["plugin", "inspect", device], &["plugin", "inspect", device, "--json"]] {
        let (finished, _) = without_reader(&scratch, args);

        assert_eq!(finished.code, EX_IOERR, "{args:?}: {finished:?}");
        assert!(finished.stderr.starts_with("cannot write to standard output: "), "{args:?}: {finished:?}");
    }
}

#[test]
fn keeps_the_exit_code_if_nobody_reads_the_faults() {
    let scratch = Scratch::new();
    scratch.write("config.toml", "[speed]\n");

    for args in [&["check"][..], &["serve"], &["dev"], &["call", "system.ping"]] {
        let (_, code) = without_reader(&scratch, args);

        assert_eq!(code, EX_CONFIG, "{args:?}");
    }

    // A note is no fault, and must not become one.
    scratch.write("config.toml", "[[route]]\nmethod = \"a.b\"\nplugin = \"a\"\n");
    scratch.directory("plugins");
    let (_, code) = without_reader(&scratch, &["check"]);
    assert_eq!(code, 0);

    fs::write(scratch.join("plugins/text.so"), "no library").unwrap();
    let (_, code) = without_reader(&scratch, &["check"]);
    assert_eq!(code, EX_CONFIG);
}
