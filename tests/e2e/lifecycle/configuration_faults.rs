//! Invalid configurations: they are refused as a whole, with all faults at once, before any socket
//! is bound.

use std::fs;
use std::path::Path;

use super::{EX_CONFIG, refused_start};
use crate::support::HostProcess;
use crate::support::build::root;
use crate::support::program::jackfield;
use crate::support::scratch::Scratch;

/// A configuration with six faults. The number at the end of a line is the column of its fault.
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

/// Returns the positions of the faults as `line:column`.
fn positions(text: &str) -> Vec<String> {
    let lines = (1..).zip(text.lines());
    lines.filter_map(|(number, line)| Some(format!("{number}:{}", line.rsplit_once("# ")?.1))).collect()
}

#[test]
fn reports_every_fault_with_line_and_column() {
    let builder = HostProcess::builder().config(FAULTY.trim_end());
    let directory = builder.directory().to_owned();
    let mut host = builder.spawn();

    assert_eq!(host.wait().code(), Some(EX_CONFIG));
    assert!(!directory.join("run").exists(), "nothing was bound or created");
    let served = host.log();

    let checked = jackfield(&directory, &["check"]);
    assert_eq!(checked.code, EX_CONFIG);
    assert_eq!(checked.stdout, "");

    // `serve` received the absolute path of the file.
    let file = directory.join("config.toml");
    assert_eq!(served, checked.stderr.trim_end().replace("./config.toml", &file.display().to_string()));

    let prefixes: Vec<_> =
        positions(FAULTY).into_iter().map(|position| format!("./config.toml:{position}: ")).collect();
    assert_eq!(prefixes.len(), 6);

    let lines: Vec<_> = checked.stderr.lines().collect();
    assert_eq!(lines.len(), prefixes.len(), "{checked:#?}");

    for (line, prefix) in lines.iter().zip(&prefixes) {
        assert!(line.starts_with(prefix), "{prefix:?} in {line:?}");
        assert!(line.contains("; "), "the line contains a remedy: {line:?}");
    }
}

#[test]
fn rejects_a_socket_path_longer_than_the_limit() {
    let long = "d".repeat(100);

    let (code, log) =
        refused_start(HostProcess::builder().config(&format!("[[listener]]\nsocket = \"{long}/x.sock\"")));
    assert_eq!(code, EX_CONFIG);
    assert!(
        log.contains("config.toml:2:10: listener.socket is ") && log.contains("at most 107 bytes"),
        "{log}"
    );

    // A path of exactly the maximum length is accepted.
    let builder = HostProcess::builder();
    let remaining = 107 - builder.directory().as_os_str().len() - 1;
    let name = format!("{}.sock", "n".repeat(remaining - 5));
    let mut host = builder.config(&format!("[[listener]]\nsocket = \"{name}\"")).start();
    assert_eq!(host.path(&name).as_os_str().len(), 107);
    crate::support::Peer::connect(&host.path(&name)).assert_usable();
    host.terminate();

    assert!(!host.path(&name).exists());
}

#[test]
fn lists_the_searched_paths_if_no_configuration_is_found() {
    if Path::new("/etc/jackfield/config.toml").exists() {
        eprintln!("skipped, because this system has a configuration");
        return;
    }
    let scratch = Scratch::new();

    for args in [&[][..], &["serve"], &["check"]] {
        let finished = jackfield(scratch.path(), args);
        assert_eq!(finished.code, EX_CONFIG, "{args:?}: {finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        assert!(finished.stderr.contains("./config.toml or /etc/jackfield/config.toml"), "{finished:?}");
    }

    let finished = jackfield(scratch.path(), &["serve", "-c", "nowhere.toml"]);
    assert_eq!(finished.code, EX_CONFIG);
    assert!(finished.stderr.contains("nowhere.toml"), "{finished:?}");

    // A directory and a file that is not UTF-8 exist, but are not readable configurations.
    scratch.directory("nowhere.toml");
    assert_eq!(jackfield(scratch.path(), &["check", "-c", "nowhere.toml"]).code, EX_CONFIG);
    scratch.write("latin.toml", b"# caf\xe9\n");
    assert_eq!(jackfield(scratch.path(), &["check", "-c", "latin.toml"]).code, EX_CONFIG);
    assert!(fs::read_dir(scratch.path()).is_ok_and(|entries| entries.count() == 2), "nothing was created");
}

#[test]
fn accepts_the_default_configuration() {
    let builder = HostProcess::builder().plugin("device").plugin("hello").plugin("journal");
    let config =
        fs::read_to_string(root().join("config.toml")).expect("the default configuration is readable");
    let host = builder.config(&config).start();

    let checked = jackfield(host.directory(), &["check"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{checked:?}");
    assert_eq!(checked.stdout, "./config.toml: no faults; 3 plugins with 7 methods\n");

    assert!(
        !host.log_lines().iter().any(|line| line.contains("WARN") || line.contains("ERROR")),
        "{}",
        host.log()
    );
    host.peer().assert_usable();
}
