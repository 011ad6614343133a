//! The binaries as they are linked, and the scripts behind `make`.

mod hardening;
mod helper_scripts;
mod instructions;
mod run_script;

use std::process::Command;

use crate::support::build::root;
use crate::support::program::command;

/// Returns a command that runs this file of `scripts/`.
fn script(name: &str) -> Command {
    let mut command = command("sh");
    command.arg(root().join("scripts").join(name));
    command
}
