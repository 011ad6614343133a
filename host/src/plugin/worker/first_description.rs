//! The description of a plugin by its first worker process, as far as the host has received it.
//!
//! ```text
//!          ask             Ready, or the worker has ended
//! due ───────────► asked ─────────────────────────────────► the contract is set
//! ```
//!
//! Only one worker is asked, before it starts the plugin. If it hangs or crashes while it answers,
//! its process is started again without being asked, so that only the description suffers.

use std::time::Duration;

use super::fault::WorkerFault;
use super::line_id::LineId;
use crate::loader::description::{DescriptionCollector, NOT_ASKED, describe_limit};
use crate::loader::{ContractCell, KeptImage};

/// The description that one worker of a generation is asked for.
pub(super) struct FirstDescription {
    contract: ContractCell,
    limit: Duration,

    /// `None` if the contract is known.
    collector: Option<DescriptionCollector>,

    /// The worker that is asked.
    worker: Option<LineId>,
}

impl FirstDescription {
    /// Prepares to ask a worker, unless the contract of the content is known. `start_limit` is the
    /// time that a worker has to start.
    pub(super) fn new(image: &KeptImage, start_limit: Duration) -> Self {
        let contract = image.contract().clone();
        let is_known = contract.get().is_some();
        let collector = (!is_known).then(|| DescriptionCollector::new(image.manifest()));
        Self { contract, limit: describe_limit(start_limit), collector, worker: None }
    }

    /// Decides whether this worker is asked, which starts now. Returns its time for all parts then.
    pub(super) fn ask(&mut self, worker: LineId) -> Option<Duration> {
        let is_due = self.collector.is_some() && self.worker.is_none();
        is_due.then(|| {
            self.worker = Some(worker);
            self.limit
        })
    }

    /// Returns whether the description of this worker is not complete.
    pub(super) fn is_asked(&self, worker: LineId) -> bool {
        self.collector.is_some() && self.worker == Some(worker)
    }

    /// Adds the next part, or why it is missing.
    ///
    /// # Errors
    ///
    /// The worker was not asked, or the part is invalid.
    pub(super) fn add(&mut self, worker: LineId, is_known: bool, text: &str) -> Result<(), WorkerFault> {
        let answer = if is_known { Ok(text) } else { Err(text) };
        let is_asked = self.is_asked(worker);
        let collector = self.collector.as_mut().filter(|_| is_asked);
        let added = collector.is_some_and(|collector| collector.add(answer).is_ok());
        if added { Ok(()) } else { Err(WorkerFault::Unexpected("a part of a description")) }
    }

    /// Sets the contract to what this worker has said, if it was asked. `end` is why it says no
    /// more, if it has not said everything.
    pub(super) fn finish(&mut self, worker: LineId, plugin: &str, end: Option<&str>) {
        if self.is_asked(worker)
            && let Some(collector) = self.collector.take()
        {
            self.contract.set(collector.finish(end.unwrap_or(NOT_ASKED)).log(plugin));
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
        let collector = Some(DescriptionCollector::new(&manifest));
        FirstDescription {
            contract: ContractCell::default(),
            limit: Duration::from_secs(1),
            collector,
            worker: None,
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
