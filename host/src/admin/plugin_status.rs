//! The replies of `admin.plugin.*`: the plugins, and the results of reloads and rollbacks.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::worker_stats::WorkerStats;
use crate::decisions::{Decider, Decision};
use crate::loader::{LoadError, VerifiedSignature};

/// One plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PluginStatus {
    /// The plugin.
    pub name: String,
    /// Whether it serves.
    pub state: PluginState,
    /// The generation that serves.
    pub generation: Option<u64>,
    /// The version of its package.
    pub version: Option<String>,
    /// The hash of its content.
    pub hash: Option<String>,
    /// The build id that the linker wrote into it.
    pub build_id: Option<String>,
    /// The signature of its file, where the host trusts any keys.
    pub signed: Option<SignatureStatus>,
    /// The methods that it declares.
    pub methods: Vec<String>,
    /// Whether the circuit breaker is closed, a thread is left for its blocking methods, and none
    /// of its inline methods blocks an I/O thread.
    #[serde(default)]
    pub healthy: bool,
    /// Threads that run calls past their deadline.
    #[serde(default)]
    pub lost_threads: usize,
    /// I/O threads that its inline methods block at the moment.
    #[serde(default)]
    pub held_threads: usize,
    /// Methods that were demoted from inline to blocking because they were too slow.
    #[serde(default)]
    pub moved: Vec<String>,
    /// Retired generations with calls in flight.
    pub draining: Vec<u64>,
    /// Generations whose code could not be unloaded.
    pub retained: Vec<RetainedGeneration>,
    /// The number of generations that were unloaded.
    pub unloaded: u64,
    /// Calls that were running when a host crashed, within the crash window of the configuration
    /// before this host started.
    #[serde(default)]
    pub deaths: Vec<CrashedMethod>,
    /// Why the newest content does not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// The contents that are not loaded because they were rolled back, oldest first.
    #[serde(default)]
    pub decisions: Vec<DecisionStatus>,
    /// Where the generation that serves runs: `in-process` or `worker`.
    #[serde(default)]
    pub isolation: Option<String>,
    /// The decision by which it runs in a worker, if there is one: of the host about this content,
    /// or of an operator about the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<DecisionStatus>,
    /// The workers, if it runs in any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerStats>,
}

/// A decision about a content of a plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DecisionStatus {
    /// The hash of the content.
    pub hash: String,
    /// The code of the reason: `probation-failed`, `rolled-back` or `isolated`.
    pub reason: String,
    /// The one who made it: `host` or `operator`.
    pub by: String,
    /// The user of the operator, if it is certain.
    #[serde(default)]
    pub uid: Option<u32>,
    /// When it was made, in seconds since 1970.
    pub at: u64,
    /// The event that led to it.
    pub detail: String,
}

impl From<&Decision> for DecisionStatus {
    fn from(decision: &Decision) -> Self {
        let uid = match decision.by {
            Decider::Host => None,
            Decider::Operator { uid } => uid,
        };
        Self {
            hash: decision.hash.clone(),
            reason: decision.reason().code().to_owned(),
            by: decision.by.word().to_owned(),
            uid,
            at: decision.at,
            detail: decision.why.clone(),
        }
    }
}

impl DecisionStatus {
    /// Returns a decision to run a plugin in a worker.
    pub(crate) fn of_isolation(decision: &Decision) -> Self {
        Self { reason: "isolated".to_owned(), ..decision.into() }
    }
}

/// Whether a plugin serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    /// A generation serves.
    Serving,
    /// A generation serves and is on probation.
    Probation,
    /// A generation serves, but not all of its methods do at the moment.
    Unhealthy,
    /// No generation serves. The last one was stopped, and none could be started after it; the host
    /// tries again.
    Unavailable,
    /// No generation serves, because the file was refused.
    Refused,
    /// No generation serves, because the file was removed.
    Removed,
    /// No generation serves. The counters of `admin.stats` do not tell why.
    Gone,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Probation => "probation",
            Self::Unhealthy => "unhealthy",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Removed => "removed",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        })
    }
}

/// The verified signature of a plugin file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignatureStatus {
    /// The id of the key, as minisign prints it.
    pub key: String,
    /// The time of signing, in seconds since 1970.
    #[serde(default)]
    pub at: u64,
}

impl From<VerifiedSignature> for SignatureStatus {
    fn from(signature: VerifiedSignature) -> Self {
        Self { key: signature.key.to_string(), at: signature.at }
    }
}

/// A generation whose code stays in the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RetainedGeneration {
    /// The generation.
    pub generation: u64,
    /// Why its code could not be unloaded.
    pub reason: String,
}

/// A call that was running when a host crashed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CrashedMethod {
    /// When the next host found the crash, in seconds since 1970.
    #[serde(default)]
    pub at: u64,
    /// The generation, by the numbers of the host that crashed.
    pub generation: u64,
    /// The method, or a lifecycle phase in parentheses.
    pub method: String,
    /// The id of the request; empty if it had none.
    pub id: String,
    /// The hash of the content.
    #[serde(default)]
    pub hash: String,
}

/// Why a file was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The code of the reason; see [`LoadErrorReason`](crate::loader::LoadErrorReason).
    pub reason: String,
    /// The details, for the operator.
    pub detail: String,
}

impl From<&LoadError> for Refusal {
    fn from(refused: &LoadError) -> Self {
        Self { reason: refused.reason.code().to_owned(), detail: refused.detail.clone() }
    }
}

/// The result of reloading or rolling back one plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PluginReloadResult {
    /// The plugin.
    pub plugin: String,
    /// Whether the requested content serves now.
    pub outcome: PluginReloadOutcome,
    /// The generation that serves now, whichever it is.
    pub generation: Option<u64>,
    /// The hash of its content.
    pub hash: Option<String>,
    /// The build id that the linker wrote into it.
    pub build_id: Option<String>,
    /// Why the requested content does not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

/// How a reload or a rollback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginReloadOutcome {
    /// The requested content serves.
    Published,
    /// The plugin serves as before, if it did.
    Refused,
}

impl fmt::Display for PluginReloadOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "published",
            Self::Refused => "refused",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn reads_the_status_of_a_host_that_lacks_newer_members() {
        let listed = json!({
            "name": "device", "state": "parked", "generation": 3, "version": null, "hash": null,
            "methods": [], "draining": [1], "retained": [], "unloaded": 2,
        });

        let status: PluginStatus = serde_json::from_value(listed).unwrap();

        assert_eq!((status.state, status.generation, status.unloaded), (PluginState::Unknown, Some(3), 2));
        assert_eq!((status.deaths.len(), status.refused), (0, None));
    }

    #[test]
    fn displays_states_and_outcomes_as_json_spells_them() {
        let states = [
            PluginState::Serving,
            PluginState::Probation,
            PluginState::Unhealthy,
            PluginState::Unavailable,
            PluginState::Refused,
            PluginState::Removed,
            PluginState::Gone,
        ];
        for state in states {
            assert_eq!(serde_json::to_value(state).unwrap(), Value::from(state.to_string()));
        }
        for outcome in [PluginReloadOutcome::Published, PluginReloadOutcome::Refused] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), Value::from(outcome.to_string()));
        }
    }
}
