//! Acts on the files of the plugin directory: loads new content, and ends what was removed.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::manifest::DeclaredMethod;

use super::decided::{EndOfDecision, SelectedContent};
use super::directory_scan::{CompleteFiles, FileChange, ScanResult};
use super::load_outcome::{LoadOutcome, LoadTrigger};
use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use super::refusal::{is_in_motion, is_signature_pending, is_transient};
use super::transaction::Candidate;
use crate::admin::{PluginReloadOutcome, PluginReloadResult};
use crate::config::ReplacePolicy;
use crate::failpoint;
use crate::loader::{FileStamp, LoadError, LoadErrorReason, StagedPlugin, plugin_name};
use crate::log::printable;
use crate::plugin_events::PluginEvent;

/// The content of a file itself, while it or another one is loaded.
pub(super) struct OwnContent {
    /// The methods that it declares.
    declared: Vec<DeclaredMethod>,

    /// The decision against it.
    decision: Option<EndOfDecision>,
}

impl PluginOwner {
    /// Scans the directory and acts on every change. Returns whether to scan again soon.
    pub(super) fn scan_directory(&mut self, complete: CompleteFiles<'_>) -> bool {
        let now = self.now();
        let ScanResult { changes, is_unsettled } = self.scan.scan(complete, now);

        let mut is_rescan_due = is_unsettled;
        for change in changes {
            if self.shutdown.has_begun() {
                return false;
            }
            is_rescan_due |= self.apply_change(change);
        }
        is_rescan_due
    }

    /// Acts on a change. Returns whether to scan again soon.
    pub(super) fn apply_change(&mut self, change: FileChange) -> bool {
        match change {
            FileChange::Removed(file) => {
                self.remove_file(&file);
                false
            }
            FileChange::Unusable(file, refused) => {
                self.scan.files.refuse(&file, None, refused.clone());
                self.report_refused(&file, &refused);
                false
            }
            FileChange::Changed(file) => {
                let outcome = self.load_file(&file, LoadTrigger::Scan);
                let is_retried = match outcome {
                    LoadOutcome::Incomplete => true,
                    LoadOutcome::Refused(refused) => is_transient(refused.reason),
                    LoadOutcome::Unchanged | LoadOutcome::Published => false,
                };
                is_retried || self.scan.files.is_pending(&file)
            }
        }
    }

    /// Loads the file of one plugin, or of all, for an operator.
    pub(super) fn reload(&mut self, name: Option<&str>, allow_incompatible: bool) -> Vec<PluginReloadResult> {
        let trigger = match name {
            Some(_) => LoadTrigger::OperatorForOne { allow_incompatible },
            None => LoadTrigger::OperatorForAll,
        };
        self.reload_files(name, trigger)
    }

    /// Loads the file of one plugin, or of all.
    pub(super) fn reload_files(
        &mut self,
        name: Option<&str>,
        trigger: LoadTrigger,
    ) -> Vec<PluginReloadResult> {
        self.scan.open_current();
        let listed = self.scan.directory().map_or_else(|| Ok(Vec::new()), |directory| directory.list());
        let mut files = listed.unwrap_or_default();
        if let Some(name) = name {
            files.retain(|file| plugin_name(file).as_deref() == Some(name));
            if files.is_empty() {
                let directory = self.scan.path().display();
                let detail = format!("the directory {directory} has no file of a plugin {name:?}");
                let refused = LoadError::new(LoadErrorReason::NoSuchPlugin, detail);
                return vec![self.reload_result(name, Some(&refused))];
            }
        }

        let mut results = Vec::with_capacity(files.len());
        for file in files {
            let outcome = self.load_file(&file, trigger);
            results.push(self.result_of(&file, &outcome));
        }
        results
    }

    fn result_of(&self, file: &OsString, outcome: &LoadOutcome) -> PluginReloadResult {
        let refused = match outcome {
            LoadOutcome::Refused(refused) => Some(refused),
            LoadOutcome::Unchanged | LoadOutcome::Incomplete | LoadOutcome::Published => None,
        };
        match self.slot_name(file) {
            Some(name) => self.reload_result(&name, refused),
            // The plugin of this name serves from another file, or the name is none. The result is
            // about the file, not about what serves.
            None => PluginReloadResult {
                plugin: plugin_name(file).unwrap_or_else(|| file.display().to_string()),
                outcome: PluginReloadOutcome::Refused,
                generation: None,
                hash: None,
                build_id: None,
                refused: refused.map(Into::into),
            },
        }
    }

    /// Loads the files again that were refused for a shortage and are due, where no scan does.
    pub(super) fn retry_shortages(&mut self) {
        for file in self.shortages.due(self.now().monotonic) {
            self.load_file(&file, LoadTrigger::Scan);
        }
    }

    /// Forgets every refusal, so that the next scan loads the files again.
    pub(super) fn retry_refused(&mut self) {
        for file in self.scan.files.names().cloned().collect::<Vec<_>>() {
            let serves = self.slot_of(&file).is_some_and(|slot| slot.refused.is_none());
            if !serves {
                self.scan.files.retry(&file);
            }
        }
    }

    /// Loads the content of a file, if it is new or an operator asks for it.
    pub(super) fn load_file(&mut self, file: &OsString, trigger: LoadTrigger) -> LoadOutcome {
        let (candidate, own) = match self.begin_load(file, trigger) {
            Ok(begun) => begun,
            Err(outcome) => return outcome,
        };

        let config = Arc::clone(&self.config);
        let prepared = self.prepare(candidate, &config);
        let loaded = prepared.and_then(|prepared| self.commit_one(prepared));
        self.end_load(file, own, loaded)
    }

    /// Stages the content of a file and selects the content to load for it.
    ///
    /// # Errors
    ///
    /// The outcome, if nothing is to be loaded.
    pub(super) fn begin_load(
        &mut self,
        file: &OsString,
        trigger: LoadTrigger,
    ) -> Result<(Candidate, OwnContent), LoadOutcome> {
        self.check_not_ending().map_err(LoadOutcome::Refused)?;

        // The stamp is taken before the file is read: a change during the read is found later.
        let stamp = self.scan.directory().and_then(|directory| directory.stamp(file).ok());
        let staged = match self.stage(file) {
            Ok(staged) => staged,
            Err(refused) => return Err(self.staging_failed(file, stamp, refused, trigger)),
        };

        let hash = staged.inspection.hash;
        // The file may have been touched only, or written again with the same content.
        let is_known = self.scan.files.content(file) == Some(hash);
        self.scan.files.settle(file, staged.stamp, hash);
        if trigger == LoadTrigger::Scan && (is_known || self.settles(file, &hash.to_string())) {
            return Err(LoadOutcome::Unchanged);
        }

        self.name_conflicts.remove(file);
        let declared = staged.inspection.manifest.methods.clone();
        let SelectedContent { candidate, decision } = self.select_content(staged, file, trigger)?;
        let own = OwnContent { declared, decision };

        match self.check_crashes(&candidate.staged.inspection, trigger) {
            Ok(()) => Ok((candidate, own)),
            Err(refused) => Err(self.end_load(file, own, Err(refused))),
        }
    }

    /// Records the end of a load that [`PluginOwner::begin_load`] began.
    pub(super) fn end_load(
        &mut self,
        file: &OsString,
        own: OwnContent,
        loaded: Result<(), LoadError>,
    ) -> LoadOutcome {
        let OwnContent { declared, decision } = own;
        if let Err(error) = loaded {
            return self.load_failed(file, error.with_methods(&declared));
        }

        self.shortages.forget(file);
        if let Some(decision) = decision {
            self.end_decision(&plugin_name(file).unwrap_or_default(), &decision, &declared);
        }
        LoadOutcome::Published
    }

    fn stage(&self, file: &OsString) -> Result<StagedPlugin, LoadError> {
        failpoint::pass("stage")?;
        match self.scan.directory() {
            Some(directory) => directory.stage(file, &self.config.plugins.trusted_keys),
            None => {
                let directory = self.scan.path().display();
                let detail = format!("the directory {directory} is missing or was refused; see the log");
                Err(LoadError::new(LoadErrorReason::NotFound, detail))
            }
        }
    }

    fn staging_failed(
        &mut self,
        file: &OsString,
        stamp: Option<FileStamp>,
        refused: LoadError,
        trigger: LoadTrigger,
    ) -> LoadOutcome {
        let reason = refused.reason;
        let is_incomplete = is_in_motion(reason) || is_signature_pending(reason, stamp, self.now());
        if trigger == LoadTrigger::Scan && is_incomplete {
            // A copy is under way. Its content is unknown, so there is nothing to report.
            let name = file.display().to_string();
            let shown = printable(&name);
            tracing::debug!(file = %name, "{shown} may be incomplete and is read again: {refused}");
            self.scan.files.read_again(file);
            return LoadOutcome::Incomplete;
        }

        if refused.is_shortage() {
            let now = self.now().monotonic;
            self.shortages.retry_later(&mut self.scan.files, file, stamp, now, Duration::ZERO);
        } else if reason.is_transient() {
            self.scan.files.retry(file);
        } else {
            self.scan.files.refuse(file, stamp, refused.clone());
        }
        self.report_refused(file, &refused);
        LoadOutcome::Refused(refused)
    }

    fn load_failed(&mut self, file: &OsString, refused: LoadError) -> LoadOutcome {
        let reason = refused.reason;
        let name = plugin_name(file).unwrap_or_default();
        let stops_first = self.config.replace_policy(&name) == ReplacePolicy::StopFirst;
        // Each attempt may hold calls for up to `state_transfer`, and may stop the plugin: at most
        // a fifth of the time.
        let pause_of_calls = self.config.plugins.state_transfer * 4;
        let now = self.now().monotonic;

        if refused.is_shortage() {
            let min_pause = if stops_first { pause_of_calls } else { Duration::ZERO };
            self.shortages.retry_later(&mut self.scan.files, file, None, now, min_pause);
        } else if reason == LoadErrorReason::StateTransferBusy || (stops_first && reason.is_transient()) {
            self.scan.files.retry_after(file, now + pause_of_calls);
        } else if reason.is_transient() {
            self.scan.files.retry(file);
        } else if matches!(reason, LoadErrorReason::NameTaken | LoadErrorReason::MethodTaken) {
            self.name_conflicts.insert(file.clone());
        }

        self.report_refused(file, &refused);
        LoadOutcome::Refused(refused)
    }

    /// Returns the slot of the plugin that was loaded from this file.
    fn slot_of(&mut self, file: &OsString) -> Option<&mut PluginSlot> {
        let slot = self.slots.get_mut(&plugin_name(file)?)?;
        (slot.file() == Some(file)).then_some(slot)
    }

    /// Returns whether the file has returned to content that serves.
    fn settles(&mut self, file: &OsString, hash: &str) -> bool {
        let settles = self.slot_of(file).is_some_and(|slot| slot.settles(hash));

        // A refusal of other content may be over.
        self.publish_refusals();
        settles
    }

    /// Ends the plugin that was loaded from a removed file.
    fn remove_file(&mut self, file: &OsString) {
        self.name_conflicts.remove(file);
        self.shortages.forget(file);
        let name = plugin_name(file).unwrap_or_default();
        let Some(slot) = self.slot_of(file) else {
            self.forget_refusal(&name);
            return;
        };

        if let Some(generation) = slot.number() {
            let removed = slot.remove();
            let path = self.scan.path().join(file).display().to_string();
            let path = printable(&path);
            tracing::info!(
                plugin = name,
                generation,
                "plugin {name}: {path} removed, generation {generation} no longer serves"
            );
            self.dispatcher.events.publish(&PluginEvent::Removed { plugin: name, generation });
            self.publish(None);
            removed.into_iter().for_each(|removed| self.retire(removed));
        }
        self.retry_name_conflicts();
    }

    /// Forgets why a removed file was refused, from which nothing was loaded.
    ///
    /// The slot stays if an earlier file of the same name left generations that are still counted.
    fn forget_refusal(&mut self, name: &str) {
        let Some(slot) = self.slots.get_mut(name).filter(|slot| slot.file().is_none()) else { return };

        let forgotten = slot.refused.take();
        if slot.is_blank() {
            self.slots.remove(name);
        }
        if forgotten.is_some_and(|refused| !refused.methods.is_empty()) {
            self.publish_refusals();
        }
    }
}
