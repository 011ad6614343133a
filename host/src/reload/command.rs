//! The commands to the plugin owner, and the channel that carries them.

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::admin::{PluginReloadResult, PluginStatus};
use crate::config::Config;
use crate::decisions::Decider;
use crate::plugin::{ProbationVerdict, RetirementOutcome};

/// Takes the reply to a command.
pub(crate) type CommandReply<T> = oneshot::Sender<T>;

/// One command to the plugin owner.
pub(crate) enum ReloadCommand {
    /// Scan the directory, because something in it may have changed. The named files have changed
    /// and are complete; without names, every file may have changed.
    Scan { complete: Vec<OsString> },
    /// Scan the directory, take every file as complete and retry the refused ones. Replies when
    /// that is done.
    ScanAll(CommandReply<()>),
    /// Load the file of one plugin, or of all, even if its content serves already or was refused.
    Reload {
        name: Option<String>,
        /// Whether content of the one plugin is loaded that breaks callers.
        allow_incompatible: bool,
        reply: CommandReply<Vec<PluginReloadResult>>,
    },
    /// Return to the previous content of a plugin.
    RollBack { plugin: String, by: Decider, reply: CommandReply<PluginReloadResult> },
    /// Have a plugin run in a worker, or, with `is_off`, where it is configured to run.
    Isolate { plugin: String, is_off: bool, by: Decider, reply: CommandReply<PluginReloadResult> },
    /// List the plugins.
    List(CommandReply<Vec<PluginStatus>>),
    /// The probation of a generation ended.
    ProbationEnded { plugin: String, generation: u64, verdict: ProbationVerdict },
    /// A generation was retired.
    Retired { plugin: Arc<str>, generation: u64, outcome: RetirementOutcome },
    /// Apply a valid configuration, or nothing of it; replies with every reason against it.
    Configure(Arc<Config>, CommandReply<Result<(), Vec<String>>>),
    /// End every generation by this time, and then the thread.
    Stop(Instant),
}

/// Sends commands to the plugin owner.
#[derive(Clone)]
pub(crate) struct CommandSender(Sender<ReloadCommand>);

impl CommandSender {
    /// Returns both ends of a new channel.
    pub(crate) fn channel() -> (Self, Receiver<ReloadCommand>) {
        let (commands, received) = mpsc::channel();
        (Self(commands), received)
    }

    /// Sends a command that has a reply. The receiver fails if the host ends before the reply.
    pub(crate) fn ask<T>(
        &self,
        command: impl FnOnce(CommandReply<T>) -> ReloadCommand,
    ) -> oneshot::Receiver<T> {
        let (reply, received) = oneshot::channel();
        self.send(command(reply));
        received
    }

    /// Sends a command.
    pub(crate) fn send(&self, command: ReloadCommand) {
        // If the thread has ended, every generation has, and nothing is left to change.
        let _ = self.0.send(command);
    }
}
