//! Configurations that are at fault: refused whole, every fault at once, before anything is bound.

use std::fs;
use std::path::Path;

use super::{CONFIGURATION, refused_start};
use crate::support::HostProcess;
use crate::support::build::root;
use crate::support::program::jackfield;
use crate::support::scratch::Scratch;

/// Six faults, one on each line that ends in a number: the fault's column.
const FAULTY: &str = r#"[[listener]]
socket = "run/x.sock"
mode = 660                   # 8
framing = "lines"            # 11
[limits]
frames = "16MiB"             # 1
connections = 0              # 15
[timeouts]
request = "30 seconds"       # 11
[[route]]
method = "system.*"          # 10
plugin = "device"
"#;

fn places(text: &str) -> Vec<String> {
    let lines = (1..).zip(text.lines());
    lines.filter_map(|(number, line)| Some(format!("{number}:{}", line.rsplit_once("# ")?.1))).collect()
}

#[test]
fn every_fault_is_told_at_once_by_file_line_and_column() {
    let builder = HostProcess::builder().config(FAULTY.trim_end());
    let directory = builder.directory().to_owned();
    let mut host = builder.spawn();
    assert_eq!(host.wait().code(), Some(CONFIGURATION));
    assert!(!directory.join("run").exists(), "nothing was bound, and nothing made");
    let served = host.log();
    let checked = jackfield(&directory, &["check"]);
    assert_eq!(checked.code, CONFIGURATION);
    assert_eq!(checked.stdout, "");
    // `serve` was given the file's whole path.
    let file = directory.join("config.toml");
    assert_eq!(served, checked.stderr.trim_end().replace("./config.toml", &file.display().to_string()));
    let starts: Vec<_> = places(FAULTY).into_iter().map(|place| format!("./config.toml:{place}: ")).collect();
    assert_eq!(starts.len(), 6);
    let lines: Vec<_> = checked.stderr.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{checked:#?}");
    for (line, start) in lines.iter().zip(&starts) {
        assert!(line.starts_with(start), "{start:?} in {line:?}");
        assert!(line.contains("; "), "what to write instead is in {line:?}");
    }
}

#[test]
fn a_socket_path_that_no_socket_can_have_is_a_fault_with_its_place() {
    let long = "d".repeat(100);
    let (code, log) =
        refused_start(HostProcess::builder().config(&format!("[[listener]]\nsocket = \"{long}/x.sock\"")));
    assert_eq!(code, CONFIGURATION);
    assert!(
        log.contains("config.toml:2:10: listener.socket is ") && log.contains("at most 107 bytes"),
        "{log}"
    );
    // Just as long as it may be.
    let builder = HostProcess::builder();
    let room = 107 - builder.directory().as_os_str().len() - 1;
    let name = format!("{}.sock", "n".repeat(room - 5));
    let mut host = builder.config(&format!("[[listener]]\nsocket = \"{name}\"")).start();
    assert_eq!(host.path(&name).as_os_str().len(), 107);
    crate::support::Peer::connect(&host.path(&name)).assert_usable();
    host.terminate();
    assert!(!host.path(&name).exists());
}

#[test]
fn no_configuration_is_said_with_where_one_was_looked_for() {
    if Path::new("/etc/jackfield/config.toml").exists() {
        eprintln!("skipped, for this system has a configuration");
        return;
    }
    let scratch = Scratch::new();
    for words in [&[][..], &["serve"], &["check"]] {
        let finished = jackfield(scratch.path(), words);
        assert_eq!(finished.code, CONFIGURATION, "{words:?}: {finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        assert!(finished.stderr.contains("./config.toml or /etc/jackfield/config.toml"), "{finished:?}");
    }
    let finished = jackfield(scratch.path(), &["serve", "-c", "nowhere.toml"]);
    assert_eq!(finished.code, CONFIGURATION);
    assert!(finished.stderr.contains("nowhere.toml"), "{finished:?}");
    // There, and not to be read as one.
    scratch.directory("nowhere.toml");
    assert_eq!(jackfield(scratch.path(), &["check", "-c", "nowhere.toml"]).code, CONFIGURATION);
    scratch.write("latin.toml", b"# caf\xe9\n");
    assert_eq!(jackfield(scratch.path(), &["check", "-c", "latin.toml"]).code, CONFIGURATION);
    assert!(fs::read_dir(scratch.path()).is_ok_and(|entries| entries.count() == 2), "nothing was made");
}

#[test]
fn the_configuration_at_the_top_is_loaded_with_the_plugins_that_come_with_it() {
    let builder = HostProcess::builder().plugin("device").plugin("hello").plugin("journal");
    let config = fs::read_to_string(root().join("config.toml")).expect("the default configuration");
    let host = builder.config(&config).start();
    let checked = jackfield(host.directory(), &["check"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{checked:?}");
    assert_eq!(checked.stdout, "./config.toml: no fault; 3 plugins with 7 methods\n");
    assert!(
        !host.log_lines().iter().any(|line| line.contains("WARN") || line.contains("ERROR")),
        "{}",
        host.log()
    );
    host.peer().assert_usable();
}
