//! The root module of a plugin that is part of the program, which creates the instance itself.

use std::ffi::c_void;
use std::marker::PhantomData;

use abi_stable::prefix_type::WithMetadata;

#[cfg(feature = "__grown_abi")]
use super::entry::later_entry;
use super::entry::{begin, call, catch_panics, stop};
use super::keys::own_keys;
use super::types::{HostTableRef, PluginRoot, PluginRootRef, RawOutcome, Sink, Slice};
use crate::Error;

/// The root module of a plugin that is part of the program, which creates the instance itself.
pub(super) struct LocalEntry<S>(PhantomData<S>);

impl<S: Send + Sync + 'static> LocalEntry<S> {
    const META: &'static WithMetadata<PluginRoot> = &WithMetadata::new(PluginRoot {
        manifest: no_manifest,
        start: start_local,
        call: call::<S>,
        begin: begin::<S>,
        self_test: refuse_local,
        hand_over: refuse_local,
        take_over: import_local,
        thread_keys: own_keys,
        stop: stop::<S>,
        describe: describe_local,
        #[cfg(feature = "__grown_abi")]
        later_entry,
    });
    pub(super) const ROOT: PluginRootRef = PluginRootRef(Self::META.static_as_prefix());
}

extern "C" fn no_manifest() -> Slice {
    Slice::of(b"")
}

unsafe extern "C" fn start_local(
    _table: HostTableRef,
    _host: *const c_void,
    _settings: Slice,
    _instance: *mut *const c_void,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: by the host's guarantees for `start`.
    unsafe {
        catch_panics(out, outcome, |_| {
            Err(Error::internal("a built-in plugin is started by the program itself"))
        })
    }
}

unsafe extern "C" fn refuse_local(_instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome) {
    // SAFETY: by the host's guarantees for these functions.
    unsafe {
        catch_panics(out, outcome, |_| Err(Error::internal("a built-in plugin cannot be replaced")));
    }
}

unsafe extern "C" fn import_local(
    instance: *const c_void,
    _schema: u32,
    _state: Slice,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: by the host's guarantees for `take_over`.
    unsafe { refuse_local(instance, out, outcome) }
}

/// The program knows its own plugins.
unsafe extern "C" fn describe_local(_method: u32, _part: u32, out: *mut Sink, outcome: *mut RawOutcome) {
    // SAFETY: the host guarantees that both pointers are valid during the call.
    unsafe { catch_panics(out, outcome, |_| Ok(RawOutcome::DONE)) }
}
