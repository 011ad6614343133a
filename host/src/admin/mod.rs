//! The admin API: the methods `admin.*` of the admin socket, their parameters and their replies.
//!
//! The host serializes the types of this module, and the command line (or any other Rust program
//! that talks to the admin socket) deserializes them, so each JSON member is defined once. The
//! members are a public interface: they may be added to, but are neither renamed nor removed.
//! Members that a host of an earlier version may lack have a default.

mod collect;
mod host_stats;
mod methods;
mod plugin_status;
mod requests;
mod slow_log;
mod worker_stats;

pub use host_stats::{CallerStats, HostStats, LimitStats, MethodStats, PluginStats};
pub(crate) use methods::AdminPlugin;
pub use methods::{NOTHING_APPLIED, ReloadRequest};
pub use plugin_status::{
    CrashedMethod, DecisionStatus, PluginReloadOutcome, PluginReloadResult, PluginState, PluginStatus,
    Refusal, RetainedGeneration, SignatureStatus,
};
pub use requests::{IsolateParams, ReloadParams, RollbackParams, StatsParams, method};
pub use slow_log::{SlowLogReport, SlowRequest};
pub(crate) use worker_stats::isolation_of;
pub use worker_stats::{WorkerProcessStats, WorkerStats};

use crate::plugin::SystemPlugin;

/// The name of the built-in plugin with these methods. Neither a file nor a route may use it.
pub(crate) const ADMIN: &str = "admin";

/// Returns whether a plugin is one of the host's own. They always exist and are not counted.
pub(crate) fn is_own_plugin(name: &str) -> bool {
    name == SystemPlugin::NAME || name == ADMIN
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use jackfield_contract::Parameters;
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;
    use crate::plugin::test_support::start_built_in;
    use crate::reload::CommandSender;
    use crate::routing::Dispatcher;

    #[test]
    fn describes_every_method_of_the_host() {
        let (commands, _received) = CommandSender::channel();
        let system = SystemPlugin::plugin(Weak::<Dispatcher>::new(), None);
        let admin = AdminPlugin::plugin(commands, Weak::new(), None);

        for plugin in [system, admin] {
            let generation = start_built_in(plugin, &Config::default());
            for method in generation.contract.methods() {
                assert!(method.facts.summary.is_some(), "{method:?}");
                assert!(method.result.is_some() && method.params != Parameters::Unknown, "{method:?}");
            }
        }
    }

    /// Returns the names of the members, in their order.
    fn members(value: &impl Serialize) -> Vec<String> {
        let json = serde_json::to_string(value).unwrap();
        let names = json.split(['{', ',']).filter_map(|part| part.split_once("\":"));
        names.map(|(name, _)| name.trim_start_matches('"').to_owned()).collect()
    }

    /// Reads a reply with the given values and no others.
    fn reply<T: serde::de::DeserializeOwned>(values: Value) -> T {
        serde_json::from_value(values).unwrap()
    }

    #[test]
    fn keeps_the_members_of_host_stats() {
        let stats = HostStats { limits: LimitStats::default(), ..HostStats::default() };
        let expected = "version pid at_ms uptime_ms connections in_flight async_in_flight buffered_bytes \
                        limits connections in_flight buffers counts outcomes rejected methods callers \
                        more_callers plugins";
        assert_eq!(members(&stats).join(" "), expected);

        let method = MethodStats { lengths: vec![(1, 2)], ..MethodStats::default() };
        let expected = "name accepted ok failed in_flight p50_us p90_us p99_us mean_us";
        assert_eq!(members(&MethodStats::default()).join(" "), expected);
        assert_eq!(members(&method).join(" "), format!("{expected} lengths"));
    }

    #[test]
    fn keeps_the_members_of_plugin_status() {
        let status: PluginStatus = reply(json!({
            "name": "a", "state": "serving", "methods": [], "draining": [], "unloaded": 0,
            "signed": { "key": "k", "at": 1 }, "retained": [{ "generation": 1, "reason": "r" }],
            "deaths": [{ "at": 1, "generation": 1, "method": "m", "id": "i", "hash": "h" }],
            "refused": { "reason": "r", "detail": "d" },
            "decisions": [{ "hash": "h", "reason": "r", "by": "host", "at": 1, "detail": "d" }],
            "isolation": "worker",
            "isolated": { "hash": "h", "reason": "isolated", "by": "host", "at": 1, "detail": "d" },
            "worker": {
                "processes": [{ "pid": 1, "resident_bytes": 2, "in_flight": 3 }],
                "restarts": { "crash": 1 },
            },
        }));
        let expected = "name state generation version hash build_id signed key at methods healthy \
                        lost_threads held_threads moved draining retained generation reason unloaded \
                        deaths at generation method id hash refused reason detail \
                        decisions hash reason by uid at detail isolation \
                        isolated hash reason by uid at detail \
                        worker processes pid resident_bytes in_flight restarts crash last_cause";
        assert_eq!(members(&status).join(" "), expected);

        let without = PluginStatus { refused: None, isolated: None, worker: None, ..status };
        for member in ["refused", "isolated", "worker"] {
            assert!(!members(&without).contains(&member.to_owned()), "{member}");
        }
    }

    #[test]
    fn keeps_the_members_of_reload_results_and_of_the_slow_log() {
        let result: PluginReloadResult = reply(json!({ "plugin": "a", "outcome": "published" }));
        assert_eq!(members(&result).join(" "), "plugin outcome generation hash build_id");

        let request = json!({
            "at_ms": 1, "conn": 2, "id": "i", "method": "m", "queued_us": 3, "ran_us": 4, "outcome": "ok",
        });
        let report: SlowLogReport = reply(json!({ "slow": [request], "failed": [], "missed": 0 }));
        let expected = "slow at_ms conn id method plugin generation uid pid queued_us ran_us outcome \
                        failed missed";
        assert_eq!(members(&report).join(" "), expected);
    }
}
