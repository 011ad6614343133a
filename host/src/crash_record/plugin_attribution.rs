//! Attributes effects on the whole process to a plugin: output on stdout and stderr, and changed
//! state.
//!
//! Such effects do not show who caused them. If exactly one plugin ran since the previous update,
//! they are attributed to it. Threads that a plugin starts itself have no record slot; their
//! effects are attributed to the plugin that ran meanwhile.

use std::sync::Arc;

use super::layout::SLOT_COUNT;
use super::record::CrashRecord;
use crate::sync::lock;

/// Stands for a plugin that cannot be determined.
const UNKNOWN: &str = "?";

/// Determines which plugins ran in a period.
pub(crate) struct PluginAttribution {
    record: Arc<CrashRecord>,

    /// The sequence number of each slot at the last update.
    sequences: Vec<u64>,

    /// The plugins that may have run in the period.
    candidates: Vec<String>,
}

impl PluginAttribution {
    pub(crate) fn new(record: Arc<CrashRecord>) -> Self {
        Self { record, sequences: vec![0; SLOT_COUNT], candidates: Vec::new() }
    }

    /// Determines which plugins may have run since the last update, and returns the name if it is
    /// one, otherwise `?`. With `keeps_candidates`, the period began before the last update.
    pub(crate) fn update(&mut self, keeps_candidates: bool) -> &str {
        if !keeps_candidates {
            self.candidates.clear();
        }

        let mut generations = Vec::new();
        let mut missed_calls = false;
        for (slot, previous) in self.sequences.iter_mut().enumerate() {
            let call = self.record.sample(slot);
            if call.sequence == *previous && !call.is_running() {
                continue;
            }
            // Of several calls on one thread, the record only shows the last one.
            missed_calls |= call.sequence.wrapping_sub(*previous) > 2;
            *previous = call.sequence;
            generations.push(call.code.generation());
        }

        let names = lock(self.record.names());
        if missed_calls {
            self.candidates.extend(names.plugins().map(str::to_owned));
        } else {
            let ran = generations.into_iter().filter_map(|number| names.get(number));
            let plugins = ran.filter(|names| !names.hash.is_empty()).map(|names| names.plugin.clone());
            self.candidates.extend(plugins);
        }
        drop(names);

        self.candidates.sort();
        self.candidates.dedup();
        self.current()
    }

    /// Returns the names of all plugins that may have run.
    pub(crate) fn candidates(&self) -> &[String] {
        &self.candidates
    }

    /// Returns the result of the last update.
    pub(crate) fn current(&self) -> &str {
        match &self.candidates[..] {
            [one] => one,
            _ => UNKNOWN,
        }
    }

    /// Records that the output up to this offset is in the log. After a crash, the next host logs
    /// the rest.
    pub(crate) fn set_logged(&self, offset: u64) {
        self.record.set_logged_output(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GenerationNames, RecordSlot, RunningCode, run_recorded};
    use super::*;
    use crate::config::CrashConfig;

    fn names(plugin: &str, hash: &str) -> GenerationNames {
        GenerationNames { plugin: plugin.to_owned(), hash: hash.to_owned(), methods: Vec::new() }
    }

    /// Runs code of these generations on a thread with a slot of its own.
    fn run(record: &CrashRecord, generations: &[u64]) {
        let slot = record.claim_slot();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                RecordSlot::attach(slot);
                generations.iter().for_each(|number| run_recorded(RunningCode::new(*number, 0), None, || ()));
            });
        });
    }

    #[test]
    fn attributes_output_to_the_only_plugin_that_ran() {
        let record = CrashRecord::open(&CrashConfig::default()).unwrap();
        let _a = record.register(1, names("a", "1"));
        let _b = record.register(2, names("b", "2"));
        let _program = record.register(3, names("system", ""));
        let mut attribution = PluginAttribution::new(Arc::clone(&record));
        assert_eq!(attribution.update(false), "?", "nothing ran");

        run(&record, &[1]);
        assert_eq!(attribution.update(false), "a");
        assert_eq!(attribution.update(true), "a", "it may have written before");
        assert_eq!(attribution.update(false), "?");

        run(&record, &[3]);
        assert_eq!(attribution.update(false), "?", "the program's own methods are no plugin");

        run(&record, &[2]);
        attribution.update(false);
        run(&record, &[1]);
        assert_eq!(attribution.update(true), "?", "it may be either of two");
        assert_eq!(attribution.current(), "?");
    }

    #[test]
    fn considers_every_plugin_if_it_missed_a_call() {
        let record = CrashRecord::open(&CrashConfig::default()).unwrap();
        let _a = record.register(1, names("a", "1"));
        let b = record.register(2, names("b", "2"));
        let mut attribution = PluginAttribution::new(Arc::clone(&record));

        run(&record, &[2, 1]);
        assert_eq!(attribution.update(false), "?");
        assert_eq!(attribution.candidates(), ["a", "b"]);
        drop(b);
        run(&record, &[1, 1]);
        assert_eq!(attribution.update(false), "a", "it is the only plugin");
    }
}
