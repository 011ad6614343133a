//! The report of a probing process as far as the host has received it.

use jackfield_plugin_api::Level;

use super::super::description::{DESCRIPTION_MAX, DescriptionCollector, NOT_ASKED, PluginDescription};
use super::super::load_error::{LoadError, LoadErrorReason};
use super::report::{ProbeReport, ProbeStep};
use crate::log::{Counted, printable};

/// The largest report that is read, in bytes, without documents about methods. The limits of the
/// child keep it far below.
const REPORT_MAX: usize = 1 << 20;

/// The room for documents about methods. Each byte of them has at most six in a JSON string.
const DOCUMENTS_MAX: usize = 6 * DESCRIPTION_MAX;

const INVALID: &str = "the report of the probe process is invalid";

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

    /// Collects what the plugin says about its methods, if it is asked.
    description: Option<DescriptionCollector>,

    /// Whether the plugin has been asked.
    was_asked: bool,

    /// Why the process ended before the description did.
    description_end: Option<String>,

    /// Whether the plugin passed, once the report says so.
    pub(super) verdict: Option<Result<(), LoadError>>,
}

impl ProbeProgress {
    /// Begins a report, with the description of the methods if the plugin is asked for it.
    pub(super) fn new(description: Option<DescriptionCollector>) -> Self {
        Self { description, ..Self::default() }
    }

    /// Adds bytes of the report, and returns whether the verdict is known.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> bool {
        self.length += bytes.len();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.pending);
                match ProbeReport::decode(&line) {
                    Some(report) => self.apply(report),
                    None => self.reject(INVALID),
                }
            }
        }

        let documents = if self.description.is_some() { DOCUMENTS_MAX } else { 0 };
        if self.length > REPORT_MAX + documents {
            self.reject("the report of the probe process is too long");
        }
        self.verdict.is_some()
    }

    /// Ends the probe because of a fault of the process. If it has only the description left, the
    /// plugin has passed.
    pub(super) fn reject(&mut self, why: &str) {
        if self.step == ProbeStep::Describing {
            self.description_end.get_or_insert_with(|| why.to_owned());
            self.verdict.get_or_insert(Ok(()));
        } else {
            self.verdict.get_or_insert_with(|| Err(LoadError::new(LoadErrorReason::ProbeFailed, why)));
        }
    }

    /// Returns what the plugin says about its methods, if it has been asked.
    pub(super) fn take_description(&mut self) -> Option<PluginDescription> {
        let description = self.description.take()?;
        let end = self.description_end.as_deref().unwrap_or(NOT_ASKED);
        self.was_asked.then(|| description.finish(end))
    }

    fn apply(&mut self, report: ProbeReport) {
        match report {
            ProbeReport::Step(step) => {
                self.step = step;
                self.was_asked |= step == ProbeStep::Describing;
            }
            ProbeReport::Log { level, line } => self.log.push((level, line)),
            ProbeReport::RemainingThreads(count) => self.remaining_threads = count,
            ProbeReport::StopPanicked(text) => self.stop_panic = Some(text),
            ProbeReport::Described(answer) => {
                let answer = answer.as_deref().map_err(String::as_str);
                let expected = self.description.as_mut().filter(|_| self.step == ProbeStep::Describing);
                let added = expected.map(|description| description.add(answer));
                if added != Some(Ok(())) {
                    self.reject(INVALID);
                }
            }
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
    use jackfield_contract::DescriptionPart;
    use jackfield_plugin_api::Manifest;

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

    fn described(lines: &str) -> (Option<Result<(), LoadErrorReason>>, PluginDescription) {
        let manifest = r#"{"manifest":1,"api":"0.1.0","package":"p","version":"1.0.0","panic":"unwind",
            "methods":[{"name":"a.b","run":"blocking"}]}"#;
        let manifest = Manifest::parse(manifest.as_bytes()).unwrap();
        let mut progress = ProbeProgress::new(Some(DescriptionCollector::new(&manifest)));
        // In small pieces, as a socket may return it.
        lines.as_bytes().chunks(7).for_each(|bytes| {
            progress.receive(bytes);
        });
        let description = progress.take_description().unwrap();
        (progress.verdict.map(|verdict| verdict.map_err(|refused| refused.reason)), description)
    }

    const DESCRIBING: &str = r#"{"step":"describing"}"#;

    #[test]
    fn reads_documents_and_the_reasons_for_missing_ones() {
        let lines = [
            DESCRIBING,
            r#"{"described":{"Ok":"{\"summary\":\"A\"}"}}"#,
            r#"{"described":{"Err":"it panicked: no\nluck"}}"#,
            r#"{"described":{"Ok":""}}"#,
            r#"{"described":{"Ok":"{\"type\":1}"}}"#,
            r#"{"step":"closing"}"#,
            "\"passed\"\n",
        ];
        let (verdict, description) = described(&lines.join("\n"));
        assert_eq!(verdict, Some(Ok(())));
        assert_eq!(description.contract.method("a.b").unwrap().facts.summary.as_deref(), Some("A"));
        let missing: Vec<_> = description.missing.iter().map(|part| part.part).collect();
        assert_eq!(missing, [DescriptionPart::Examples, DescriptionPart::Result]);
        assert!(!description.missing[0].why.contains('\n'), "{}", description.missing[0]);
    }

    #[test]
    fn passes_a_plugin_whose_description_violates_the_protocol() {
        let part = r#"{"described":{"Ok":""}}"#;
        let surplus = [part; 5].join("\n");
        let huge = format!(r#"{{"described":{{"Ok":"{}"}}}}"#, "x".repeat(DESCRIPTION_MAX + 1));
        let endless = "x".repeat(REPORT_MAX + DOCUMENTS_MAX);
        for line in ["nonsense", &surplus, &huge, &endless] {
            let (verdict, description) = described(&format!("{DESCRIBING}\n{line}\n"));
            assert_eq!(verdict, Some(Ok(())));
            assert!(description.contract.method("a.b").is_some());
        }
        let refused = format!("{part}\n{DESCRIBING}\n");
        assert_eq!(described(&refused).0, Some(Err(LoadErrorReason::ProbeFailed)), "in another step");
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
