//! The plugin's side of its own root module: every entry the host may call, each of which catches panics.
//!
//! A panic that leaves a plugin aborts the host, so nothing here returns by unwinding: not a method, not `start`,
//! `stop` or `Drop`, and not the payload of a panic, which may itself panic when dropped.

use std::any::Any;
use std::borrow::Cow;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use abi_stable::library::RootModuleResult;
use abi_stable::prefix_type::{PrefixRefTrait, WithMetadata};
use abi_stable::std_types::RResult;

use super::future::{self, PollInto};
use super::handle::{CallHandle, HostHandle};
use super::keys::own_keys;
use super::sink::Out;
use super::types::{HostTableRef, PluginRoot, PluginRootRef, RawForeignFuture, RawOutcome, Sink, Slice};
use crate::methods::{Begun, Methods};
use crate::{Context, Error, Exported, Host, Plugin};

/// A running plugin: the author's value and its methods, by number.
pub(super) struct Running<S> {
    pub(super) plugin: Arc<S>,
    pub(super) methods: Methods<S>,
    pub(super) host: Host,
    pub(super) stop: fn(&S),
}

impl<S> Running<S> {
    /// The instance as the host keeps it; `stop` takes it back.
    pub(super) fn into_raw(self) -> *const c_void {
        Arc::into_raw(Arc::new(self)).cast::<c_void>()
    }
}

/// The root module of a plugin type that the macro exported.
pub struct Entry<S>(PhantomData<S>);

impl<S: Exported + Plugin> Entry<S> {
    const META: &'static WithMetadata<PluginRoot> = &WithMetadata::new(PluginRoot {
        manifest: manifest::<S>,
        start: start::<S>,
        call: call::<S>,
        begin: begin::<S>,
        self_test: self_test::<S>,
        hand_over: hand_over::<S>,
        take_over: take_over::<S>,
        thread_keys: own_keys,
        stop: stop::<S>,
    });
    pub(super) const ROOT: PluginRootRef = PluginRootRef(Self::META.static_as_prefix());
}

/// The functions of a plugin that is part of the program: its instance is made by the program itself.
pub(super) struct LocalEntry<S>(PhantomData<S>);

impl<S: Send + Sync + 'static> LocalEntry<S> {
    const META: &'static WithMetadata<PluginRoot> = &WithMetadata::new(PluginRoot {
        manifest: no_manifest,
        start: never_started,
        call: call::<S>,
        begin: begin::<S>,
        self_test: never_replaced,
        hand_over: never_replaced,
        take_over: never_taken_over,
        thread_keys: own_keys,
        stop: stop::<S>,
    });
    pub(super) const ROOT: PluginRootRef = PluginRootRef(Self::META.static_as_prefix());
}

extern "C" fn no_manifest() -> Slice {
    Slice::of(b"")
}

unsafe extern "C" fn never_started(
    _table: HostTableRef,
    _host: *const c_void,
    _settings: Slice,
    _instance: *mut *const c_void,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: the host's promises for `start`.
    unsafe { caught(out, outcome, |_| Err(Error::internal("the program starts this plugin itself"))) }
}

unsafe extern "C" fn never_replaced(_instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome) {
    // SAFETY: the host's promises for these functions.
    unsafe { caught(out, outcome, |_| Err(Error::internal("a plugin of the program is not replaced"))) }
}

unsafe extern "C" fn never_taken_over(
    instance: *const c_void,
    _schema: u32,
    _state: Slice,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: the host's promises for `take_over`.
    unsafe { never_replaced(instance, out, outcome) }
}

/// Called by a host once it has opened the plugin's file, and by nobody else.
#[doc(hidden)]
pub extern "C" fn constructor<S: Exported>() -> RootModuleResult {
    crate::panics::in_loaded_file();
    // SAFETY: the prefix reference of `PluginRootRef`, erased as `LibHeader` wants it.
    RResult::ROk(unsafe { Entry::<S>::ROOT.to_prefix_ref().cast() })
}

extern "C" fn manifest<S: Exported>() -> Slice {
    Slice::of(S::MANIFEST.as_bytes())
}

/// A panic's text, its payload gone without a second panic.
pub(crate) fn panic_text(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic whose payload is not text".to_owned());
    // A payload whose `Drop` panics: what it throws is leaked, as dropping it could go on without end.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    text
}

/// Runs `body`; what it panics with becomes the outcome.
///
/// # Safety
/// `out` and `outcome` must be the ones the host lent for this call.
unsafe fn caught(
    out: *mut Sink,
    outcome: *mut RawOutcome,
    body: impl FnOnce(&mut Out<'_>) -> Result<RawOutcome, Error>,
) {
    // SAFETY: the caller's promise.
    let (mut out, outcome) = unsafe { (Out::borrow(out), &mut *outcome) };
    let start = out.len();
    *outcome = match catch_unwind(AssertUnwindSafe(|| body(&mut out))) {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => out.fail(start, &error),
        Err(payload) => {
            let text = panic_text(payload);
            out.panicked(start, &text)
        }
    };
}

unsafe extern "C" fn start<S: Exported + Plugin>(
    table: HostTableRef,
    host: *const c_void,
    settings: Slice,
    instance: *mut *const c_void,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: the host's promises for `start`: all pointers are good for the call, `host` for as long as held.
    unsafe {
        caught(out, outcome, |_| {
            let host = Host::new(HostHandle::retain(table, host), settings.bytes());
            crate::panics::report_to(&host);
            let plugin = Arc::new(S::start(&host).map_err(Error::for_operator)?);
            *instance = Running { plugin, methods: S::methods(), host, stop: S::stop }.into_raw();
            Ok(RawOutcome::DONE)
        });
    }
}

/// The instance behind the host's pointer.
///
/// # Safety
/// `instance` must have come from `start::<S>` and not have been stopped.
unsafe fn running<'a, S>(instance: *const c_void) -> &'a Running<S> {
    // SAFETY: the caller's promise.
    unsafe { &*instance.cast::<Running<S>>() }
}

pub(super) unsafe extern "C" fn call<S: Send + Sync + 'static>(
    instance: *const c_void,
    method: u32,
    call: *const c_void,
    params: Slice,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: the host's promises for `call`.
    unsafe {
        caught(out, outcome, |out| {
            let running = running::<S>(instance);
            let call = CallHandle::borrowed(running.host.handle(), call);
            let context = Context::new(Cow::Borrowed(&running.host), call);
            let run = running.methods.direct(method)?;
            let ended = run(&running.plugin, params.bytes(), &context, out);
            ended.map_err(|error| error.seen_by(&running.host)).map(|()| RawOutcome::DONE)
        });
    }
}

struct Answering<S> {
    future: std::pin::Pin<Box<dyn Begun>>,
    host: Host,
    /// The future may borrow nothing of it, but its code is the instance's: it keeps it alive.
    _plugin: Arc<S>,
}

impl<S: Send + Sync + 'static> PollInto for Answering<S> {
    fn poll_into(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        out: &mut Out<'_>,
    ) -> Option<RawOutcome> {
        let start = out.len();
        match self.future.as_mut().poll_begun(cx, out) {
            std::task::Poll::Pending => None,
            std::task::Poll::Ready(Ok(())) => Some(RawOutcome::DONE),
            std::task::Poll::Ready(Err(error)) => Some(out.fail(start, &error.seen_by(&self.host))),
        }
    }
}

pub(super) unsafe extern "C" fn begin<S: Send + Sync + 'static>(
    instance: *const c_void,
    method: u32,
    call: *const c_void,
    params: Slice,
    future: *mut RawForeignFuture,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: the host's promises for `begin`; `call` is one that can be retained.
    unsafe {
        caught(out, outcome, |_| {
            let running = running::<S>(instance);
            let host = running.host.clone();
            let call = CallHandle::retained(host.handle(), call);
            let context = Context::new(Cow::Owned(host.clone()), call);
            let begun = running.methods.future(method)?(&running.plugin, params.bytes(), context)
                .map_err(|error| error.seen_by(&host))?;
            let answering = Answering { future: begun, host, _plugin: Arc::clone(&running.plugin) };
            future.write(future::export(Box::pin(answering)));
            Ok(RawOutcome::DONE)
        });
    }
}

unsafe extern "C" fn self_test<S: Plugin>(instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome) {
    // SAFETY: the host's promises for `self_test`: a started instance, pointers good for the call.
    unsafe {
        caught(out, outcome, |_| {
            running::<S>(instance).plugin.self_test().map_err(Error::for_operator)?;
            Ok(RawOutcome::DONE)
        });
    }
}

unsafe extern "C" fn hand_over<S: Plugin>(instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome) {
    // SAFETY: as for `self_test`.
    unsafe {
        caught(out, outcome, |out| {
            let state = running::<S>(instance).plugin.hand_over().map_err(Error::for_operator)?;
            if out.push(&state) {
                return Ok(RawOutcome::DONE);
            }
            Err(Error::internal(format!("its state of {} bytes is too large to hand over", state.len())))
        });
    }
}

unsafe extern "C" fn take_over<S: Plugin>(
    instance: *const c_void,
    schema: u32,
    state: Slice,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: as for `self_test`; the state's bytes live for the call.
    unsafe {
        caught(out, outcome, |_| {
            let plugin = &running::<S>(instance).plugin;
            plugin.take_over(schema, state.bytes()).map_err(Error::for_operator)?;
            Ok(RawOutcome::DONE)
        });
    }
}

pub(super) unsafe extern "C" fn stop<S: Send + Sync + 'static>(
    instance: *const c_void,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: the host's promises for `stop`: the last call, of a pointer that `start` made.
    unsafe {
        let running = Arc::from_raw(instance.cast::<Running<S>>());
        caught(out, outcome, |out| {
            let start = out.len();
            let stopped = catch_unwind(AssertUnwindSafe(|| (running.stop)(&running.plugin)));
            // Dropped inside its own catch, also when `stop` panicked.
            let dropped = catch_unwind(AssertUnwindSafe(move || drop(running)));
            crate::panics::report_to_nobody();
            match stopped.and(dropped) {
                Ok(()) => Ok(RawOutcome::DONE),
                Err(payload) => {
                    let text = panic_text(payload);
                    Ok(out.panicked(start, &text))
                }
            }
        });
    }
}
