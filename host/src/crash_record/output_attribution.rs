//! Whose output it may be that has just been read: the one plugin whose code ran since the last look, if it was one.
//!
//! Descriptors belong to the whole process, so nothing says who wrote. A plugin's own threads have no seat; what they
//! write seems to come from whoever ran meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::sampler::RunningCall;
use super::{CrashRecord, HEADER, OUTPUT, SEAT, SEATS};
use crate::sync::lock;

/// What is said when it cannot be told.
const UNKNOWN: &str = "?";

/// What ran at the last look.
pub(crate) struct OutputAttribution {
    crash_record: Arc<CrashRecord>,
    /// The turn of each seat.
    turns: Vec<u64>,
    /// The plugins that may have written what is read just now.
    names: Vec<String>,
}

impl OutputAttribution {
    pub(crate) fn new(crash_record: Arc<CrashRecord>) -> Self {
        Self { crash_record, turns: vec![0; SEATS], names: Vec::new() }
    }

    /// The plugin that may have written since the last look, or `?`. `on`: or since the one before that, since what
    /// is read now may have been written then.
    pub(crate) fn look(&mut self, on: bool) -> &str {
        if !on {
            self.names.clear();
        }
        let mut ran = Vec::new();
        let mut others_may_have = false;
        for (number, before) in self.turns.iter_mut().enumerate() {
            let glance = RunningCall::at(&self.crash_record.words, HEADER + number * SEAT);
            if glance.turn == *before && !glance.is_running() {
                continue;
            }
            // Of several calls on a thread the last alone is known.
            others_may_have |= glance.turn.wrapping_sub(*before) > 2;
            *before = glance.turn;
            ran.push(glance.what.generation());
        }
        let generations = lock(&self.crash_record.generations);
        let plugin_of = |number: &u64| generations.get(number).filter(|names| !names.hash.is_empty());
        if others_may_have {
            let all = generations.values().filter(|names| !names.hash.is_empty());
            self.names.extend(all.map(|names| names.plugin.clone()));
        } else {
            self.names.extend(ran.iter().filter_map(plugin_of).map(|names| names.plugin.clone()));
        }
        self.names.sort();
        self.names.dedup();
        drop(generations);
        self.last()
    }

    /// The one of the last look.
    pub(crate) fn last(&self) -> &str {
        match &self.names[..] {
            [one] => one,
            _ => UNKNOWN,
        }
    }

    /// Up to here the output is in the log: a host that comes after this one begins there.
    pub(crate) fn read_to(&self, at: u64) {
        self.crash_record.words[OUTPUT].store(at, Ordering::Relaxed);
    }
}
