//! An operator who reloads plugins over the admin socket and observes the result.

use serde_json::{Value, json};

use super::NAME;
use crate::support::admin::{self, plugin_rows};
use crate::support::wait::poll_within;
use crate::support::{CEILING, HostProcess, Peer};

/// A connection to the admin socket.
pub(crate) struct Operator(pub(crate) Peer);

impl Operator {
    #[track_caller]
    pub(crate) fn connect(host: &HostProcess) -> Self {
        Self(admin::connect(host))
    }

    #[track_caller]
    pub(crate) fn list(&mut self) -> Vec<Value> {
        plugin_rows(&mut self.0)
    }

    /// Returns the row of a plugin, or null.
    #[track_caller]
    pub(crate) fn row(&mut self, name: &str) -> Value {
        self.list().into_iter().find(|row| row["name"] == name).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn generation(&mut self) -> u64 {
        let row = self.row(NAME);
        row["generation"].as_u64().unwrap_or_else(|| panic!("nothing serves: {row}"))
    }

    /// Reloads a plugin and returns the verdict.
    #[track_caller]
    pub(crate) fn reload(&mut self, name: &str) -> Value {
        let verdicts = self.0.result("admin.plugin.reload", &json!({ "name": name }));
        let [verdict] = &verdicts.as_array().expect("verdicts")[..] else { panic!("one of {verdicts}") };
        verdict.clone()
    }

    /// Reloads the plugin [`NAME`], which must succeed.
    #[track_caller]
    pub(crate) fn reload_published(&mut self) -> Value {
        let verdict = self.reload(NAME);
        assert_eq!(verdict["outcome"], "published", "{verdict}");
        verdict
    }

    /// Reloads the plugin [`NAME`], which must be refused with this reason.
    #[track_caller]
    pub(crate) fn reload_refused(&mut self, reason: &str) -> Value {
        let verdict = self.reload(NAME);
        assert_eq!(
            (&verdict["outcome"], &verdict["refused"]["reason"]),
            (&json!("refused"), &json!(reason)),
            "{verdict}"
        );
        verdict
    }

    #[track_caller]
    pub(crate) fn roll_back(&mut self, name: &str) -> Value {
        self.0.result("admin.plugin.rollback", &json!({ "name": name }))
    }

    /// Waits until the row of the plugin [`NAME`] is as wanted, and returns it.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = poll_within(CEILING, || {
            last = self.row(NAME);
            wanted(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("not within {CEILING:?}: {what}; last: {last}"))
    }

    /// Waits until every generation but the serving one is unloaded.
    #[track_caller]
    pub(crate) fn wait_until_unloaded(&mut self) -> Value {
        let row = self.wait_until("nothing drains", |row| row["draining"] == json!([]));
        assert_eq!(row["retained"], json!([]), "{row}");
        row
    }
}
