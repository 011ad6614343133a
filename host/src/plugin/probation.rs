//! The probation of a new generation: its first calls are counted, and too many failures among them
//! fail it.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use jackfield_plugin_api::abi::CallEnd;
use jackfield_plugin_api::{INTERNAL_ERROR, is_reserved};

use crate::config::ProbationConfig;

/// The result of a probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbationVerdict {
    /// Enough of the first calls succeeded.
    Passed,

    /// The plugin is to be rolled back.
    Failed(ProbationFailure),
}

/// Why a probation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProbationFailure {
    /// The number of calls that failed.
    failures: u32,

    /// The length of the probation, in calls.
    calls: u32,
}

impl fmt::Display for ProbationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failures, calls } = self;
        write!(f, "{failures} of its first {calls} calls failed")
    }
}

type VerdictCallback = Box<dyn Fn(ProbationVerdict) + Send + Sync>;

/// The probation of one generation.
pub(crate) struct Probation {
    limits: ProbationConfig,

    /// Calls until the probation is over; 0 once it is over.
    remaining: AtomicU32,

    failures: AtomicU32,
    on_verdict: VerdictCallback,
}

impl Probation {
    /// Creates a probation that calls `on_verdict` once, on the thread of the call that decides it.
    pub(crate) fn new(limits: ProbationConfig, on_verdict: VerdictCallback) -> Self {
        let remaining = AtomicU32::new(limits.calls);
        Self { limits, remaining, failures: AtomicU32::new(0), on_verdict }
    }

    /// Returns the length of the probation, in calls.
    pub(crate) fn length(&self) -> u32 {
        self.limits.calls
    }

    /// Returns whether the probation is over, and calls are no longer counted.
    pub(crate) fn is_over(&self) -> bool {
        self.remaining.load(Ordering::Relaxed) == 0
    }

    /// Counts a call that has ended.
    pub(super) fn count(&self, end: &CallEnd) {
        // Once the probation is over, which is soon, this is one load per call.
        if !self.is_over() {
            self.count_one(is_failure(end));
        }
    }

    /// Counts a call that was not answered in time.
    pub(super) fn count_timeout(&self) {
        if !self.is_over() {
            self.count_one(true);
        }
    }

    #[cold]
    fn count_one(&self, failed: bool) {
        if failed {
            let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
            // The swap lets only one of several threads report the verdict.
            if failures >= self.limits.failures && self.remaining.swap(0, Ordering::Relaxed) > 0 {
                let calls = self.limits.calls;
                (self.on_verdict)(ProbationVerdict::Failed(ProbationFailure { failures, calls }));
                return;
            }
        }

        let decrement = |remaining: u32| remaining.checked_sub(1);
        if self.remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement) == Ok(1) {
            (self.on_verdict)(ProbationVerdict::Passed);
        }
    }
}

/// Returns whether the plugin failed: a panic, a crash, or an error that the plugin itself calls
/// internal. The mistakes of a client are not failures of the plugin.
fn is_failure(end: &CallEnd) -> bool {
    match end {
        CallEnd::Done | CallEnd::DoneBytes => false,
        CallEnd::Panicked(_) | CallEnd::Crashed(_) => true,
        CallEnd::Failed { code, .. } => *code == INTERNAL_ERROR || is_reserved(*code),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use jackfield_plugin_api::abi::ProcessEnd;

    use super::*;

    /// A probation, and the verdicts that it has reported.
    fn probation(calls: u32, failures: u32) -> (Probation, Arc<Mutex<Vec<ProbationVerdict>>>) {
        let verdicts = Arc::new(Mutex::new(Vec::new()));
        let reported = Arc::clone(&verdicts);
        let on_verdict = Box::new(move |verdict| reported.lock().unwrap().push(verdict));
        (Probation::new(ProbationConfig { calls, failures }, on_verdict), verdicts)
    }

    fn failed(code: i64) -> CallEnd {
        CallEnd::Failed { code, message: String::new(), data: None }
    }

    #[test]
    fn passes_once_after_the_number_of_calls() {
        let (probation, verdicts) = probation(3, 2);
        probation.count(&CallEnd::Panicked(String::new()));
        for _ in 0..5 {
            probation.count(&CallEnd::Done);
        }
        assert!(probation.is_over());
        assert_eq!(*verdicts.lock().unwrap(), [ProbationVerdict::Passed]);
    }

    #[test]
    fn fails_once_after_the_number_of_failures() {
        let (probation, verdicts) = probation(100, 2);
        probation.count_timeout();
        assert!(verdicts.lock().unwrap().is_empty());
        probation.count(&failed(INTERNAL_ERROR));
        probation.count_timeout();

        assert!(probation.is_over());
        let failure = ProbationFailure { failures: 2, calls: 100 };
        assert_eq!(*verdicts.lock().unwrap(), [ProbationVerdict::Failed(failure)]);
        assert_eq!(failure.to_string(), "2 of its first 100 calls failed");
    }

    #[test]
    fn counts_a_crash_of_the_process_as_a_failure() {
        let (probation, verdicts) = probation(100, 1);
        probation.count(&CallEnd::Crashed(ProcessEnd::Signal(11)));
        assert!(matches!(verdicts.lock().unwrap()[..], [ProbationVerdict::Failed(_)]));
    }

    #[test]
    fn counts_errors_of_the_client_and_of_the_plugin_as_successes() {
        let (probation, verdicts) = probation(100, 1);
        // Invalid params, and a code of the plugin's own.
        for code in [-32602, 1] {
            (0..10).for_each(|_| probation.count(&failed(code)));
        }
        assert!(verdicts.lock().unwrap().is_empty());
        // A code that the protocol reserves and that a plugin must not use.
        probation.count(&failed(-32000));
        assert_eq!(verdicts.lock().unwrap().len(), 1);
    }

    #[test]
    fn reports_one_verdict_when_threads_count_at_the_same_time() {
        let (probation, verdicts) = probation(1000, 500);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| probation.count_timeout()));
            }
        });
        assert_eq!(verdicts.lock().unwrap().len(), 1);
        assert!(matches!(verdicts.lock().unwrap()[0], ProbationVerdict::Failed(_)));
    }
}
