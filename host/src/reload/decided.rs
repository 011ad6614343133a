//! Applies decisions against plugin contents: content that was rolled back is not loaded, also by
//! the next host, and the content that served instead is.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jackfield_plugin_api::manifest::DeclaredMethod;

use super::load_outcome::{LoadOutcome, LoadTrigger};
use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use super::transaction::{Candidate, Purpose};
use crate::decisions::{Decider, Decision};
use crate::loader::{LoadError, StagedPlugin};
use crate::log::{ShortDuration, printable};

/// The content that is loaded for a file.
pub(super) struct SelectedContent {
    pub(super) candidate: Candidate,

    /// The decision against the content of the file.
    pub(super) decision: Option<EndOfDecision>,
}

/// The effect of a load, once it has succeeded, on the decision against the content of its file.
pub(super) enum EndOfDecision {
    /// Another content was loaded, because of the decision.
    Upheld(Decision),
    /// An operator had the content loaded nevertheless, so that the decision ends.
    Cleared(Decision),
}

/// The words of a message about a file whose content a decision is against.
struct RejectedFile<'d> {
    path: String,
    short_hash: &'d str,
    by: Decider,
    age: ShortDuration,
    why: Cow<'d, str>,
}

impl PluginOwner {
    /// Records that a plugin was rolled back from a content with these methods.
    pub(super) fn decide(&mut self, name: &str, decision: Decision, declared: &[DeclaredMethod]) {
        let (by, why) = (decision.by, printable(&decision.why));
        let short_hash = short(&decision.hash);
        tracing::info!(
            plugin = name,
            hash = decision.hash,
            %by,
            "plugin {name}: content {short_hash} is not loaded again until \"jackfield plugin reload {name}\": {by} \
             rolled it back ({why})"
        );

        self.set_rejected(name, &decision, declared);
        self.decisions.add(name, decision);
        // A rollback by command may return to content that was rolled back earlier.
        if let Some(serving) = self.slots.get(name).and_then(PluginSlot::generation) {
            self.decisions.clear(name, &serving.identity.hash);
        }
        self.keep_serving(name);
    }

    /// Selects the content to load for a file: its own, or the kept one if a decision is against
    /// its own and nothing serves.
    ///
    /// # Errors
    ///
    /// The outcome, if nothing is to be loaded.
    pub(super) fn select_content(
        &mut self,
        staged: StagedPlugin,
        file: &OsString,
        trigger: LoadTrigger,
    ) -> Result<SelectedContent, LoadOutcome> {
        let name = staged.inspection.name.clone();
        let hash = staged.inspection.hash.to_string();
        let serving_file = self.slots.get(&name).and_then(PluginSlot::file);
        let is_own_name = serving_file.is_none_or(|serving| serving == file);
        let serves = serving_file.is_some();

        // If another file has the name, the checks of the candidate say so.
        let decision = self.decisions.find(&name, &hash).filter(|_| is_own_name).cloned();
        let (allow_incompatible, overrides) = match trigger {
            LoadTrigger::OperatorForOne { allow_incompatible } => (allow_incompatible, true),
            LoadTrigger::Scan | LoadTrigger::OperatorForAll => (false, false),
        };
        let decision = match decision {
            Some(decision) if !overrides => decision,
            decision => {
                let purpose = Purpose::LoadFile { allow_incompatible };
                let candidate = Candidate { staged, file: file.clone(), purpose };
                // A refused load leaves the decision in effect.
                return Ok(SelectedContent { candidate, decision: decision.map(EndOfDecision::Cleared) });
            }
        };

        let declared = &staged.inspection.manifest.methods;
        if serves {
            return Err(self.reject(&name, file, &decision, declared, trigger));
        }
        self.select_kept(&name, file, decision, declared)
    }

    /// Leaves what serves in place of content that a decision is against.
    fn reject(
        &mut self,
        name: &str,
        file: &OsString,
        decision: &Decision,
        declared: &[DeclaredMethod],
        trigger: LoadTrigger,
    ) -> LoadOutcome {
        let refused = decision.refusal(name, declared);
        match decision.by {
            Decider::Host => self.report_refused(file, &refused),
            Decider::Operator { .. } => {
                let RejectedFile { path, short_hash, by, age, why } = self.rejected_file(file, decision);
                let effect = self.effect_of_refusal(name);
                tracing::info!(
                    plugin = name,
                    hash = decision.hash,
                    "plugin {name}: {path} not loaded, because {by} rolled back its content {short_hash} {age} ago \
                     ({why}); {effect}"
                );
                self.set_rejected(name, decision, declared);
            }
        }
        self.keep_serving(name);

        match trigger {
            LoadTrigger::Scan => LoadOutcome::Unchanged,
            LoadTrigger::OperatorForAll | LoadTrigger::OperatorForOne { .. } => LoadOutcome::Refused(refused),
        }
    }

    /// Selects the kept content of a plugin of which nothing serves.
    fn select_kept(
        &mut self,
        name: &str,
        file: &OsString,
        decision: Decision,
        declared: &[DeclaredMethod],
    ) -> Result<SelectedContent, LoadOutcome> {
        let missing = match self.decisions.stage_kept(name, &self.config.plugins.trusted_keys) {
            Some(Ok(kept)) => {
                let RejectedFile { path, short_hash, by, age, why } = self.rejected_file(file, &decision);
                let (hash, at) = (&decision.hash, decision.at);
                let kept_hash = kept.inspection.hash.short();
                tracing::warn!(
                    plugin = name,
                    hash,
                    %by,
                    at,
                    "plugin {name}: {path} not loaded, because {by} rolled back its content {short_hash} {age} ago \
                     ({why}); loading the kept content {kept_hash} instead"
                );

                let candidate = Candidate { staged: kept, file: file.clone(), purpose: Purpose::RestoreKept };
                let decision = Some(EndOfDecision::Upheld(decision));
                return Ok(SelectedContent { candidate, decision });
            }
            Some(Err(error)) => {
                if error.reason.is_transient() {
                    self.scan.files.retry(file);
                }
                format!("the kept content is refused, too ({}): {}", error.reason.code(), error.detail)
            }
            None => "there is no kept content to return to".to_owned(),
        };

        let refused = decision.refusal(name, declared);
        let detail = format_args!("{}; {missing}", refused.detail);
        let refused = LoadError::new(refused.reason, detail).with_methods(declared);
        self.report_refused(file, &refused);
        Err(LoadOutcome::Refused(refused))
    }

    /// Returns the words of a message about a file whose content a decision is against.
    fn rejected_file<'d>(&self, file: &OsStr, decision: &'d Decision) -> RejectedFile<'d> {
        let path = self.scan.path().join(file).display().to_string();
        RejectedFile {
            path: printable(&path).into_owned(),
            short_hash: short(&decision.hash),
            by: decision.by,
            age: ShortDuration(age_of(decision.at)),
            why: printable(&decision.why),
        }
    }

    /// Lists the plugin with the refusal of a content, if the host decided against it. An operator
    /// knows what the operator has rolled back.
    pub(super) fn set_rejected(&mut self, name: &str, decision: &Decision, declared: &[DeclaredMethod]) {
        if let Some(slot) = self.slots.get_mut(name) {
            let is_listed = decision.by == Decider::Host;
            slot.refused = is_listed.then(|| decision.refusal(name, declared));
        }
        self.publish_refusals();
    }

    /// Ends what a decision against the content of a file means, after the load has succeeded.
    pub(super) fn end_decision(&mut self, name: &str, end: &EndOfDecision, declared: &[DeclaredMethod]) {
        match end {
            EndOfDecision::Upheld(decision) => self.set_rejected(name, decision, declared),
            EndOfDecision::Cleared(decision) => self.clear_decision(name, decision),
        }
    }

    /// Clears a decision for an operator.
    fn clear_decision(&mut self, name: &str, decision: &Decision) {
        self.decisions.clear(name, &decision.hash);

        let Decision { hash, by, at, why } = decision;
        let (age, why) = (ShortDuration(age_of(*at)), printable(why));
        let short_hash = short(hash);
        tracing::warn!(
            plugin = name,
            hash,
            %by,
            at,
            "plugin {name}: content {short_hash} is loaded by command, although {by} rolled it back {age} ago ({why})"
        );
    }

    /// Keeps the content that serves, so that the next host can load it instead of content that a
    /// decision is against.
    fn keep_serving(&mut self, name: &str) {
        let Some(serving) = self.slots.get(name).and_then(PluginSlot::generation) else { return };
        let hash = &serving.identity.hash;
        if self.decisions.keeps(name, hash) {
            return;
        }

        match self.starter.image(serving) {
            Some(Ok(image)) => self.decisions.keep(image),
            Some(Err(error)) => {
                let (short_hash, detail) = (short(hash), &error.detail);
                tracing::warn!(
                    plugin = name,
                    hash,
                    "plugin {name}: content {short_hash} cannot be kept for the next host: {detail}; the plugin is \
                     unavailable after a restart"
                );
            }
            None => {}
        }
    }
}

/// Returns the first 12 digits of a hash, as in all messages.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Returns how long ago a decision was made.
pub(super) fn age_of(at: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Duration::from_secs(now.saturating_sub(at))
}
