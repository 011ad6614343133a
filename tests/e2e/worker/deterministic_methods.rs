//! The methods of the example plugins and fixtures whose replies depend on nothing but the
//! requests, or on the time in one member alone.

/// A method, and what its params are like.
pub(super) struct Deterministic {
    pub(super) method: &'static str,
    /// JSON texts with the placeholders of `random_params`.
    pub(super) templates: &'static [&'static str],
    /// The member of results whose number is the time.
    pub(super) time: Option<&'static str>,
    /// Requests for each of which the method is called once; 1 except for methods that take long.
    pub(super) share: usize,
}

const fn method(method: &'static str, templates: &'static [&'static str]) -> Deterministic {
    Deterministic { method, templates, time: None, share: 1 }
}

const fn timed(name: &'static str, templates: &'static [&'static str], time: &'static str) -> Deterministic {
    Deterministic { time: Some(time), ..method(name, templates) }
}

/// The plugins of these methods.
pub(super) const PLUGINS: [&str; 14] = [
    "calls",
    "counter_v1",
    "counts",
    "device",
    "echoes",
    "errors",
    "hello",
    "journal",
    "no_params",
    "numbered",
    "panics",
    "services",
    "sleeps",
    "static_tls",
];

const FAIL: &[&str] = &["{\"code\":$code,\"message\":$s,\"data\":$v}", "{\"code\":$code,\"message\":$s}"];
const CALL: &[&str] = &[
    "{\"method\":$method,\"params\":$v}",
    "{\"method\":\"errors.fail\",\"params\":{\"code\":$code,\"message\":$s}}",
];
const ECHO: &[&str] = &["$v", "[$v,$v]", "$s"];
const NOTHING: &[&str] = &["null", "$v"];
const AT_ONCE: &[&str] = &["{\"ms\":0}"];

// Not `counts.async`, which numbers its calls: while inline polling begins in the host, calls that
// wait for the async thread are passed by others.
pub(super) const METHODS: [Deterministic; 55] = [
    method("hello.greet", &["{\"name\":$s}"]),
    method("device.status.update", &["{\"deviceId\":$id,\"status\":$status}"]),
    timed("device.status.get", &["{\"deviceId\":$id,\"history\":$bool}", "{\"deviceId\":$id}"], "at"),
    timed("device.list", &["{\"limit\":$n,\"status\":$status}", "{\"after\":$id}", "{}"], "at"),
    method("device.report", &["{\"deviceId\":$id,\"withinMs\":0}", "{\"deviceId\":$id,\"withinMs\":1}"]),
    method("journal.append", &["{\"topic\":\"topic-1\",\"entry\":$v}", "{\"topic\":$s,\"entry\":1}"]),
    method("journal.tail", &["{\"topic\":\"topic-1\",\"entries\":$n}", "{\"topic\":$id}"]),
    method("fixture.echo", ECHO),
    method("fixture.echo_blocking", ECHO),
    method("fixture.echo_async", ECHO),
    method("fixture.large", &["{\"bytes\":$length}"]),
    method("errors.fail", FAIL),
    method("errors.fail_blocking", FAIL),
    method("errors.fail_async", FAIL),
    method("errors.large", &["$length"]),
    method("errors.large_blocking", &["$length"]),
    method("errors.large_async", &["$length"]),
    method("errors.read", &["{\"path\":\"/nonexistent\"}", "{\"path\":\"/\"}"]),
    method("no_params.inline", NOTHING),
    method("no_params.inline_with_context", NOTHING),
    method("no_params.blocking", NOTHING),
    method("no_params.blocking_with_context", NOTHING),
    method("no_params.async", NOTHING),
    method("no_params.async_with_context", NOTHING),
    method("panics.panic", NOTHING),
    method("panics.panic_inline", NOTHING),
    method("panics.panic_async", NOTHING),
    method("panics.panic_payload", NOTHING),
    Deterministic { share: 50, ..method("panics.panic_long", NOTHING) },
    method("panics.panic_drop", NOTHING),
    method("calls.chain", CALL),
    method("calls.wait", CALL),
    method("calls.waiting", NOTHING),
    Deterministic { share: 20, ..method("calls.loop", &["{}"]) },
    method("counts.inline", AT_ONCE),
    method("counts.blocking", AT_ONCE),
    method("counts.begun", NOTHING),
    method("counter.add", NOTHING),
    method("counter.get", NOTHING),
    method("counter.layout", NOTHING),
    method("numbered.inline", NOTHING),
    method("numbered.blocking", NOTHING),
    method("numbered.settings", NOTHING),
    method("services.settings", NOTHING),
    method("services.log", &["{\"level\":\"debug\",\"line\":$s}"]),
    timed("services.call", NOTHING, "remainingMs"),
    timed("services.call_blocking", NOTHING, "remainingMs"),
    method("sleep.blocking", AT_ONCE),
    method("sleep.async", AT_ONCE),
    method("sleep.begun", NOTHING),
    method("sleep.running", NOTHING),
    method("static_tls.get", NOTHING),
    method("system.echo", ECHO),
    method("system.ping", NOTHING),
    method("no.such", NOTHING),
];
