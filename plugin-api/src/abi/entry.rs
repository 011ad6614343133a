//! The functions of a plugin's root module, which the host calls. Each of them catches panics.
//!
//! A panic that leaves a plugin aborts the host. No function may therefore return by unwinding:
//! neither a method nor `start`, `stop` or `Drop`, nor the payload of a panic, which may panic
//! itself when it is dropped.

use std::borrow::Cow;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use abi_stable::library::RootModuleResult;
use abi_stable::prefix_type::{PrefixRefTrait, WithMetadata};
use abi_stable::std_types::RResult;

use super::call_context::Content;
use super::future::{self, PollInto};
use super::handles::{CallHandle, HostHandle};
use super::keys::own_keys;
use super::sink::Out;
use super::types::{
    HostTableRef, PluginRoot, PluginRootRef, RawForeignFuture, RawOutcome, Sink, Slice, Status,
};
use super::unwind::panic_text;
use crate::description::{Description, DoesNotFit};
use crate::handler::Begun;
use crate::{
    Context, Error, Exported, Host, INTERNAL_ERROR, Methods, Plugin, STATE_MAX, attached_host, log_bridge,
    panic_hook,
};

/// A running plugin: the author's value and its methods by number.
pub(super) struct RunningPlugin<S> {
    pub(super) plugin: Arc<S>,
    pub(super) methods: Methods<S>,
    pub(super) host: Host,
    pub(super) stop: fn(&S),
}

impl<S> RunningPlugin<S> {
    /// Returns the pointer that the host keeps. `stop` converts it back.
    pub(super) fn into_raw(self) -> *const c_void {
        Arc::into_raw(Arc::new(self)).cast::<c_void>()
    }
}

/// The root module of a plugin type that the macro exports.
pub struct Entry<S>(PhantomData<S>);

impl<S: Exported + Plugin> Entry<S> {
    const META: &'static WithMetadata<PluginRoot> = &WithMetadata::new(PluginRoot {
        manifest: manifest::<S>,
        start: start::<S>,
        call: call::<S>,
        begin: begin::<S>,
        self_test: self_test::<S>,
        hand_over: export_state::<S>,
        take_over: import_state::<S>,
        thread_keys: own_keys,
        stop: stop::<S>,
        describe: describe::<S>,
        #[cfg(feature = "__grown_abi")]
        later_entry,
    });
    pub(super) const ROOT: PluginRootRef = PluginRootRef(Self::META.static_as_prefix());
}

#[cfg(feature = "__grown_abi")]
pub(super) extern "C" fn later_entry() -> u64 {
    7
}

/// Returns the root module. Only a host calls it, after it has opened the plugin file.
#[doc(hidden)]
pub extern "C" fn constructor<S: Exported>() -> RootModuleResult {
    attached_host::mark_as_loaded();
    // SAFETY: the prefix reference of `PluginRootRef`, erased as `LibHeader` requires.
    RResult::ROk(unsafe { Entry::<S>::ROOT.to_prefix_ref().cast() })
}

extern "C" fn manifest<S: Exported>() -> Slice {
    Slice::of(S::MANIFEST.as_bytes())
}

unsafe extern "C" fn describe<S: Exported>(method: u32, part: u32, out: *mut Sink, outcome: *mut RawOutcome) {
    // SAFETY: guaranteed by the caller.
    unsafe { describe_one(S::DESCRIPTIONS, method, part, out, outcome) };
}

/// Writes a part of one of the descriptions. It is not generic, and cold, to be small.
///
/// # Safety
///
/// `out` and `outcome` must be those that the host lent for this call.
#[cold]
unsafe fn describe_one(
    descriptions: &[Description],
    method: u32,
    part: u32,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    const TOO_LARGE: &str = "the description is too large";
    // SAFETY: guaranteed by the caller.
    unsafe {
        catch_panics(out, outcome, |out| {
            let start = out.len();
            let description = usize::try_from(method).ok().and_then(|method| descriptions.get(method));
            match description.map_or(Ok(()), |description| description.write(part, out)) {
                Ok(()) => Ok(RawOutcome::DONE),
                Err(DoesNotFit) => {
                    out.truncate(start);
                    let message_len = if out.push(TOO_LARGE.as_bytes()) { TOO_LARGE.len() } else { 0 };
                    Ok(RawOutcome { status: Status::Failed, code: INTERNAL_ERROR, message_len })
                }
            }
        });
    }
}

/// Runs `body` and writes its result, its error or its panic into `outcome`.
///
/// # Safety
///
/// `out` and `outcome` must be those that the host lent for this call.
pub(super) unsafe fn catch_panics(
    out: *mut Sink,
    outcome: *mut RawOutcome,
    body: impl FnOnce(&mut Out<'_>) -> Result<RawOutcome, Error>,
) {
    // SAFETY: guaranteed by the caller.
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
    // SAFETY: the host guarantees that all pointers are valid during the call, and `host` as long
    // as it is retained.
    unsafe {
        catch_panics(out, outcome, |_| {
            let host = Host::new(HostHandle::retain(table, host), settings.bytes());
            if attached_host::attach(&host) {
                panic_hook::install();
                log_bridge::install();
            }
            let plugin = Arc::new(S::start(&host).map_err(Error::for_operator)?);
            *instance = RunningPlugin { plugin, methods: S::methods(), host, stop: S::stop }.into_raw();
            Ok(RawOutcome::DONE)
        });
    }
}

/// Returns the instance behind the host's pointer.
///
/// # Safety
///
/// `instance` must be the result of `start::<S>`, and must not have been stopped.
unsafe fn running<'a, S>(instance: *const c_void) -> &'a RunningPlugin<S> {
    // SAFETY: guaranteed by the caller.
    unsafe { &*instance.cast::<RunningPlugin<S>>() }
}

/// Returns the outcome of a method that has ended, or the error as the client may see it.
fn finish(ended: Result<(), Error>, out: &Out<'_>, host: &Host) -> Result<RawOutcome, Error> {
    let ended = ended.and_then(|()| match out.content() {
        Content::Json => Ok(RawOutcome::DONE),
        Content::Bytes if host.handle().knows_bytes() => Ok(RawOutcome::DONE_BYTES),
        Content::Bytes => Err(Error::bytes_of_later_host()),
    });
    ended.map_err(|error| host.log_detail(error))
}

pub(super) unsafe extern "C" fn call<S: Send + Sync + 'static>(
    instance: *const c_void,
    method: u32,
    call: *const c_void,
    params: Slice,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: by the host's guarantees for `call`.
    unsafe {
        catch_panics(out, outcome, |out| {
            let running = running::<S>(instance);
            let call = CallHandle::borrowed(running.host.handle(), call);
            let context = Context::new(Cow::Borrowed(&running.host), call);
            let run = running.methods.direct(method)?;
            let ended = run(&running.plugin, params.bytes(), &context, out);
            finish(ended, out, &running.host)
        });
    }
}

/// The future of a begun `async` method.
struct RunningMethod<S> {
    future: std::pin::Pin<Box<dyn Begun>>,
    host: Host,
    /// The future borrows nothing from the instance, but its code belongs to the instance, which is
    /// therefore kept alive.
    _plugin: Arc<S>,
}

impl<S: Send + Sync + 'static> PollInto for RunningMethod<S> {
    fn poll_into(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        out: &mut Out<'_>,
    ) -> Option<RawOutcome> {
        let start = out.len();
        match self.future.as_mut().poll_begun(cx, out) {
            std::task::Poll::Pending => None,
            std::task::Poll::Ready(ended) => {
                Some(finish(ended, out, &self.host).unwrap_or_else(|error| out.fail(start, &error)))
            }
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
    // SAFETY: by the host's guarantees for `begin`; `call` can be retained.
    unsafe {
        catch_panics(out, outcome, |_| {
            let running = running::<S>(instance);
            let host = running.host.clone();
            let call = CallHandle::retained(host.handle(), call);
            let context = Context::new(Cow::Owned(host.clone()), call);

            let begun = running.methods.future(method)?(&running.plugin, params.bytes(), context)
                .map_err(|error| host.log_detail(error))?;
            let method = RunningMethod { future: begun, host, _plugin: Arc::clone(&running.plugin) };
            future.write(future::export(Box::pin(method)));
            Ok(RawOutcome::DONE)
        });
    }
}

unsafe extern "C" fn self_test<S: Plugin>(instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome) {
    // SAFETY: the host guarantees that the instance was started, and that the pointers are valid
    // during the call.
    unsafe {
        catch_panics(out, outcome, |_| {
            running::<S>(instance).plugin.self_test().map_err(Error::for_operator)?;
            Ok(RawOutcome::DONE)
        });
    }
}

unsafe extern "C" fn export_state<S: Plugin>(
    instance: *const c_void,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: as for `self_test`.
    unsafe {
        catch_panics(out, outcome, |out| {
            let state = running::<S>(instance).plugin.export_state().map_err(Error::for_operator)?;
            if out.push(&state) {
                return Ok(RawOutcome::DONE);
            }
            let length = state.len();
            Err(Error::internal(format!("the state is too large: {length} bytes, limit {STATE_MAX}")))
        });
    }
}

unsafe extern "C" fn import_state<S: Plugin>(
    instance: *const c_void,
    schema: u32,
    state: Slice,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: as for `self_test`; the bytes of the state are valid during the call.
    unsafe {
        catch_panics(out, outcome, |_| {
            let plugin = &running::<S>(instance).plugin;
            plugin.import_state(schema, state.bytes()).map_err(Error::for_operator)?;
            Ok(RawOutcome::DONE)
        });
    }
}

pub(super) unsafe extern "C" fn stop<S: Send + Sync + 'static>(
    instance: *const c_void,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: the host guarantees that this is the last call, and that `start` returned the
    // pointer.
    unsafe {
        let running = Arc::from_raw(instance.cast::<RunningPlugin<S>>());
        catch_panics(out, outcome, |out| {
            let start = out.len();
            let stopped = catch_unwind(AssertUnwindSafe(|| (running.stop)(&running.plugin)));
            // The instance is dropped even if `stop` panicked, and its `Drop` may panic, too.
            let dropped = catch_unwind(AssertUnwindSafe(move || drop(running)));
            if attached_host::detach() {
                panic_hook::remove();
            }

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
