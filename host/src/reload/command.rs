//! What can be asked of the plugins' thread, and what it answers.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::loader::{LoadError, VerifiedSignature};
use crate::plugin::{ProbationVerdict, RetirementOutcome};

/// Where an answer goes.
pub(crate) type CommandReply<T> = oneshot::Sender<T>;

/// One thing to do.
pub(crate) enum ReloadCommand {
    /// Something may have changed in the directory; these files are whole, if any are named.
    Look(Vec<OsString>),
    /// Look at everything, and try again what was refused; say so when it is done, if somebody waits for it.
    LookAtAll(Option<CommandReply<()>>),
    /// Load the file of this plugin again, or of all; also content that serves already, or was refused.
    Reload(Option<String>, CommandReply<Vec<ReloadResult>>),
    /// Put the plugin's content before back.
    Rollback(String, CommandReply<ReloadResult>),
    /// What there is.
    List(CommandReply<Vec<PluginListing>>),
    /// A generation's probation is over.
    Judged { plugin: String, generation: u64, sentence: ProbationVerdict },
    /// A generation has ended.
    Retired { plugin: Arc<str>, generation: u64, how: RetirementOutcome },
    /// Another configuration, already found to be without fault; the answer is every reason why it cannot be.
    Configure(Arc<Config>, CommandReply<Result<(), Vec<String>>>),
    /// End every generation by then.
    Stop(Instant),
}

/// How a reload or a rollback of one plugin ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReloadResult {
    pub(crate) plugin: String,
    /// `published` or `refused`.
    pub(crate) outcome: &'static str,
    /// The generation that serves now, if any does.
    pub(crate) generation: Option<u64>,
    /// Its content.
    pub(crate) hash: Option<String>,
    pub(crate) build_id: Option<String>,
    /// Why it is not the one that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<LoadError>,
}

/// One plugin, as `plugin list` shows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PluginListing {
    pub(crate) name: String,
    /// `serving`, `probation`, `unhealthy`, `refused` or `removed`.
    pub(crate) state: &'static str,
    pub(crate) generation: Option<u64>,
    pub(crate) version: Option<String>,
    pub(crate) hash: Option<String>,
    pub(crate) build_id: Option<String>,
    /// Who signed it, where keys are trusted.
    pub(crate) signed: Option<VerifiedSignature>,
    pub(crate) methods: Vec<String>,
    /// Whether all is well: not when it fails too often, has no thread left, or holds up one that serves connections.
    pub(crate) healthy: bool,
    /// Threads that run calls which should have ended.
    pub(crate) lost_threads: usize,
    /// Threads that serve connections and are held up by its `inline` methods just now.
    pub(crate) held_threads: usize,
    /// Methods declared `inline` that were too slow for it, and run as `blocking`.
    pub(crate) moved: Vec<String>,
    /// Generations whose last requests are still running.
    pub(crate) draining: Vec<u64>,
    /// Generations that could not be unloaded, and why.
    pub(crate) retained: Vec<RetainedGeneration>,
    /// How many generations were unloaded for good.
    pub(crate) unloaded: u64,
    /// What of it ran when a host died, within `plugins.crash.window` before this one began.
    pub(crate) deaths: Vec<CrashListing>,
    /// Why the newest content does not serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<LoadError>,
}

/// A method that ran when a host died.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CrashListing {
    /// When that was found, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) generation: u64,
    pub(crate) method: String,
    /// The request's id; empty when it had none.
    pub(crate) id: String,
    pub(crate) hash: String,
}

/// A generation that stays in the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RetainedGeneration {
    pub(crate) generation: u64,
    pub(crate) reason: String,
}
