//! Spans as one document of the OpenTelemetry protocol (OTLP 1.x) in its JSON encoding: ids are
//! hexadecimal, 64-bit integers are strings, and enums are numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::SystemTime;

use jackfield_plugin_api::abi::Origin;
use serde::{Serialize, Serializer};

use super::span::{AttributeValue, CallSpan, QueuedSpan, ReportedSpan, SpanPlace};
use crate::clock::{Time, nanoseconds};
use crate::metrics::Outcome;

/// Kinds of spans, as OTLP numbers them.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;

/// The status of a span that failed.
const STATUS_ERROR: u8 = 2;

/// Bits of the flags of a span: whether its parent is in another process, and whether that is
/// known.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Difference between two readings from which on the wall clock was set. It is above the error of a
/// reading, so that all spans of a trace usually use one offset.
const CLOCK_STEP: u64 = 5_000_000;

/// Converts instants of the process into the time of day.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    /// The time of day when the clock of the process was zero, in nanoseconds since 1970.
    offset: u64,
}

impl WallClock {
    /// Follows the wall clock if it was set.
    pub(super) fn refresh(&mut self) {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let offset = nanoseconds(since_epoch).saturating_sub(Time::now().0);
        if offset.abs_diff(self.offset) > CLOCK_STEP {
            self.offset = offset;
        }
    }

    fn unix(&self, time: Time) -> u64 {
        self.offset.saturating_add(time.0)
    }
}

/// The identity of the host in each document.
#[derive(Debug)]
pub(super) struct HostResource {
    pub(super) service: String,

    /// Identifies one run of the host.
    pub(super) instance: String,

    pub(super) host_name: String,
}

/// Returns the document with these spans.
pub(super) fn document(host: &HostResource, clock: &WallClock, spans: &[QueuedSpan]) -> Vec<u8> {
    let mut own = Vec::new();
    let mut by_service: BTreeMap<&Arc<str>, Vec<Span<'_>>> = BTreeMap::new();
    for span in spans {
        match span {
            QueuedSpan::Call(call) => own.push(of_call(call, clock)),
            QueuedSpan::Reported(reported) => {
                by_service.entry(&reported.service).or_default().push(of_reported(reported));
            }
        }
    }

    let mut resource_spans = Vec::new();
    if !own.is_empty() {
        let attributes = vec![
            text("service.name", &host.service),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &host.instance),
            text("host.name", &host.host_name),
            integer("process.pid", std::process::id().into()),
        ];
        resource_spans.push(ResourceSpans::new(attributes, own));
    }
    for (service, spans) in by_service {
        let attributes = vec![text("service.name", &**service), text("host.name", &host.host_name)];
        resource_spans.push(ResourceSpans::new(attributes, spans));
    }
    // Maps with other keys than strings are the only values that cannot be written.
    serde_json::to_vec(&Document { resource_spans }).unwrap_or_default()
}

fn of_call<'a>(call: &'a CallSpan, clock: &WallClock) -> Span<'a> {
    let begun = call.begun.map(|begun| begun.max(call.accepted).min(call.ended));
    let queued = begun.unwrap_or(call.ended).since(call.accepted);
    let mut attributes = vec![
        text("rpc.system", "jackfield"),
        text("rpc.method", &*call.method),
        text("jackfield.outcome", call.outcome.label()),
        integer("jackfield.queued_us", micros(queued)),
    ];
    if let Some(begun) = begun {
        attributes.push(integer("jackfield.run_us", micros(call.ended.since(begun))));
    }
    if let Some(code) = call.code {
        attributes.push(integer("rpc.jsonrpc.error_code", code));
    }
    if let Some(executor) = &call.executor {
        attributes.push(text("jackfield.plugin", &*executor.plugin));
        attributes
            .push(integer("jackfield.generation", i64::try_from(executor.generation).unwrap_or(i64::MAX)));
        attributes
            .push(text("jackfield.isolation", if executor.is_isolated { "worker" } else { "in-process" }));
    }
    if let Some(id) = &call.id {
        attributes.push(text("rpc.jsonrpc.request_id", &**id));
    }
    add_caller(&mut attributes, call.caller.origin());

    let (kind, remote) = if call.is_nested { (INTERNAL, 0) } else { (SERVER, IS_REMOTE) };
    let is_error = call.outcome != Outcome::OK;
    let remote = if call.place.parent_id.is_some() { HAS_IS_REMOTE | remote } else { 0 };
    Span {
        flags: u32::from(call.place.flags) | remote,
        kind,
        events: begun.map(|begun| Event { time_unix_nano: Digits(clock.unix(begun)), name: "run" }),
        status: is_error.then(|| Status { code: STATUS_ERROR, message: Cow::Owned(call.outcome.label()) }),
        attributes,
        ..Span::at(&call.place, &call.method, clock.unix(call.accepted), clock.unix(call.ended))
    }
}

fn add_caller<'a>(attributes: &mut Vec<Attribute<'a>>, origin: &'a Origin) {
    let (listener, credentials) = match origin {
        Origin::Local { listener, credentials } => (listener, *credentials),
        Origin::Remote { listener } => (listener, None),
        Origin::Program => return,
    };
    attributes.push(text("jackfield.listener", &**listener));
    if let Some(peer) = credentials {
        attributes.push(integer("jackfield.peer.uid", peer.uid.into()));
        attributes.push(integer("jackfield.peer.pid", peer.pid.into()));
    }
}

fn of_reported(span: &ReportedSpan) -> Span<'_> {
    let attributes = span.attributes.iter().map(|(key, value)| {
        let value = match value {
            AttributeValue::Text(text) => Value::Text(Cow::Borrowed(text)),
            AttributeValue::Integer(number) => Value::Integer(Digits(*number)),
            AttributeValue::Float(number) => Value::Float(*number),
            AttributeValue::Boolean(value) => Value::Boolean(*value),
        };
        Attribute { key, value }
    });
    let status = |message: &'_ String| Status { code: STATUS_ERROR, message: Cow::Owned(message.clone()) };
    Span {
        kind: span.kind,
        attributes: attributes.collect(),
        status: span.error.as_ref().map(status),
        ..Span::at(&span.place, &span.name, span.start, span.end)
    }
}

fn micros(length: std::time::Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

fn text<'a>(key: &'a str, value: impl Into<Cow<'a, str>>) -> Attribute<'a> {
    Attribute { key, value: Value::Text(value.into()) }
}

fn integer(key: &str, value: i64) -> Attribute<'_> {
    Attribute { key, value: Value::Integer(Digits(value)) }
}

/// A number that is written as a string.
struct Digits<N>(N);

impl<N: Display> Serialize for Digits<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An id as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    resource_spans: Vec<ResourceSpans<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

impl<'a> ResourceSpans<'a> {
    fn new(attributes: Vec<Attribute<'a>>, spans: Vec<Span<'a>>) -> Self {
        let scope = Scope { name: "jackfield", version: env!("CARGO_PKG_VERSION") };
        Self { resource: Resource { attributes }, scope_spans: [ScopeSpans { scope, spans }] }
    }
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<Span<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    trace_id: Hex<'a>,
    span_id: Hex<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<Hex<'a>>,
    flags: u32,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: Digits<u64>,
    end_time_unix_nano: Digits<u64>,
    attributes: Vec<Attribute<'a>>,
    /// At most one: the start of the method.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_events")]
    events: Option<Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
}

impl<'a> Span<'a> {
    /// Returns an internal span that succeeded, without attributes.
    fn at(place: &'a SpanPlace, name: &'a str, start: u64, end: u64) -> Self {
        Self {
            trace_id: Hex(&place.trace_id),
            span_id: Hex(&place.span_id),
            trace_state: place.state.as_deref(),
            parent_span_id: place.parent_id.as_ref().map(|id| Hex(id)),
            flags: place.flags.into(),
            name,
            kind: INTERNAL,
            start_time_unix_nano: Digits(start),
            end_time_unix_nano: Digits(end),
            attributes: Vec::new(),
            events: None,
            status: None,
        }
    }
}

fn write_events<S: Serializer>(event: &Option<Event>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(event)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    time_unix_nano: Digits<u64>,
    name: &'static str,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u8,
    message: Cow<'a, str>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: Value<'a>,
}

/// A value with its type, as OTLP writes it.
#[derive(Serialize)]
enum Value<'a> {
    #[serde(rename = "stringValue")]
    Text(Cow<'a, str>),
    #[serde(rename = "intValue")]
    Integer(Digits<i64>),
    #[serde(rename = "doubleValue")]
    Float(f64),
    #[serde(rename = "boolValue")]
    Boolean(bool),
}

#[cfg(test)]
mod tests;
