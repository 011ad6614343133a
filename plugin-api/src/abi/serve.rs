//! The host's side of its services: a trait that a host implements, turned into the table that plugins call.

use std::borrow::Cow;
use std::ffi::c_void;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use abi_stable::prefix_type::WithMetadata;

use super::future::{self, PollInto};
use super::sink::{Out, text};
use super::types::{HostTable, HostTableRef, RawForeignFuture, RawOutcome, Sink, Slice};
use crate::{Error, Level, Run};

/// A future that is ready when a sleep is over.
pub type SleepFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
/// What another method answered: its result as JSON, or its error.
pub type CallReply = Result<Vec<u8>, Error>;
/// A future that is ready when another method has answered.
pub type ReplyFuture = Pin<Box<dyn Future<Output = CallReply> + Send>>;

/// What a host offers to one plugin; called from any thread.
pub trait Services: Send + Sync + 'static {
    /// Whether a line of `level` would be written.
    fn log_enabled(&self, level: Level) -> bool;
    /// Writes one line, at `level`, to the host's log.
    fn log(&self, level: Level, line: &str);
    /// Nanoseconds on a monotonic clock.
    fn now(&self) -> u64;
    /// Ready once [`Services::now`] is at least `until` (nanoseconds).
    fn sleep(&self, until: u64) -> SleepFuture;
    /// Calls `method` on behalf of `parent`, within `timeout` if one is given.
    fn call(
        &self,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
    ) -> ReplyFuture;
    /// As [`Services::call`], waiting on this thread.
    fn call_wait(
        &self,
        parent: &CallFacts<'_>,
        method: &str,
        params: &[u8],
        timeout: Option<Duration>,
    ) -> CallReply;
}

/// What a plugin may ask about the call it runs.
#[derive(Debug)]
pub struct CallFacts<'a> {
    /// The instant by which it must be answered: nanoseconds of [`Services::now`].
    pub deadline: u64,
    /// The request's id, for logs.
    pub id: RequestId<'a>,
    /// How many methods called one another to come here; 0 for a request from a socket.
    pub depth: u32,
    /// The way the method runs.
    pub run: Run,
    /// Set when nobody waits for the answer any more.
    pub cancelled: AtomicBool,
}

impl CallFacts<'_> {
    /// Whether the running method may wait: not on a thread that serves connections, nor on one that polls others.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.run == Run::Blocking
    }
}

/// A request's id as text: the client's, or one that is made when somebody first asks for it.
#[derive(Debug)]
pub struct RequestId<'a> {
    given: Option<Given<'a>>,
    made: OnceLock<String>,
    make: fn() -> String,
}

#[derive(Debug, Clone)]
enum Given<'a> {
    Text(Cow<'a, str>),
    /// A JSON token without escapes, which others have as well.
    Token(Arc<str>),
}

impl Given<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Token(token) => {
                token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(token)
            }
        }
    }
}

impl<'a> RequestId<'a> {
    /// `given` is the client's id, if it sent one; else `make` makes one, once, when it is needed.
    #[must_use]
    pub fn new(given: Option<Cow<'a, str>>, make: fn() -> String) -> Self {
        Self { given: given.map(Given::Text), made: OnceLock::new(), make }
    }

    /// The id that a client wrote as this JSON token, a string without escapes or an integer.
    #[must_use]
    pub fn of_token(token: Arc<str>, make: fn() -> String) -> Self {
        Self { given: Some(Given::Token(token)), made: OnceLock::new(), make }
    }

    /// The id's text.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.given {
            Some(given) => given.text(),
            None => self.made.get_or_init(self.make),
        }
    }

    /// The id's text as far as there is one: none is made for the asking.
    #[must_use]
    pub fn known(&self) -> Option<&str> {
        self.given.as_ref().map(Given::text).or_else(|| self.made.get().map(String::as_str))
    }

    /// The same id, free of what it borrowed.
    #[must_use]
    pub fn to_owned(&self) -> RequestId<'static> {
        match &self.given {
            Some(Given::Token(token)) => RequestId::of_token(Arc::clone(token), self.make),
            _ => RequestId::new(self.known().map(|text| Cow::Owned(text.to_owned())), self.make),
        }
    }
}

/// The host behind the handle that a plugin holds.
pub struct HostCell(Arc<dyn Services>);

impl HostCell {
    /// Wraps what a host offers to one plugin.
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
        })
    }
    .static_as_prefix(),
);

/// The host behind `host`.
///
/// # Safety
/// `host` must be a held `HostCell`.
unsafe fn services<'a>(host: *const c_void) -> &'a dyn Services {
    // SAFETY: the caller's promise: plugins hold the handle while they call.
    unsafe { &*(*host.cast::<HostCell>()).0 }
}

/// The call behind `call`.
///
/// # Safety
/// `call` must be the record of a call that is running or retained.
unsafe fn facts<'a>(call: *const c_void) -> &'a CallFacts<'a> {
    // SAFETY: the caller's promise.
    unsafe { &*call.cast::<CallFacts<'a>>() }
}

unsafe extern "C" fn retain(host: *const c_void) {
    // SAFETY: a held `HostCell` in an `Arc`.
    unsafe { Arc::increment_strong_count(host.cast::<HostCell>()) }
}

unsafe extern "C" fn release(host: *const c_void) {
    // SAFETY: as above, one holder less.
    unsafe { Arc::decrement_strong_count(host.cast::<HostCell>()) }
}

unsafe extern "C" fn log_enabled(host: *const c_void, level: u8) -> bool {
    // SAFETY: the plugin holds the handle.
    let services = unsafe { services(host) };
    catch_unwind(AssertUnwindSafe(|| services.log_enabled(Level::from_number(level)))).unwrap_or(false)
}

unsafe extern "C" fn log(host: *const c_void, level: u8, line: Slice) {
    // SAFETY: the plugin holds the handle, the text lives for the call.
    let (services, line) = unsafe { (services(host), text(line)) };
    let _ = catch_unwind(AssertUnwindSafe(|| services.log(Level::from_number(level), &line)));
}

unsafe extern "C" fn now(host: *const c_void) -> u64 {
    // SAFETY: the plugin holds the handle.
    unsafe { services(host) }.now()
}

struct Sleeping(SleepFuture);

impl PollInto for Sleeping {
    fn poll_into(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        _out: &mut Out<'_>,
    ) -> Option<RawOutcome> {
        self.0.as_mut().poll(cx).is_ready().then_some(RawOutcome::DONE)
    }
}

unsafe extern "C" fn sleep(host: *const c_void, until: u64) -> RawForeignFuture {
    // SAFETY: the plugin holds the handle.
    let services = unsafe { services(host) };
    future::export(Box::pin(Sleeping(services.sleep(until))))
}

struct Calling(ReplyFuture);

fn write_reply(out: &mut Out<'_>, reply: CallReply) -> RawOutcome {
    let start = out.len();
    match reply {
        Ok(result) if out.push(&result) => RawOutcome::DONE,
        Ok(_) => out.fail(start, &Error::internal("the called method's result is too large")),
        Err(error) => out.fail(start, &error),
    }
}

impl PollInto for Calling {
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

/// 0 stands for "no timeout of its own".
fn timeout_of(nanoseconds: u64) -> Option<Duration> {
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

unsafe extern "C" fn call(
    host: *const c_void,
    parent: *const c_void,
    method: Slice,
    params: Slice,
    timeout: u64,
) -> RawForeignFuture {
    // SAFETY: the plugin holds both handles, the slices live for the call.
    let (services, parent, method, params) =
        unsafe { (services(host), facts(parent), text(method), params.bytes()) };
    let called =
        catch_unwind(AssertUnwindSafe(|| services.call(parent, &method, params, timeout_of(timeout))))
            .unwrap_or_else(|_| Box::pin(async { Err(Error::internal("the host could not make the call")) }));
    future::export(Box::pin(Calling(called)))
}

unsafe extern "C" fn call_wait(
    host: *const c_void,
    parent: *const c_void,
    method: Slice,
    params: Slice,
    timeout: u64,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: as in `call`; sink and outcome are the plugin's, lent for this call.
    let (services, parent, method, params, mut out, outcome) = unsafe {
        (services(host), facts(parent), text(method), params.bytes(), Out::borrow(out), &mut *outcome)
    };
    let reply =
        catch_unwind(AssertUnwindSafe(|| services.call_wait(parent, &method, params, timeout_of(timeout))))
            .unwrap_or_else(|_| Err(Error::internal("the host could not make the call")));
    *outcome = write_reply(&mut out, reply);
}

unsafe extern "C" fn call_retain(call: *const c_void) {
    // SAFETY: only calls in an `Arc` are given to `begin`, and only `begin`'s are retained.
    unsafe { Arc::increment_strong_count(call.cast::<CallFacts<'static>>()) }
}

unsafe extern "C" fn call_release(call: *const c_void) {
    // SAFETY: as above, one holder less.
    unsafe { Arc::decrement_strong_count(call.cast::<CallFacts<'static>>()) }
}

unsafe extern "C" fn call_deadline(call: *const c_void) -> u64 {
    // SAFETY: the plugin holds the call, or runs it.
    unsafe { facts(call) }.deadline
}

unsafe extern "C" fn call_cancelled(call: *const c_void) -> bool {
    // SAFETY: as above.
    unsafe { facts(call) }.cancelled.load(Ordering::Relaxed)
}

unsafe extern "C" fn call_id(call: *const c_void) -> Slice {
    // SAFETY: as above; the text lives as long as the call.
    let facts = unsafe { facts(call) };
    Slice::of(facts.id.text().as_bytes())
}
