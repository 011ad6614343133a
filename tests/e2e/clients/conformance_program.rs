//! The conformance program (`tests/conformance/src`): it passes with the real host, and reports each
//! answer that differs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::HostProcess;
use crate::support::build::program_of;
use crate::support::program::{Finished, command, finish};

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| program_of("jackfield-conformance"))
}

fn check(socket: &Path, options: &[&str]) -> Finished {
    finish(command(program()).arg(socket).args(options))
}

#[test]
fn the_host_conforms_to_each_version() {
    let host = HostProcess::with(&["counts"]);
    let async_method = ["--slow", "counts.async", "--slow-params", r#"{"ms":300}"#];
    let blocking_method = ["--slow", "counts.blocking", "--slow-params", r#"{"ms":300}"#];

    for (version, slow, least) in [
        ("1.0", async_method, 150),
        ("1.1", async_method, 230),
        ("1.2", async_method, 400),
        ("1.2", blocking_method, 400),
    ] {
        let finished = check(&host.socket(), &[&["--version", version][..], &slow].concat());
        assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{version}: {finished:?}");
        let checks = finished.stdout.strip_suffix(" checks, 0 differ\n").and_then(|text| text.parse().ok());
        let checks: u32 = checks.unwrap_or_else(|| panic!("{version}: {finished:?}"));
        assert!(checks >= least, "{version}: {checks} checks");
    }
}
