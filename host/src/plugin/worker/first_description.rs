//! The description of a plugin by its first worker process, as far as the host has received it.
//!
//! ```text
//!        ask              Ready, or the worker has ended
//! Due ─────────► Asked ──────────────────────────────────► Done
//! ```
//!
//! Only one worker is asked, before it starts the plugin. If it hangs or crashes while it answers,
//! its process is started again without being asked, so that only the description is incomplete.

use std::time::Duration;

use super::fault::WorkerFault;
use super::line_id::LineId;
use crate::loader::description::{DescriptionCollector, NOT_ASKED, describe_limit};
use crate::loader::{ContractCell, KeptImage};

/// The description that one worker of a generation is asked for.
pub(super) struct FirstDescription {
    contract: ContractCell,

    /// The time for all parts.
    limit: Duration,

    state: State,
}

/// The progress of the description.
enum State {
    /// No worker was asked yet.
    Due(DescriptionCollector),
    /// This worker is asked, and has not described everything.
    Asked(LineId, DescriptionCollector),
    /// The contract is known.
    Done,
}

impl FirstDescription {
    /// Prepares to ask a worker, unless the contract of the content is known. `start_limit` is the
    /// time that a worker has to start.
    pub(super) fn new(image: &KeptImage, start_limit: Duration) -> Self {
        let contract = image.contract().clone();
        let state = match contract.get() {
            Some(_) => State::Done,
            None => State::Due(DescriptionCollector::new(image.manifest())),
        };
        Self { contract, limit: describe_limit(start_limit), state }
    }

    /// Decides whether to ask a worker that is about to start. Returns its time for all parts if it
    /// is asked.
    pub(super) fn ask(&mut self, worker: LineId) -> Option<Duration> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Due(collector) => {
                self.state = State::Asked(worker, collector);
                Some(self.limit)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Returns whether this worker is asked, and its description is not finished.
    pub(super) fn is_asked(&self, worker: LineId) -> bool {
        matches!(self.state, State::Asked(asked, _) if asked == worker)
    }

    /// Adds the next part: its document if `is_known`, and otherwise the reason why it is missing.
    ///
    /// # Errors
    ///
    /// The worker was not asked, or the part is invalid.
    pub(super) fn add(&mut self, worker: LineId, is_known: bool, text: &str) -> Result<(), WorkerFault> {
        let answer = if is_known { Ok(text) } else { Err(text) };
        let added = match &mut self.state {
            State::Asked(asked, collector) if *asked == worker => collector.add(answer).is_ok(),
            _ => false,
        };
        if added { Ok(()) } else { Err(WorkerFault::Unexpected("a part of a description")) }
    }

    /// Sets the contract to the description of this worker, if it is asked. `end` is the reason for
    /// an incomplete description.
    pub(super) fn finish(&mut self, worker: LineId, plugin: &str, end: Option<&str>) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Asked(asked, collector) if asked == worker => {
                self.contract.set(collector.finish(end.unwrap_or(NOT_ASKED)).log(plugin));
            }
            other => self.state = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::Manifest;

    use super::*;

    const MANIFEST: &str = r#"{"manifest":1,"api":"0.1.0","package":"p","version":"1.0.0","panic":"unwind",
        "methods":[{"name":"a.b","run":"blocking"}]}"#;

    fn due() -> FirstDescription {
        let manifest = Manifest::parse(MANIFEST.as_bytes()).unwrap();
        FirstDescription {
            contract: ContractCell::default(),
            limit: Duration::from_secs(1),
            state: State::Due(DescriptionCollector::new(&manifest)),
        }
    }

    #[test]
    fn asks_one_worker_only() {
        let mut description = due();
        let asked = [LineId(1), LineId(2), LineId(1)].map(|id| description.ask(id));
        assert_eq!(asked, [Some(Duration::from_secs(1)), None, None]);
        description.finish(LineId(2), "p", None);
        assert!(description.contract.get().is_none());
        description.finish(LineId(1), "p", None);
        assert!(description.contract.get().is_some());
        assert_eq!(description.ask(LineId(3)), None);
    }

    #[test]
    fn keeps_what_was_said_before_the_worker_ended() {
        let mut description = due();
        description.ask(LineId(1));
        description.add(LineId(1), true, r#"{"summary":"S"}"#).unwrap();
        description.finish(LineId(1), "p", Some("the worker ended"));
        let contract = description.contract.get().unwrap();
        assert_eq!(contract.method("a.b").unwrap().facts.summary.as_deref(), Some("S"));
    }

    #[test]
    fn rejects_parts_of_workers_that_are_not_asked_and_surplus_ones() {
        let mut description = due();
        assert!(description.add(LineId(1), true, "").is_err());
        description.ask(LineId(1));
        assert!(description.add(LineId(2), true, "").is_err());
        (0..4).for_each(|_| description.add(LineId(1), false, "no").unwrap());
        assert!(description.add(LineId(1), true, "").is_err());
        description.finish(LineId(1), "p", None);
        assert!(description.add(LineId(1), true, "").is_err());
    }
}
