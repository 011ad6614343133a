//! Tests of plugins of this API on a host of API 0.1.0, whose table ends with `call_id`.
#![allow(dead_code, reason = "the accessors of the table that StableAbi generates")]

use std::ffi::c_void;
use std::future::ready;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};

use abi_stable::StableAbi;
use abi_stable::prefix_type::WithMetadata;

use super::call_context::{CallOutput, OutgoingCall};
use super::call_end::CallEnd;
use super::call_facts::{CallFacts, RequestId};
use super::instance::Instance;
use super::services::{CallReply, HostCell, ReplyFuture, Services, SleepFuture, TABLE};
use super::types::{HostTableRef, RawForeignFuture, RawOutcome, Sink, Slice};
use crate::{Bytes, BytesRef, Caller, Context, Error, INTERNAL_ERROR, Level, Methods, Run};

/// The table as API 0.1.0 had it.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = EarlierTableRef)))]
#[sabi(missing_field(option))]
struct EarlierTable {
    retain: unsafe extern "C" fn(*const c_void),
    release: unsafe extern "C" fn(*const c_void),
    log_enabled: unsafe extern "C" fn(*const c_void, u8) -> bool,
    log: unsafe extern "C" fn(*const c_void, u8, Slice),
    now: unsafe extern "C" fn(*const c_void) -> u64,
    sleep: unsafe extern "C" fn(*const c_void, u64) -> RawForeignFuture,
    call: unsafe extern "C" fn(*const c_void, *const c_void, Slice, Slice, u64) -> RawForeignFuture,
    call_wait:
        unsafe extern "C" fn(*const c_void, *const c_void, Slice, Slice, u64, *mut Sink, *mut RawOutcome),
    call_retain: unsafe extern "C" fn(*const c_void),
    call_release: unsafe extern "C" fn(*const c_void),
    call_deadline: unsafe extern "C" fn(*const c_void) -> u64,
    call_cancelled: unsafe extern "C" fn(*const c_void) -> bool,
    #[sabi(last_prefix_field)]
    call_id: unsafe extern "C" fn(*const c_void) -> Slice,
}

/// Returns the functions of today's table, in a table that ends earlier.
fn earlier_table() -> HostTableRef {
    static EARLIER: OnceLock<WithMetadata<EarlierTable>> = OnceLock::new();
    let earlier = EARLIER.get_or_init(|| {
        WithMetadata::new(EarlierTable {
            retain: TABLE.retain(),
            release: TABLE.release(),
            log_enabled: TABLE.log_enabled(),
            log: TABLE.log(),
            now: TABLE.now(),
            sleep: TABLE.sleep(),
            call: TABLE.call(),
            call_wait: TABLE.call_wait(),
            call_retain: TABLE.call_retain(),
            call_release: TABLE.call_release(),
            call_deadline: TABLE.call_deadline(),
            call_cancelled: TABLE.call_cancelled(),
            call_id: TABLE.call_id(),
        })
    });

    // SAFETY: both are references to a prefix type with the same first fields. Its metadata state
    // which fields exist, and accessors check that. A plugin gets such a table from a host of API
    // 0.1.0.
    unsafe {
        std::mem::transmute::<EarlierTableRef, HostTableRef>(EarlierTableRef(earlier.static_as_prefix()))
    }
}

/// Answers nested calls with their params, and keeps the log.
#[derive(Default)]
struct EarlierHost(Mutex<Vec<String>>);

struct EarlierServices(Arc<EarlierHost>);

impl Services for EarlierServices {
    fn log_enabled(&self, _level: Level) -> bool {
        true
    }

    fn log(&self, _level: Level, line: &str) {
        self.0.0.lock().unwrap().push(line.to_owned());
    }

    fn now(&self) -> u64 {
        1
    }

    fn sleep(&self, _until: u64) -> SleepFuture {
        Box::pin(ready(()))
    }

    fn call(&self, parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> ReplyFuture {
        Box::pin(ready(self.call_wait(parent, call)))
    }

    fn call_wait(&self, _parent: &CallFacts<'_>, call: OutgoingCall<'_>) -> CallReply {
        Ok(CallOutput::json(call.params.to_vec()))
    }
}

struct New;

impl New {
    fn context(&self, cx: &Context<'_>) -> Result<(bool, bool, bool, bool), Error> {
        let is_unknown = cx.caller() == Caller::Unknown;
        Ok((is_unknown, cx.metadata().is_empty(), cx.traceparent().is_none(), cx.tracestate().is_none()))
    }

    fn bytes(&self) -> Result<Bytes, Error> {
        Ok(Bytes::default())
    }

    async fn bytes_async(self: Arc<Self>) -> Result<Bytes, Error> {
        Ok(Bytes::default())
    }

    fn length(&self, bytes: BytesRef<'_>) -> Result<usize, Error> {
        Ok(bytes.len())
    }

    fn call_with_bytes(&self, cx: &Context<'_>) -> Result<Bytes, Error> {
        cx.call_wait("m", &Bytes::default())
    }

    fn call(&self, cx: &Context<'_>) -> Result<u8, Error> {
        cx.call_wait("m", &7)
    }
}

fn facts() -> Arc<CallFacts<'static>> {
    Arc::new(CallFacts::new(9, RequestId::new(Some("1".into()), String::new), Run::Blocking))
}

fn start() -> (Instance, Arc<EarlierHost>) {
    let methods = Methods::new()
        .inline("new.context", New::context)
        .inline("new.bytes", New::bytes)
        .asynchronous("new.bytes_async", New::bytes_async)
        .inline("new.length", New::length)
        .blocking("new.call_with_bytes", New::call_with_bytes)
        .blocking("new.call", New::call);
    let host = Arc::new(EarlierHost::default());
    let cell = HostCell::new(Arc::new(EarlierServices(Arc::clone(&host))));
    // SAFETY: the functions are those of `HostCell`.
    (unsafe { Instance::local_with(earlier_table(), New, methods, &cell) }, host)
}

fn call(instance: &Instance, method: u32) -> (CallEnd, String) {
    let mut out = Vec::new();
    let end = instance.call(method, &facts(), b"", &mut out, 1000);
    (end, String::from_utf8(out).unwrap())
}

#[track_caller]
fn assert_internal_error(end: &CallEnd) {
    let CallEnd::Failed { code, message, .. } = end else { panic!("{end:?}") };
    assert_eq!((*code, message.as_str()), (INTERNAL_ERROR, "internal error"));
}

#[test]
fn serves_plugins_that_find_nothing_about_the_caller() {
    let (instance, _host) = start();
    assert_eq!(call(&instance, 0), (CallEnd::Done, "[true,true,true,true]".to_owned()));
    assert_eq!(call(&instance, 5), (CallEnd::Done, "7".to_owned()));
    instance.stop().unwrap();
}

#[test]
fn never_receives_opaque_bytes() {
    let (instance, host) = start();
    let (end, out) = call(&instance, 1);
    assert_internal_error(&end);
    assert_eq!(out, "");

    let mut future = instance.begin(2, &facts(), b"").unwrap();
    let Poll::Ready(end) = future.poll(Waker::noop(), &mut Vec::new(), 1000) else { panic!("not ready") };
    assert_internal_error(&end);
    drop(future);

    assert_internal_error(&call(&instance, 4).0);
    let (end, _) = call(&instance, 3);
    assert!(matches!(end, CallEnd::Failed { code: crate::INVALID_PARAMS, .. }), "{end:?}");

    let log = host.0.lock().unwrap().clone();
    let line =
        "internal error: opaque bytes need a host with plugin API 0.1.1 or later: install a newer host";
    assert_eq!(log, [line; 3]);
    instance.stop().unwrap();
}
