//! The command that starts a host in its directory.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use super::build::artifacts;
use super::log::Log;
use super::scratch::Scratch;
use super::start_script::StartScript;

/// Environment variable that marks the processes of one host, including its children.
pub(super) const MARK: &str = "JACKFIELD_TEST_HOST";

/// The command that starts a host.
#[derive(Default)]
pub(super) struct HostCommand {
    /// The program, `jackfield` if it is `None`.
    pub(super) program: Option<PathBuf>,

    pub(super) variables: Vec<(String, String)>,
    pub(super) script: Option<StartScript>,
}

impl HostCommand {
    /// Starts a host with the configuration file in `scratch`.
    pub(super) fn spawn(&self, scratch: &Scratch) -> (Child, Log) {
        let program = self.program.as_ref().unwrap_or_else(|| &artifacts().program);
        let mut command = StartScript::command(self.script.as_ref(), program);
        command.args(["serve", "-c"]).arg(scratch.join("config.toml")).current_dir(scratch.path());

        command.env(MARK, scratch.path()).env_remove("RUST_BACKTRACE");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());

        let mut child = command.spawn().expect("the program starts");
        let log = Log::follow(child.stderr.take().expect("its stderr is a pipe"));
        (child, log)
    }
}
