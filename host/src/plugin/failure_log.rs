//! The log lines of panics and internal errors: plugin, method and request in one line each.
//!
//! The plugin's side of the ABI logs a panic with its place, and an internal error with its detail,
//! on the thread of the call. It does not know method and request. The crash record does, so
//! [`FailureLog::log_with_request`] adds them. The line of a panic is written before the thread
//! unwinds: it is not lost if the process crashes meanwhile.
//!
//! The end of the call reports a panic a second time, without its place.
//! [`FailureLog::log_panic_at_end`] therefore logs only a panic that has no line with the id of its
//! request yet.

use std::cell::RefCell;

use jackfield_plugin_api::abi::{CallFacts, INTERNAL_ERROR_LINE, PANIC_LINE};

use crate::crash_record::{CrashRecord, RunningCode, RunningRequest, own_slot};
use crate::loader::backtrace;
use crate::log::printable;

thread_local! {
    /// The last panics that this thread has logged with their calls. A call can have several: the
    /// payload of a panic, or a value that is dropped as it unwinds, may panic as well.
    static LOGGED_PANICS: RefCell<Vec<LoggedPanic>> = const { RefCell::new(Vec::new()) };
}

/// Upper bound for the panics that a thread remembers. A plugin that catches its own panics can
/// have any number of them in one call.
const MAX_LOGGED: usize = 8;

/// A panic whose line names its call.
struct LoggedPanic {
    code: RunningCode,

    /// The place of the panic and its text.
    line: String,

    id: LoggedId,
}

/// The request id in the line of a panic.
enum LoggedId {
    /// The id of the client, or none because the code ran for no request.
    Known,

    /// An id that was generated for the line, because the crash record has none.
    Generated(String),

    /// The first bytes of a long id.
    Cut,
}

/// A failure that the plugin's side of the ABI logs.
enum FailureLine<'a> {
    /// The place of a panic and its text.
    Panic(&'a str),

    /// The detail of an internal error.
    InternalError(&'a str),
}

impl<'a> FailureLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let panic = line.strip_prefix(PANIC_LINE).map(Self::Panic);
        panic.or_else(|| line.strip_prefix(INTERNAL_ERROR_LINE).map(Self::InternalError))
    }
}

/// Returns the name of a lifecycle phase without its parentheses; `None` if `method` is a method.
fn phase_name(method: &str) -> Option<&str> {
    method.strip_prefix('(')?.strip_suffix(')')
}

/// Touches the thread-local in which a thread remembers its panics. The module
/// [`thread_locals`](crate::thread_locals) states why.
pub(crate) fn touch_thread_locals() {
    LOGGED_PANICS.with(|_| ());
}

/// Returns whether this thread has logged the panic of `code` with this text.
pub(super) fn was_panic_logged(code: RunningCode, text: &str) -> bool {
    take_logged(code, text).is_some()
}

fn take_logged(code: RunningCode, text: &str) -> Option<LoggedId> {
    let panics = LOGGED_PANICS.try_with(RefCell::take).unwrap_or_default();
    let found = panics.into_iter().rfind(|panic| panic.code == code && panic.line.ends_with(text));
    found.map(|panic| panic.id)
}

/// Logs the failures of one generation.
pub(super) struct FailureLog<'a> {
    pub(super) plugin: &'a str,
    pub(super) generation: u64,
}

impl FailureLog<'_> {
    /// Logs `line` with the call that this thread runs. Returns `false`, and logs nothing, if
    /// the line reports no failure or this thread runs no code of the generation.
    pub(super) fn log_with_request(&self, line: &str, crash_record: &CrashRecord) -> bool {
        let Some(failure) = FailureLine::parse(line) else { return false };
        let Some(request) = own_slot().and_then(|slot| slot.running_request()) else { return false };
        // A number of the crash record is that of a generation modulo 2^32.
        if request.code != RunningCode::new(self.generation, request.code.method()) {
            return false;
        }

        let (_, method) = crash_record.names_of(request.code);
        match (failure, phase_name(&method)) {
            (FailureLine::Panic(line), Some(phase)) => self.log_panic_in_phase(line, phase, request.code),
            (FailureLine::Panic(line), None) => self.log_panic(line, &method, request),
            (FailureLine::InternalError(_), Some(_)) => return false,
            (FailureLine::InternalError(detail), None) => {
                self.log_failure(detail, &method, Some(&*request.id).filter(|id| !id.is_empty()));
            }
        }
        true
    }

    /// Logs `line`, which a worker process has logged while it ran a call. Returns `false`, and
    /// logs nothing, if the line reports no failure.
    pub(super) fn log_of_call(
        &self,
        line: &str,
        (number, method): (u32, &str),
        facts: &CallFacts<'_>,
    ) -> bool {
        let id = facts.id.text();
        match FailureLine::parse(line) {
            // The worker has added the backtrace. One of this thread would say nothing, and the end
            // of the call has the text without it.
            Some(FailureLine::Panic(line)) => {
                self.log_panic_line(line, method, id);
                let code = RunningCode::new(self.generation, number);
                let line = line.split(backtrace::SEPARATOR).next().unwrap_or_default().to_owned();
                remember(LoggedPanic { code, line, id: LoggedId::Known });
            }
            Some(FailureLine::InternalError(detail)) => self.log_failure(detail, method, Some(id)),
            None => return false,
        }
        true
    }

    fn log_panic_line(&self, place_and_text: &str, method: &str, id: &str) {
        let Self { plugin, generation } = *self;
        let id = printable(id);
        let place_and_text = printable(place_and_text);
        tracing::error!(
            id = &*id,
            method,
            plugin,
            generation,
            "{plugin}: {method} panicked at {place_and_text} (request {id})"
        );
    }

    fn log_panic(&self, line: &str, method: &str, request: RunningRequest) {
        let (id, logged_id) = if request.id.is_empty() {
            let id = uuid::Uuid::new_v4().to_string();
            (id.clone(), LoggedId::Generated(id))
        } else if request.is_id_cut {
            (format!("{}...", request.id), LoggedId::Cut)
        } else {
            (request.id, LoggedId::Known)
        };

        self.log_panic_line(&backtrace::append_to(line), method, &id);
        remember(LoggedPanic { code: request.code, line: line.to_owned(), id: logged_id });
    }

    fn log_panic_in_phase(&self, line: &str, phase: &str, code: RunningCode) {
        let Self { plugin, generation } = *self;
        let line_with_backtrace = backtrace::append_to(line);
        let place_and_text = printable(&line_with_backtrace);
        tracing::error!(
            plugin,
            generation,
            "plugin {plugin}: generation {generation} panicked in {phase} at {place_and_text}"
        );
        remember(LoggedPanic { code, line: line.to_owned(), id: LoggedId::Known });
    }

    /// Logs why a call failed.
    pub(super) fn log_failure(&self, detail: &str, method: &str, id: Option<&str>) {
        let Self { plugin, generation } = *self;
        let shown_id = id.map_or("without id".into(), printable);
        let detail = printable(detail);

        tracing::error!(
            id = id.is_some().then_some(&*shown_id),
            method,
            plugin,
            generation,
            "{plugin}: {method} failed: {detail} (request {shown_id})"
        );
    }

    /// Logs the panic that a call has ended with, unless it was logged with the id of its request.
    pub(super) fn log_panic_at_end(&self, (number, method): (u32, &str), facts: &CallFacts<'_>, text: &str) {
        let Self { plugin, generation } = *self;
        let is_logged = match take_logged(RunningCode::new(generation, number), text) {
            Some(LoggedId::Known) => true,
            Some(LoggedId::Generated(id)) => facts.id.adopt(id),
            Some(LoggedId::Cut) | None => false,
        };
        if is_logged {
            return;
        }

        let (id, text) = (printable(facts.id.text()), printable(text));
        tracing::error!(
            id = &*id,
            method,
            plugin,
            generation,
            "{plugin}: {method} panicked: {text} (request {id})"
        );
    }
}

fn remember(panic: LoggedPanic) {
    // A thread that ends has no call whose end would report the panic.
    let _ = LOGGED_PANICS.try_with(|panics| {
        let mut panics = panics.borrow_mut();
        if panics.len() >= MAX_LOGGED {
            panics.remove(0);
        }
        panics.push(panic);
    });
}

#[cfg(test)]
mod tests;
