//! Shell scripts that run before a host, for example in a mount namespace of its own, in which a
//! test replaces directories or file systems.

use std::path::Path;
use std::process::Command;

use super::program::command;

/// A shell script that runs in the process of the host, before the program.
pub(crate) struct StartScript {
    text: String,

    /// Whether it runs in a new mount namespace, which requires root.
    has_mount_namespace: bool,
}

impl StartScript {
    /// Returns a script that sets, for example, a limit of the process.
    pub(crate) fn in_process(text: &str) -> Self {
        Self { text: text.to_owned(), has_mount_namespace: false }
    }

    /// Returns a script that changes the mounts of the host. It requires root.
    pub(crate) fn in_mount_namespace(text: &str) -> Self {
        Self { text: text.to_owned(), has_mount_namespace: true }
    }

    /// Returns the command that starts `program`, after the script if there is one.
    pub(super) fn command(script: Option<&Self>, program: &Path) -> Command {
        let Some(Self { text, has_mount_namespace }) = script else { return command(program) };

        // Each program replaces the previous one, so that the process is `program` in the end.
        let mut command = command(if *has_mount_namespace { "unshare" } else { "env" });
        command.args(has_mount_namespace.then_some("--mount"));
        command.args(["sh", "-c", &format!("set -e; {text}; exec \"$0\" \"$@\"")]).arg(program);
        command
    }
}
