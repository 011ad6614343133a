//! The decisions of all plugins, and their form in `decisions.json`.
//!
//! The names of the members do not change, so that a host reads the file of an earlier version. A
//! file of another `version` is not read.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

use super::decision::Decision;
use crate::loader::plugin_name;

/// The version of the file that this host reads and writes.
const VERSION: u32 = 1;

/// Decisions of one plugin that are kept. The oldest ones go first.
pub(super) const MAX_DECISIONS: usize = 64;

/// Plugins whose decisions are kept. The one whose last decision is oldest goes first.
pub(super) const MAX_PLUGINS: usize = 256;

/// Why a file is not a decision log of this version.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecisionLogError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),

    #[error("the file has version {0}, and this host reads version {VERSION}")]
    Version(u32),

    #[error("{0:?} is not the name of a plugin")]
    PluginName(String),
}

/// The decisions of one plugin, oldest first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PluginDecisions {
    /// The hash of the content that is kept to return to.
    kept: Option<String>,
    decisions: Vec<Decision>,
}

/// All decisions by plugin.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct DecisionLog(BTreeMap<String, PluginDecisions>);

/// The file.
#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    plugins: BTreeMap<String, PluginDecisions>,
}

/// The only member that every version has.
#[derive(Deserialize)]
struct DocumentVersion {
    version: u32,
}

/// Returns the name of the file that keeps the content of a plugin.
pub(super) fn kept_file_name(plugin: &str) -> String {
    format!("lib{plugin}.so")
}

impl DecisionLog {
    /// Parses the file.
    ///
    /// # Errors
    ///
    /// The file is damaged, or has another version.
    pub(super) fn parse(json: &[u8]) -> Result<Self, DecisionLogError> {
        let DocumentVersion { version } = serde_json::from_slice(json)?;
        if version != VERSION {
            return Err(DecisionLogError::Version(version));
        }

        let Document { mut plugins, .. } = serde_json::from_slice(json)?;
        // The name becomes part of a path.
        let is_name = |name: &String| {
            let file = kept_file_name(name);
            plugin_name(OsStr::new(&file)).as_ref() == Some(name)
        };
        if let Some(name) = plugins.keys().find(|name| !is_name(name)) {
            return Err(DecisionLogError::PluginName(name.clone()));
        }
        plugins.values_mut().for_each(PluginDecisions::drop_oldest);
        Ok(Self(plugins))
    }

    /// Returns the content of the file.
    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(&Document { version: VERSION, plugins: self.0.clone() })
    }

    /// Returns the decision against a content of a plugin.
    pub(super) fn find(&self, plugin: &str, hash: &str) -> Option<&Decision> {
        self.of(plugin).iter().find(|decision| decision.hash == hash)
    }

    /// Returns the decisions of a plugin, oldest first.
    pub(super) fn of(&self, plugin: &str) -> &[Decision] {
        self.0.get(plugin).map_or(&[], |of_plugin| &of_plugin.decisions)
    }

    /// Returns every content that a decision is against, with its plugin.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(plugin, of_plugin)| {
            of_plugin.decisions.iter().map(move |decision| (plugin.as_str(), decision.hash.as_str()))
        })
    }

    /// Adds a decision, which replaces an earlier one against the same content. Returns the plugin
    /// whose decisions were dropped to make room, if one had to be.
    pub(super) fn add(&mut self, plugin: &str, decision: Decision) -> Option<String> {
        let of_plugin = self.0.entry(plugin.to_owned()).or_default();
        of_plugin.decisions.retain(|earlier| earlier.hash != decision.hash);
        of_plugin.decisions.push(decision);
        of_plugin.drop_oldest();

        if self.0.len() <= MAX_PLUGINS {
            return None;
        }
        let others = self.0.iter().filter(|(name, _)| *name != plugin);
        let last = |of_plugin: &PluginDecisions| of_plugin.decisions.last().map_or(0, |last| last.at);
        let oldest = others.min_by_key(|(_, of_plugin)| last(of_plugin)).map(|(name, _)| name.clone())?;
        self.0.remove(&oldest);
        Some(oldest)
    }

    /// Removes the decision against a content. A plugin without decisions is forgotten as a whole.
    pub(super) fn clear(&mut self, plugin: &str, hash: &str) -> Option<Decision> {
        let of_plugin = self.0.get_mut(plugin)?;
        let index = of_plugin.decisions.iter().position(|decision| decision.hash == hash)?;
        let cleared = of_plugin.decisions.remove(index);

        if of_plugin.decisions.is_empty() {
            self.0.remove(plugin);
        }
        Some(cleared)
    }

    /// Returns the hash of the content that is kept for a plugin.
    pub(super) fn kept(&self, plugin: &str) -> Option<&str> {
        self.0.get(plugin)?.kept.as_deref()
    }

    /// Sets the content that is kept for a plugin that has decisions. Returns whether it is
    /// another one than before.
    pub(super) fn set_kept(&mut self, plugin: &str, hash: &str) -> bool {
        match self.0.get_mut(plugin) {
            Some(of_plugin) if of_plugin.kept.as_deref() != Some(hash) => {
                of_plugin.kept = Some(hash.to_owned());
                true
            }
            _ => false,
        }
    }
}

impl PluginDecisions {
    fn drop_oldest(&mut self) {
        let surplus = self.decisions.len().saturating_sub(MAX_DECISIONS);
        self.decisions.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::super::decision::Decider;
    use super::*;

    fn decision(hash: &str, at: u64) -> Decision {
        let by = Decider::Operator { uid: Some(7) };
        Decision { at, ..Decision::now(hash.to_owned(), by, "why".to_owned()) }
    }

    fn hashes(log: &DecisionLog, plugin: &str) -> Vec<String> {
        log.of(plugin).iter().map(|decision| decision.hash.clone()).collect()
    }

    #[test]
    fn reads_what_it_writes() {
        let mut log = DecisionLog::default();
        log.add("a", decision("1", 1));
        log.add("b", Decision { by: Decider::Host, ..decision("2", 2) });
        log.add("b", Decision { by: Decider::Operator { uid: None }, ..decision("3", 3) });
        assert!(log.set_kept("b", "4") && !log.set_kept("b", "4") && !log.set_kept("c", "4"));

        let json = log.to_json().unwrap();
        assert_eq!(DecisionLog::parse(&json).unwrap(), log);
        let text = String::from_utf8(json).unwrap();
        for member in ["\"version\": 1", "\"by\": \"operator\"", "\"uid\": 7", "\"by\": \"host\""] {
            assert!(text.contains(member), "{member} in {text}");
        }
    }

    #[test]
    fn reads_the_file_of_the_first_version() {
        let json = br#"{"version": 1, "plugins": {"device": {"kept": "0a", "decisions": [
            {"hash": "0b", "by": "host", "at": 5, "why": "w"},
            {"hash": "0c", "by": "operator", "uid": 0, "at": 6, "why": "w"}]}}}"#;
        let log = DecisionLog::parse(json).unwrap();

        assert_eq!(log.kept("device"), Some("0a"));
        assert_eq!(log.find("device", "0b").unwrap().by, Decider::Host);
        assert_eq!(log.find("device", "0c").unwrap().by, Decider::Operator { uid: Some(0) });
        assert_eq!(log.contents().collect::<Vec<_>>(), [("device", "0b"), ("device", "0c")]);
    }

    #[test]
    fn refuses_damaged_files_other_versions_and_names_that_are_paths() {
        let refused = |json: &str| DecisionLog::parse(json.as_bytes()).unwrap_err().to_string();
        assert!(refused("[[[").contains("line 1"));
        assert!(refused(r#"{"version": 1}"#).contains("plugins"));
        assert_eq!(
            refused(r#"{"version": 2, "anything": 1}"#),
            "the file has version 2, and this host reads version 1"
        );
        for name in ["../x", "", "a b"] {
            let json =
                format!(r#"{{"version": 1, "plugins": {{"{name}": {{"kept": null, "decisions": []}}}}}}"#);
            assert_eq!(refused(&json), format!("{name:?} is not the name of a plugin"));
        }
    }

    #[test]
    fn replaces_an_earlier_decision_against_the_same_content() {
        let mut log = DecisionLog::default();
        for (hash, at) in [("1", 1), ("2", 2), ("1", 3)] {
            log.add("a", decision(hash, at));
        }
        assert_eq!((hashes(&log, "a"), log.find("a", "1").unwrap().at), (vec!["2".into(), "1".into()], 3));
        assert_eq!(log.find("b", "1"), None, "a decision belongs to one plugin");
    }

    #[test]
    fn drops_the_oldest_decisions_of_a_plugin_when_it_writes_and_when_it_reads() {
        let mut log = DecisionLog::default();
        for at in 0..=MAX_DECISIONS as u64 {
            log.add("a", decision(&at.to_string(), at));
        }
        assert_eq!((log.of("a").len(), log.find("a", "0")), (MAX_DECISIONS, None));

        log.0.get_mut("a").unwrap().decisions.push(decision("more", 1000));
        let read = DecisionLog::parse(&log.to_json().unwrap()).unwrap();
        assert_eq!((read.of("a").len(), read.find("a", "1")), (MAX_DECISIONS, None));
    }

    #[test]
    fn drops_the_plugin_whose_last_decision_is_oldest() {
        let mut log = DecisionLog::default();
        for at in 0..MAX_PLUGINS as u64 {
            assert_eq!(log.add(&format!("p{at}"), decision("1", 100 + at)), None);
        }
        log.add("p0", decision("2", 1000));

        assert_eq!(log.add("new", decision("1", 1)).as_deref(), Some("p1"));
        assert_eq!((log.of("p0").len(), log.of("p1").len(), log.of("new").len()), (2, 0, 1));
    }

    #[test]
    fn forgets_a_plugin_with_its_last_decision() {
        let mut log = DecisionLog::default();
        log.add("a", decision("1", 1));
        log.add("a", decision("2", 2));
        log.set_kept("a", "3");

        assert_eq!(log.clear("a", "1").unwrap().hash, "1");
        assert_eq!((log.clear("a", "1"), log.kept("a")), (None, Some("3")));
        log.clear("a", "2");
        assert_eq!(log, DecisionLog::default());
    }
}
