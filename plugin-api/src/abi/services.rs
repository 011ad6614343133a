//! The services of the host: a trait that a host implements, and the table of functions that
//! plugins call.

use std::ffi::c_void;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use abi_stable::prefix_type::WithMetadata;

use super::call_context::{CallOutput, Content, OutgoingCall};
use super::call_facts::CallFacts;
use super::call_queries::{
    call_caller, call_cancelled, call_content, call_deadline, call_id, call_metadata, call_release,
    call_retain, call_traceparent, call_tracestate, facts,
};
use super::future::{self, PollInto};
use super::sink::{Out, text};
use super::types::{HostTable, HostTableRef, RawForeignFuture, RawOutcome, Sink, Slice};
use crate::{Error, Level};

/// A future that is ready at the end of a sleep.
pub type SleepFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
/// The reply of another method: its result, or its error.
pub type CallReply = Result<CallOutput, Error>;
/// A future that is ready when another method has replied.
pub type ReplyFuture = Pin<Box<dyn Future<Output = CallReply> + Send>>;

/// The services that a host offers to one plugin. Called from any thread.
pub trait Services: Send + Sync + 'static {
    /// Returns whether a line at `level` would be written.
    fn log_enabled(&self, level: Level) -> bool;
    /// Writes one line at `level` to the host's log.
    fn log(&self, level: Level, line: &str);
    /// Returns the time on a monotonic clock, in nanoseconds.
    fn now(&self) -> u64;
    /// Returns a future that is ready once [`Services::now`] is at least `until`, in nanoseconds.
    fn sleep(&self, until: u64) -> SleepFuture;
    /// Calls another method on behalf of `parent`.
    fn call(&self, parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> ReplyFuture;
    /// Calls a method like [`Services::call`], and blocks this thread until it has replied.
    fn call_wait(&self, parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> CallReply;
}

/// The services behind the host handle of a plugin.
pub struct HostCell(Arc<dyn Services>);

impl HostCell {
    /// Wraps the services that a host offers to one plugin.
    #[must_use]
    pub fn new(services: Arc<dyn Services>) -> Arc<Self> {
        Arc::new(Self(services))
    }
}

pub(super) const TABLE: HostTableRef = HostTableRef(
    const {
        &WithMetadata::new(HostTable {
            retain,
            release,
            log_enabled,
            log,
            now,
            sleep,
            call,
            call_wait,
            call_retain,
            call_release,
            call_deadline,
            call_cancelled,
            call_id,
            call_content,
            call_caller,
            call_metadata,
            call_traceparent,
            call_tracestate,
            call_bytes,
            call_bytes_wait,
            #[cfg(feature = "__grown_abi")]
            later_service,
        })
    }
    .static_as_prefix(),
);

/// Returns the services behind `host`.
///
/// # Safety
///
/// `host` must be a retained `HostCell`.
unsafe fn services<'a>(host: *const c_void) -> &'a dyn Services {
    // SAFETY: guaranteed by the caller: plugins hold the handle while they call.
    unsafe { &*(*host.cast::<HostCell>()).0 }
}

pub(super) unsafe extern "C" fn retain(host: *const c_void) {
    // SAFETY: a retained `HostCell` in an `Arc`.
    unsafe { Arc::increment_strong_count(host.cast::<HostCell>()) }
}

pub(super) unsafe extern "C" fn release(host: *const c_void) {
    // SAFETY: as above; this reference was retained.
    unsafe { Arc::decrement_strong_count(host.cast::<HostCell>()) }
}

pub(super) unsafe extern "C" fn log_enabled(host: *const c_void, level: u8) -> bool {
    // SAFETY: the plugin holds the handle.
    let services = unsafe { services(host) };
    catch_unwind(AssertUnwindSafe(|| services.log_enabled(Level::from_number(level)))).unwrap_or(false)
}

pub(super) unsafe extern "C" fn log(host: *const c_void, level: u8, line: Slice) {
    // SAFETY: the plugin holds the handle, and the text is valid during the call.
    let (services, line) = unsafe { (services(host), text(line)) };
    let _ = catch_unwind(AssertUnwindSafe(|| services.log(Level::from_number(level), &line)));
}

pub(super) unsafe extern "C" fn now(host: *const c_void) -> u64 {
    // SAFETY: the plugin holds the handle.
    unsafe { services(host) }.now()
}

#[cfg(feature = "__grown_abi")]
unsafe extern "C" fn later_service(host: *const c_void) -> u64 {
    // SAFETY: the plugin holds the handle.
    unsafe { now(host) }
}

/// A sleep of a plugin.
struct RunningSleep(SleepFuture);

impl PollInto for RunningSleep {
    fn poll_into(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        _out: &mut Out<'_>,
    ) -> Option<RawOutcome> {
        self.0.as_mut().poll(cx).is_ready().then_some(RawOutcome::DONE)
    }
}

pub(super) unsafe extern "C" fn sleep(host: *const c_void, until: u64) -> RawForeignFuture {
    // SAFETY: the plugin holds the handle.
    let services = unsafe { services(host) };
    future::export(Box::pin(RunningSleep(services.sleep(until))))
}

/// A call of a plugin to another method.
struct NestedCall(ReplyFuture);

fn write_reply(out: &mut Out<'_>, reply: CallReply) -> RawOutcome {
    let start = out.len();
    match reply {
        Ok(result) if out.push(&result.bytes) => match result.content {
            Content::Json => RawOutcome::DONE,
            Content::Bytes => RawOutcome::DONE_BYTES,
        },
        Ok(_) => out.fail(
            start,
            &Error::internal("the result of the called method does not fit in the buffer of the caller"),
        ),
        Err(error) => out.fail(start, &error),
    }
}

impl PollInto for NestedCall {
    fn poll_into(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        out: &mut Out<'_>,
    ) -> Option<RawOutcome> {
        match self.0.as_mut().poll(cx) {
            Poll::Pending => None,
            Poll::Ready(reply) => Some(write_reply(out, reply)),
        }
    }
}

/// Returns the time-out of a nested call. 0 stands for no time-out of its own.
fn timeout_of(nanoseconds: u64) -> Option<Duration> {
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

/// Begins a call to another method.
///
/// # Safety
///
/// As for `call` of the table: `host` and `parent` are held by the plugin, and the slices are valid
/// during the call.
unsafe fn begin_call(
    host: *const c_void,
    parent: *const c_void,
    method: Slice,
    params: Slice,
    content: Content,
    timeout: u64,
) -> RawForeignFuture {
    // SAFETY: guaranteed by the caller.
    let (services, parent, method, params) =
        unsafe { (services(host), facts(parent), text(method), params.bytes()) };
    let outgoing = OutgoingCall { method: &method, params, content, timeout: timeout_of(timeout) };
    let called = catch_unwind(AssertUnwindSafe(|| services.call(parent, outgoing))).unwrap_or_else(|_| {
        Box::pin(async { Err(Error::internal("the host panicked while it made the call")) })
    });
    future::export(Box::pin(NestedCall(called)))
}

pub(super) unsafe extern "C" fn call(
    host: *const c_void,
    parent: *const c_void,
    method: Slice,
    params: Slice,
    timeout: u64,
) -> RawForeignFuture {
    // SAFETY: by the guarantees of the plugin for this function.
    unsafe { begin_call(host, parent, method, params, Content::Json, timeout) }
}

pub(super) unsafe extern "C" fn call_bytes(
    host: *const c_void,
    parent: *const c_void,
    method: Slice,
    params: Slice,
    timeout: u64,
) -> RawForeignFuture {
    // SAFETY: as above.
    unsafe { begin_call(host, parent, method, params, Content::Bytes, timeout) }
}

/// Makes a call to another method, and waits for its reply.
///
/// # Safety
///
/// As for [`begin_call`]. The plugin lent `out` and `outcome` for this call.
#[expect(clippy::too_many_arguments, reason = "the arguments of a function of the ABI, and the content")]
unsafe fn finish_call(
    host: *const c_void,
    parent: *const c_void,
    method: Slice,
    params: Slice,
    content: Content,
    timeout: u64,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: guaranteed by the caller.
    let (services, parent, method, params, mut out, outcome) = unsafe {
        (services(host), facts(parent), text(method), params.bytes(), Out::borrow(out), &mut *outcome)
    };
    let outgoing = OutgoingCall { method: &method, params, content, timeout: timeout_of(timeout) };
    let reply = catch_unwind(AssertUnwindSafe(|| services.call_wait(parent, outgoing)))
        .unwrap_or_else(|_| Err(Error::internal("the host panicked while it made the call")));
    *outcome = write_reply(&mut out, reply);
}

pub(super) unsafe extern "C" fn call_wait(
    host: *const c_void,
    parent: *const c_void,
    method: Slice,
    params: Slice,
    timeout: u64,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: by the guarantees of the plugin for this function.
    unsafe { finish_call(host, parent, method, params, Content::Json, timeout, out, outcome) }
}

pub(super) unsafe extern "C" fn call_bytes_wait(
    host: *const c_void,
    parent: *const c_void,
    method: Slice,
    params: Slice,
    timeout: u64,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: as above.
    unsafe { finish_call(host, parent, method, params, Content::Bytes, timeout, out, outcome) }
}
