//! The host itself, with a configuration file and SIGTERM as the program `jackfield` has them.

use std::path::Path;
use std::process::ExitCode;

use jackfield::config::Config;
use jackfield::{Builder, ProbeEntry};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the host that `serve -c FILE` describes, until SIGTERM.
pub(crate) fn run(entry: &ProbeEntry) -> ExitCode {
    let file = std::env::args_os().nth(3).expect("usage: hostile-worker serve -c FILE");
    let config = Config::load(Path::new(&file)).expect("the configuration is valid");
    let _logging = jackfield::log::start(&config.log).expect("the log starts");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).expect("a handler for SIGTERM");
        let host = Builder::new(config, entry).start().expect("the host starts");
        eprintln!("ready on its sockets");

        terminated.recv().await;
        host.stop().await.expect("the host stops");
    });
    ExitCode::SUCCESS
}
