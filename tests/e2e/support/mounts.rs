//! Hosts in a mount namespace of their own, in which a test replaces directories or file systems.

use std::path::Path;
use std::process::Command;

use super::program::command;

/// Returns the command that starts `program`. With a shell script, the program runs in a new mount
/// namespace, after the script has changed the mounts there; this requires root.
pub(super) fn in_namespace(program: &Path, script: Option<&str>) -> Command {
    let Some(script) = script else { return command(program) };

    // Each program replaces the previous one, so that the process is `program` in the end.
    let mut command = command("unshare");
    command.args(["--mount", "sh", "-c", &format!("set -e; {script}; exec \"$0\" \"$@\"")]).arg(program);
    command
}
