//! The lines of panics and internal errors, as an operator reads them.

use std::io;
use std::sync::{Arc, Mutex};

use jackfield_plugin_api::Run;
use jackfield_plugin_api::abi::RequestId;

use super::super::test_support::memory_crash_record;
use super::*;
use crate::crash_record::{GenerationNames, LifecyclePhase, RecordSlot, run_recorded};
use crate::sync::lock;

const LOG: FailureLog<'_> = FailureLog { plugin: "p", generation: 7 };
const METHOD: (u32, &str) = (1, "p.b");

/// The lines of a log without time and level.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).unwrap()
    }
}

/// Runs `test` on a thread with a record slot, and returns what was logged.
fn logged(test: impl FnOnce(&CrashRecord) + Send) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .finish();

    std::thread::scope(|scope| {
        scope.spawn(|| {
            let record = memory_crash_record();
            let methods = vec!["p.a".to_owned(), "p.b".to_owned()];
            let names = GenerationNames { plugin: "p".to_owned(), hash: String::new(), methods };
            let _known = record.register(LOG.generation, names);
            RecordSlot::attach(record.claim_slot());
            tracing::subscriber::with_default(subscriber, || test(&record));
        });
    });
    lines.text()
}

fn facts(id: Option<&'static str>) -> CallFacts<'static> {
    CallFacts::new(0, RequestId::new(id.map(Into::into), || "at the end".to_owned()), Run::Blocking)
}

fn code() -> RunningCode {
    RunningCode::new(LOG.generation, METHOD.0)
}

/// Logs a panic as its hook and then as the end of its call.
fn panic_in_call(record: &CrashRecord, facts: &CallFacts<'_>) {
    run_recorded(code(), facts.id.known(), || {
        assert!(LOG.log_with_request("panicked at src/lib.rs:6:5: no\nway", record));
    });
    LOG.log_panic_at_end(METHOD, facts, "no\nway");
}

#[test]
fn logs_place_and_request_of_a_panic_in_one_line() {
    let line = logged(|record| panic_in_call(record, &facts(Some("id-1"))));
    assert_eq!(
        line,
        "p: p.b panicked at src/lib.rs:6:5: no\\nway (request id-1) id=\"id-1\" method=\"p.b\" \
         plugin=\"p\" generation=7\n"
    );
}

#[test]
fn gives_a_request_without_an_id_the_id_of_the_line() {
    let facts = facts(None);
    let lines = logged(|record| panic_in_call(record, &facts));
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains(&format!("(request {})", facts.id.text())), "{lines}");
}

#[test]
fn logs_the_end_as_well_if_the_line_lacks_the_id() {
    let other = facts(None);
    assert_eq!(other.id.text(), "at the end");
    // The crash record has no id, because it was generated during the call.
    let lines = logged(|record| {
        run_recorded(code(), None, || LOG.log_with_request("panicked at a.rs:1:2: why", record));
        LOG.log_panic_at_end(METHOD, &other, "why");
    });
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.contains("p: p.b panicked: why (request at the end)"), "{lines}");
}

#[test]
fn logs_the_end_of_a_panic_that_has_no_line() {
    let lines = logged(|record| {
        // The plugin has caught this one.
        run_recorded(code(), Some("1"), || LOG.log_with_request("panicked at a.rs:1:2: one", record));
        LOG.log_panic_at_end(METHOD, &facts(Some("1")), "two");
        LOG.log_panic_at_end(METHOD, &facts(Some("1")), "two");
    });
    assert_eq!(lines.matches("p: p.b panicked: two (request 1)").count(), 2, "{lines}");
    assert_eq!(lines.matches("p: p.b panicked at a.rs:1:2: one (request 1)").count(), 1, "{lines}");
}

#[test]
fn logs_each_of_several_panics_of_a_call_once() {
    let lines = logged(|record| {
        for line in ["panicked at a.rs:1:2: one", "panicked at a.rs:3:4: two"] {
            run_recorded(code(), Some("1"), || LOG.log_with_request(line, record));
        }
        LOG.log_panic_at_end(METHOD, &facts(Some("1")), "one");
    });
    assert_eq!(lines.lines().count(), 2, "{lines}");
}

#[test]
fn names_the_lifecycle_phase_of_a_panic_outside_of_calls() {
    let stop = LifecyclePhase::Stop.in_generation(LOG.generation);
    let lines = logged(|record| {
        run_recorded(stop, None, || LOG.log_with_request("panicked at a.rs:1:2: why", record));
        assert!(was_panic_logged(stop, "why") && !was_panic_logged(stop, "why"));
    });
    assert!(lines.starts_with("plugin p: generation 7 panicked in stop at a.rs:1:2: why "), "{lines}");
}

#[test]
fn adds_method_and_request_to_an_internal_error() {
    let lines = logged(|record| {
        for id in [Some("id-1"), None] {
            run_recorded(code(), id, || LOG.log_with_request("internal error: no such file", record));
        }
    });
    let (with_id, without_id) = lines.split_once('\n').unwrap();
    assert!(with_id.starts_with("p: p.b failed: no such file (request id-1) id=\"id-1\" "), "{lines}");
    assert!(without_id.starts_with("p: p.b failed: no such file (request without id) method="), "{lines}");
}

#[test]
fn leaves_other_lines_and_other_threads_to_the_caller() {
    let lines = logged(|record| {
        assert!(!LOG.log_with_request("panicked at a.rs:1:2: why", record));
        run_recorded(code(), None, || assert!(!LOG.log_with_request("a line", record)));
        run_recorded(RunningCode::new(8, 1), None, || {
            assert!(!LOG.log_with_request("panicked at a.rs:1:2: why", record));
        });
    });
    assert_eq!(lines, "");
}
