//! The first calls of a new generation, counted: past so many failures it is to go back.

use std::sync::atomic::{AtomicU32, Ordering};

use jackfield_plugin_api::abi::CallEnd;
use jackfield_plugin_api::{INTERNAL_ERROR, is_reserved};

use crate::config::ProbationConfig;

/// What a probation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbationVerdict {
    /// It has answered its first calls well enough.
    Passed,
    /// It is to go back, for this reason.
    Failed(String),
}

type Tell = Box<dyn Fn(ProbationVerdict) + Send + Sync>;

/// The probation of one generation.
pub(crate) struct Probation {
    limits: ProbationConfig,
    /// Calls that may still come before it is over; 0 once it is.
    left: AtomicU32,
    failures: AtomicU32,
    tell: Tell,
}

impl Probation {
    /// `tell` is called once, on whichever thread ends it.
    pub(crate) fn new(limits: ProbationConfig, tell: Tell) -> Self {
        Self { limits, left: AtomicU32::new(limits.calls), failures: AtomicU32::new(0), tell }
    }

    /// Whether nothing is counted any more.
    pub(crate) fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Counts a call that has ended.
    pub(super) fn count(&self, end: &CallEnd) {
        // One load per call once it is over: all but the first calls of a generation.
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
            if failures >= self.limits.failures && self.left.swap(0, Ordering::Relaxed) > 0 {
                let calls = self.limits.calls;
                (self.tell)(ProbationVerdict::Failed(format!(
                    "{failures} of its first {calls} calls failed"
                )));
                return;
            }
        }
        let one_less = |left: u32| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) == Ok(1) {
            (self.tell)(ProbationVerdict::Passed);
        }
    }
}

/// A panic, or what a plugin itself calls an internal error; a client's mistakes are none of its failures.
fn is_failure(end: &CallEnd) -> bool {
    match end {
        CallEnd::Done => false,
        CallEnd::Panicked(_) => true,
        CallEnd::Failed { code, .. } => *code == INTERNAL_ERROR || is_reserved(*code),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn probation(calls: u32, failures: u32) -> (Probation, Arc<Mutex<Vec<ProbationVerdict>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let tell = Box::new(move |sentence| heard.lock().unwrap().push(sentence));
        (Probation::new(ProbationConfig { calls, failures }, tell), told)
    }

    #[test]
    fn it_is_passed_once_after_so_many_calls() {
        let (probation, told) = probation(3, 2);
        probation.count(&CallEnd::Panicked(String::new()));
        for _ in 0..5 {
            probation.count(&CallEnd::Done);
        }
        assert!(probation.is_over());
        assert_eq!(*told.lock().unwrap(), [ProbationVerdict::Passed]);
    }

    #[test]
    fn it_is_failed_once_after_so_many_failures() {
        let (probation, told) = probation(100, 2);
        let client_error = CallEnd::Failed { code: -32602, message: String::new(), data: None };
        for _ in 0..10 {
            probation.count(&client_error);
        }
        assert!(told.lock().unwrap().is_empty());
        probation.count_timeout();
        probation.count(&CallEnd::Failed { code: INTERNAL_ERROR, message: String::new(), data: None });
        probation.count_timeout();
        assert!(probation.is_over());
        assert!(matches!(&told.lock().unwrap()[..], [ProbationVerdict::Failed(_)]));
    }
}
