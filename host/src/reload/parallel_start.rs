//! Loads all plugins when the host starts, several at a time.
//!
//! ```text
//! scan ──► stage ──► check ──► probe (several) ──► start (several) ──► commit
//!                      ▲                                                 │
//!                      └───── files that waited for one of these ◄───────┘
//! ```
//!
//! The outcome is that of loading one file after another. Of two files that claim the same plugin
//! name or method, the second waits until it is known whether the first one serves. Numbers of
//! generations follow the order of the files. After a crash in which several plugins were starting,
//! one starts after another, so that the next crash shows which of them is at fault. While the host
//! serves, changed files are loaded one after another, so that reloads leave processors to
//! requests.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, Builder};
use std::time::Duration;

use super::directory_scan::{CompleteFiles, FileChange};
use super::file_load::OwnContent;
use super::load_outcome::LoadTrigger;
use super::owner::PluginOwner;
use super::transaction::Candidate;
use crate::crash_record::Crash;
use crate::loader::LoadError;
use crate::sync::lock;
use crate::thread_locals;

/// Upper bound for plugins that are probed or started at the same time. A start mostly waits for
/// files, databases or the network. But `plugins.probe` goes on while starts compete for the
/// processors, so a plugin that passes alone must also pass beside so few others.
const MAX_AT_A_TIME: usize = 4;

/// Time that a step may take in addition to `plugins.probe`: to kill a probe process, to join
/// threads, and to log.
const STEP_MARGIN: Duration = Duration::from_secs(10);

/// The progress of a start. It is reported after each step of a plugin, so that reports stop if
/// there is no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartProgress {
    /// Plugin files that were loaded or refused.
    pub finished: usize,
    /// Plugin files whose load has begun.
    pub total: usize,
    /// Upper bound for the time until the next report, or until the host is ready.
    pub next_within: Duration,
}

/// Reports the progress of a start, from any thread.
pub(crate) type ReportProgress = dyn Fn(StartProgress) + Send + Sync;

/// A load that has begun.
type Load = (Candidate, OwnContent);

/// Counts the files of a start.
struct StepCounter<'r> {
    report: &'r ReportProgress,
    total: usize,
    finished: AtomicUsize,
    next_within: Duration,
}

impl StepCounter<'_> {
    /// Reports the end of a step, which was the last one of the file if `is_finished`.
    fn report(&self, is_finished: bool) {
        let finished = self.finished.fetch_add(usize::from(is_finished), Ordering::Relaxed);
        (self.report)(StartProgress {
            finished: finished + usize::from(is_finished),
            total: self.total,
            next_within: self.next_within,
        });
    }
}

impl PluginOwner {
    /// Loads the files of the directory for the start of the host. Refused files are logged.
    ///
    /// Returns early if the host ends.
    pub(crate) fn load_all(&mut self, report: &ReportProgress) {
        let mut waiting = self.stage_all();
        let steps = StepCounter {
            report,
            total: waiting.len(),
            finished: AtomicUsize::new(0),
            next_within: self.config.plugins.probe.saturating_add(STEP_MARGIN),
        };
        if !waiting.is_empty() {
            steps.report(false);
        }

        while !waiting.is_empty() {
            let (independent, conflicting) = separate(waiting);
            self.load_together(independent, &steps);
            waiting = conflicting;
        }
        if self.shutdown.has_begun() {
            return;
        }
        self.publish(None);
        self.dispatcher.table.load().warn_about_dead_routes(&self.config.routes);
    }

    /// Stages every file of the directory that may be loaded.
    fn stage_all(&mut self) -> Vec<Load> {
        self.scan.open_current();
        let changes = self.scan.scan(CompleteFiles::All, self.now()).changes;

        let mut loads = Vec::new();
        for change in changes {
            let FileChange::Changed(file) = change else {
                self.apply_change(change);
                continue;
            };
            loads.extend(self.begin_load(&file, LoadTrigger::Scan));
        }
        loads
    }

    /// Loads candidates that do not depend on each other.
    fn load_together(&mut self, loads: Vec<Load>, steps: &StepCounter<'_>) {
        let (config, starter) = (Arc::clone(&self.config), Arc::clone(&self.starter));
        let config = self.with_decisions(&config, loads.iter().map(|(candidate, _)| candidate));
        let crashes = self.dispatcher.crash_record.crashes();
        let is_serial = crashes.iter().any(Crash::is_of_parallel_starts);
        let starts_at_a_time = if is_serial { 1 } else { MAX_AT_A_TIME };

        let checked = self.without_refused(loads, steps, |owner, load| {
            let checked = owner.check(&load.0, &config);
            (load, checked)
        });
        let probed = in_parallel(MAX_AT_A_TIME, checked, |load| {
            let probed = starter.probe(&load.0.staged, &config);
            steps.report(false);
            (load, probed)
        });
        let probed = self.without_refused(probed, steps, |_, probed| probed);

        let number = |(candidate, own)| (self.number(candidate, &config), own);
        let numbered = probed.into_iter().map(number).collect();
        let started = in_parallel(starts_at_a_time, numbered, |(numbered, own)| {
            let started = numbered.start(&*starter, &config);
            steps.report(true);
            (started, own)
        });
        for (started, own) in started {
            let file = started.file().clone();
            let loaded = self.started(started).and_then(|prepared| self.commit_one(prepared));
            self.end_load(&file, own, loaded);
        }
    }

    /// Returns the loads that pass `check`, and reports the others.
    fn without_refused<T>(
        &mut self,
        items: Vec<T>,
        steps: &StepCounter<'_>,
        check: impl Fn(&Self, T) -> (Load, Result<(), LoadError>),
    ) -> Vec<Load> {
        let mut passed = Vec::with_capacity(items.len());
        for item in items {
            match check(self, item) {
                (load, Ok(())) => passed.push(load),
                ((candidate, own), Err(refused)) => {
                    self.end_load(&candidate.file, own, Err(refused));
                    steps.report(true);
                }
            }
        }
        passed
    }
}

/// Separates the candidates, in the order of their files, from those that claim the plugin name or
/// a method of an earlier one.
fn separate(loads: Vec<Load>) -> (Vec<Load>, Vec<Load>) {
    let mut names = BTreeSet::new();
    let mut methods = BTreeSet::new();

    loads.into_iter().partition(|(candidate, _)| {
        let inspection = &candidate.staged.inspection;
        let mut is_independent = names.insert(inspection.name.clone());
        for method in &inspection.manifest.methods {
            is_independent &= methods.insert(method.name.clone());
        }
        is_independent
    })
}

/// Applies `work` to every item, to up to `at_a_time` at a time, and returns the results in the
/// order of the items.
fn in_parallel<T: Send, R: Send>(at_a_time: usize, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let helpers = items.len().min(at_a_time).saturating_sub(1);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let queue = Mutex::new(items.into_iter().enumerate());
    let next = || lock(&queue).next();
    let run = || {
        while let Some((index, item)) = next() {
            let result = work(item);
            lock(&results).push((index, result));
        }
    };

    thread::scope(|scope| {
        // No work begins before all threads have touched their thread-locals. A thread that did
        // that while a plugin is opened would wait for the plugin's constructors.
        let not_begun = lock(&queue);
        let (not_ready, all_ready) = mpsc::channel::<()>();
        for _ in 0..helpers {
            let not_ready = not_ready.clone();
            // This thread works, too, so everything is done even if the system provides no other.
            let _ = Builder::new().name("load".into()).spawn_scoped(scope, move || {
                thread_locals::touch();
                drop(not_ready);
                run();
            });
        }
        drop(not_ready);
        // Fails once every thread has dropped its sender.
        let _ = all_ready.recv();
        drop(not_begun);
        run();
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Upper bound for the time until all threads have begun.
    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn works_on_several_items_at_a_time() {
        let begun = AtomicUsize::new(0);

        let have_met = in_parallel(MAX_AT_A_TIME, vec![(); MAX_AT_A_TIME], |()| {
            begun.fetch_add(1, Ordering::SeqCst);
            let deadline = Instant::now() + LIMIT;
            while begun.load(Ordering::SeqCst) < MAX_AT_A_TIME && Instant::now() < deadline {
                thread::yield_now();
            }
            begun.load(Ordering::SeqCst) == MAX_AT_A_TIME
        });

        assert_eq!(have_met, [true; MAX_AT_A_TIME]);
    }

    #[test]
    fn returns_the_results_in_the_order_of_the_items() {
        let items: Vec<_> = (0..100).collect();
        for at_a_time in [1, MAX_AT_A_TIME] {
            assert_eq!(in_parallel(at_a_time, items.clone(), |item| item), items);
        }
        assert!(in_parallel(MAX_AT_A_TIME, Vec::<u8>::new(), |item| item).is_empty());
    }

    #[test]
    fn works_on_one_item_after_another() {
        let running = AtomicUsize::new(0);

        let numbers = in_parallel(1, vec![(); 100], |()| {
            let number = running.fetch_add(1, Ordering::SeqCst);
            thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
            number
        });

        assert_eq!(numbers, [0; 100]);
    }
}
