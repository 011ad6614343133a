//! A request of the test, with what a client sends besides the params.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Harness;
use super::running::{MAX_REPLY, Running, json_of, read_end};
use crate::abi::{
    CallContext, CallFacts, CallerFacts, CallerRef, Content, Credentials, Origin, RequestId, TraceFacts,
};
use crate::{Error, Exported, Params, Run};

/// The time-out of a request without another one: 30 s on the clock of the test, the default of the
/// host.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request that is being prepared, from [`Harness::request`]. Without further calls, the program
/// of the host sends it, without metadata and trace.
///
/// ```
/// # use jackfield_plugin_api::{Error, testing::Harness};
/// # use jackfield_plugin_api::prelude::*;
/// use std::time::Duration;
///
/// struct Reports;
/// # impl Plugin for Reports { fn start(_host: &Host) -> Result<Self, Error> { Ok(Reports) } }
///
/// impl Reports {
///     fn create(&self, cx: &Context<'_>) -> Result<String, Error> {
///         if cx.remaining() < Duration::from_secs(1) {
///             return Err(Error::new(1, "not enough time"));
///         }
///         Ok(cx.metadata().get("tenant").unwrap_or("default").to_owned())
///     }
/// }
/// # export_plugin!(Reports { "reports.create" => create });
///
/// let reports = Harness::<Reports>::start(serde_json::json!({})).unwrap();
/// let request = || reports.request("reports.create").metadata("tenant", "acme");
/// assert_eq!(request().call(()).unwrap(), "acme");
/// assert_eq!(request().timeout(Duration::from_millis(5)).call(()).unwrap_err().code(), 1);
/// ```
#[must_use = "a request is sent by `call`, `send` or `begin`"]
pub struct Request<'h, S> {
    harness: &'h Harness<S>,
    method: String,
    origin: Origin,
    metadata: Map<String, Value>,
    trace: Option<TraceFacts>,
    timeout: Duration,
    is_cancelled: bool,
}

impl<'h, S: Exported> Request<'h, S> {
    pub(super) fn new(harness: &'h Harness<S>, method: &str) -> Self {
        Self {
            harness,
            method: method.to_owned(),
            origin: Origin::Program,
            metadata: Map::new(),
            trace: None,
            timeout: TIMEOUT,
            is_cancelled: false,
        }
    }

    /// Makes a process of this machine the caller, with what the kernel says about it.
    pub fn local_caller(mut self, listener: &str, credentials: Option<Credentials>) -> Self {
        self.origin = Origin::Local { listener: listener.into(), credentials };
        self
    }

    /// Makes another machine the caller. Its claim is the member `caller` of the metadata.
    pub fn remote_caller(mut self, listener: &str) -> Self {
        self.origin = Origin::Remote { listener: listener.into() };
        self
    }

    /// Adds a member to the metadata.
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    /// Makes the request a part of a trace.
    ///
    /// # Panics
    ///
    /// `traceparent` is not valid: version 00 of W3C Trace Context in lower case.
    pub fn trace(mut self, traceparent: &str, tracestate: Option<&str>) -> Self {
        let trace = parse_trace(traceparent, tracestate);
        assert!(
            trace.as_ref().is_some_and(|trace| trace.traceparent() == traceparent),
            "not a traceparent: {traceparent}"
        );
        self.trace = trace;
        self
    }

    /// Sets how long the client waits, on the clock of the test. The deadline is never later than
    /// 30 s, that of the host.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(TIMEOUT);
        self
    }

    /// Cancels the request before its method runs: the method finds
    /// [`is_cancelled`](crate::Context::is_cancelled) set. [`Harness::cancel_running`] cancels a
    /// method that runs on another thread.
    pub fn cancelled(mut self) -> Self {
        self.is_cancelled = true;
        self
    }

    /// Sends JSON, and returns the JSON of the result. See [`Harness::call`].
    ///
    /// # Errors
    ///
    /// The error of the method, as for [`Harness::call`]; or its result is opaque bytes.
    pub fn call(self, params: impl Into<Value>) -> Result<Value, Error> {
        json_of(self.send(params.into())?)
    }

    /// Sends JSON or opaque bytes, and returns the result: JSON or opaque bytes. Otherwise it is as
    /// [`Harness::call`].
    ///
    /// # Errors
    ///
    /// The error of the method, as for [`Harness::call`].
    pub fn send(self, params: impl Into<Params<Value>>) -> Result<Params<Value>, Error> {
        let (number, run) = self.harness.find(&self.method)?;
        let (facts, params) = self.prepare(params.into());
        if run == Run::Async {
            return begin(self.harness, number, &facts, &params)?.finish_any();
        }

        let mut out = Vec::new();
        let end = self.harness.running()?.call(number, &facts, &params, &mut out, MAX_REPLY);
        read_end(end, out)
    }

    /// Begins an `async` method, as [`Harness::begin`] does.
    ///
    /// # Errors
    ///
    /// As for [`Harness::begin`].
    pub fn begin(self, params: impl Into<Params<Value>>) -> Result<Running, Error> {
        let (number, _) = self.harness.find(&self.method)?;
        let (facts, params) = self.prepare(params.into());
        begin(self.harness, number, &facts, &params)
    }

    /// Returns the record of the call, which the harness also keeps, and its params.
    fn prepare(&self, params: Params<Value>) -> (Arc<CallFacts<'static>>, Vec<u8>) {
        let (content, params) = match params {
            Params::Json(json) => (Content::Json, json.to_string().into_bytes()),
            Params::Bytes(bytes) => (Content::Bytes, bytes.into_vec()),
        };
        let now = self.harness.host.now();
        let after = |time: Duration| now.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let id = RequestId::new(Some("test".into()), String::new);

        let mut facts = CallFacts::new(after(TIMEOUT), id, Run::Blocking);
        facts.deadline = after(self.timeout);
        facts.content = content;
        facts.caller = CallerRef::Shared(CallerFacts::new(self.origin.clone()));
        facts.context = self.context();
        if self.is_cancelled {
            facts.cancelled.set();
        }

        let facts = Arc::new(facts);
        self.harness.host.remember(&facts);
        (facts, params)
    }

    fn context(&self) -> Option<Arc<CallContext>> {
        let meta = (!self.metadata.is_empty()).then(|| Value::from(self.metadata.clone()).to_string().into());
        let trace = self.trace.as_ref().map(|trace| {
            let state = trace.state.clone();
            TraceFacts::new(trace.trace_id, trace.span_id, trace.parent_id, trace.flags, false, state)
        });
        (meta.is_some() || trace.is_some()).then(|| Arc::new(CallContext { trace, meta }))
    }
}

fn begin<S: Exported>(
    harness: &Harness<S>,
    number: u32,
    facts: &Arc<CallFacts<'static>>,
    params: &[u8],
) -> Result<Running, Error> {
    match harness.running()?.begin(number, facts, params) {
        Ok(future) => Ok(Running::new(future, Arc::clone(&harness.host))),
        Err(end) => {
            let no_future = || Error::internal("the call ended without a future");
            Err(read_end(end, Vec::new()).err().unwrap_or_else(no_future))
        }
    }
}

/// Parses `00-TRACE-SPAN-FLAGS`. The caller compares the length and the case of the digits.
fn parse_trace(traceparent: &str, tracestate: Option<&str>) -> Option<TraceFacts> {
    let mut parts = traceparent.strip_prefix("00-")?.split('-');
    let trace = u128::from_str_radix(parts.next()?, 16).ok()?;
    let span = u64::from_str_radix(parts.next()?, 16).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    let state = tracestate.map(Into::into);
    Some(TraceFacts::new(trace.to_be_bytes(), span.to_be_bytes(), None, flags, false, state))
}
