//! The report of a probing process as far as the host has received it.

use jackfield_plugin_api::Level;

use super::super::load_error::{LoadError, LoadErrorReason};
use super::report::{ProbeReport, ProbeStep};
use crate::log::{Counted, printable};

/// The largest report that is read, in bytes. The limits of the child keep it far below.
const REPORT_MAX: usize = 1 << 20;

/// The report of a probing process so far.
#[derive(Default)]
pub(super) struct ProbeProgress {
    /// Bytes of a line that is not complete.
    pending: Vec<u8>,

    /// Bytes received.
    length: usize,

    /// The last step that began.
    pub(super) step: ProbeStep,

    /// The levels and lines that the plugin logged.
    log: Vec<(u8, String)>,

    /// The message of a panic in `stop` or `Drop`.
    stop_panic: Option<String>,

    /// The number of threads of the plugin that still ran after its `stop`.
    pub(super) remaining_threads: usize,

    /// Whether the plugin passed, once the report says so.
    pub(super) verdict: Option<Result<(), LoadError>>,
}

impl ProbeProgress {
    /// Adds bytes of the report, and returns whether the verdict is known.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> bool {
        self.length += bytes.len();
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            match ProbeReport::decode(&line) {
                Some(report) => self.apply(report),
                None => self.reject("the report of the probe process is invalid"),
            }
        }

        if self.length > REPORT_MAX {
            self.reject("the report of the probe process is too long");
        }
        self.verdict.is_some()
    }

    fn reject(&mut self, why: &str) {
        self.verdict.get_or_insert_with(|| Err(LoadError::new(LoadErrorReason::ProbeFailed, why)));
    }

    fn apply(&mut self, report: ProbeReport) {
        match report {
            ProbeReport::Step(step) => self.step = step,
            ProbeReport::Log { level, line } => self.log.push((level, line)),
            ProbeReport::RemainingThreads(count) => self.remaining_threads = count,
            ProbeReport::StopPanicked(text) => self.stop_panic = Some(text),
            ProbeReport::Refused { reason, detail } => {
                let reason = LoadErrorReason::from_code(&reason).unwrap_or(LoadErrorReason::ProbeFailed);
                self.verdict.get_or_insert_with(|| Err(LoadError::new(reason, detail)));
            }
            ProbeReport::Passed => {
                self.verdict.get_or_insert(Ok(()));
            }
        }
    }

    /// Writes the report to the log. The lines of the plugin have level debug, because a plugin
    /// that is loaded writes them again.
    pub(super) fn log(&self, plugin: &str) {
        for (_, line) in &self.log {
            let line = printable(line);
            tracing::debug!(plugin, "plugin {plugin}: log in the probe: {line}");
        }
        if let Some(text) = &self.stop_panic {
            let text = printable(text);
            tracing::warn!(plugin, "plugin {plugin}: stop panicked in the probe: {text}");
        }
        if self.remaining_threads > 0 {
            let threads = self.remaining_threads;
            let shown = Counted(threads, "thread");
            tracing::warn!(
                plugin,
                threads,
                "plugin {plugin} leaves {shown} running after stop; it cannot be unloaded (join them in stop)"
            );
        }
    }

    /// Adds the last error that the plugin logged, and its output, to a refusal.
    pub(super) fn explain(&self, mut refused: LoadError, output: &str) -> LoadError {
        if let Some((_, line)) = self.log.iter().rev().find(|(level, _)| *level == Level::Error as u8) {
            refused.detail.push_str("; last error in its log: ");
            refused.detail.push_str(&printable(line));
        }
        if !output.is_empty() {
            refused.detail.push_str("; output: ");
            refused.detail.push_str(&printable(output));
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(parts: &[&str]) -> Option<Result<(), LoadErrorReason>> {
        let mut progress = ProbeProgress::default();
        for part in parts {
            progress.receive(part.as_bytes());
        }
        progress.verdict.map(|verdict| verdict.map_err(|refused| refused.reason))
    }

    #[test]
    fn joins_the_parts_of_a_line() {
        assert_eq!(verdict_of(&["\"pas", "sed\""]), None);
        assert_eq!(verdict_of(&["\"pas", "sed\"\n"]), Some(Ok(())));
    }

    #[test]
    fn keeps_the_first_verdict() {
        let refused = r#"{"refused":{"reason":"start-failed","detail":"no luck"}}"#;
        let lines = format!("{refused}\n\"passed\"\nnonsense\n");
        assert_eq!(verdict_of(&[&lines]), Some(Err(LoadErrorReason::StartFailed)));
    }

    #[test]
    fn rejects_an_unknown_line_and_an_endless_one() {
        assert_eq!(verdict_of(&["hello\n"]), Some(Err(LoadErrorReason::ProbeFailed)));
        let endless = "x".repeat(REPORT_MAX);
        assert_eq!(verdict_of(&[&endless]), None);
        assert_eq!(verdict_of(&[&endless, "x"]), Some(Err(LoadErrorReason::ProbeFailed)));
    }

    #[test]
    fn explains_a_refusal_with_the_last_error_and_the_output() {
        let mut progress = ProbeProgress::default();
        for (level, line) in [(Level::Error, "first"), (Level::Error, "last"), (Level::Info, "info")] {
            progress.apply(ProbeReport::Log { level: level as u8, line: line.to_owned() });
        }
        let refused = progress.explain(LoadError::new(LoadErrorReason::StartFailed, "no"), "output");
        assert_eq!(refused.detail, "no; last error in its log: last; output: output");
    }
}
