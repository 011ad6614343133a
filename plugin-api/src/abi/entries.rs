//! The functions of a plugin, whichever of the two tables they come from: that of abi_stable, or
//! that of a plugin in C.

use std::ffi::c_void;

use super::c_host::{CHostTable, HOST};
use super::services::TABLE;
use super::types::{HostTableRef, PluginRootRef, RawForeignFuture, RawOutcome, Sink, Slice};

pub(super) type StartRust =
    unsafe extern "C" fn(HostTableRef, *const c_void, Slice, *mut *const c_void, *mut Sink, *mut RawOutcome);
pub(super) type StartC = unsafe extern "C" fn(
    *const CHostTable,
    *const c_void,
    Slice,
    *mut *const c_void,
    *mut Sink,
    *mut RawOutcome,
);
pub(super) type Manifest = extern "C" fn() -> Slice;
pub(super) type Call =
    unsafe extern "C" fn(*const c_void, u32, *const c_void, Slice, *mut Sink, *mut RawOutcome);
pub(super) type Begin = unsafe extern "C" fn(
    *const c_void,
    u32,
    *const c_void,
    Slice,
    *mut RawForeignFuture,
    *mut Sink,
    *mut RawOutcome,
);
pub(super) type Phase = unsafe extern "C" fn(*const c_void, *mut Sink, *mut RawOutcome);
pub(super) type ImportState = unsafe extern "C" fn(*const c_void, u32, Slice, *mut Sink, *mut RawOutcome);
pub(super) type ReportKeys = unsafe extern "C" fn(*mut u32, usize) -> usize;
pub(super) type Describe = unsafe extern "C" fn(u32, u32, *mut Sink, *mut RawOutcome);

/// Starts an instance, with the table of host services that the plugin understands.
#[derive(Clone, Copy)]
pub(super) enum Start {
    Rust(StartRust),
    C(StartC),
}

/// The functions of a plugin. They are valid as long as its code is loaded.
#[derive(Clone, Copy)]
pub(super) struct Entries {
    pub(super) manifest: Manifest,
    pub(super) start: Start,
    pub(super) call: Call,
    pub(super) begin: Begin,
    pub(super) self_test: Phase,
    pub(super) export_state: Phase,
    pub(super) import_state: ImportState,

    /// `None` if the plugin reports no keys.
    pub(super) thread_keys: Option<ReportKeys>,
    pub(super) stop: Phase,

    /// `None` if the plugin does not describe its methods.
    pub(super) describe: Option<Describe>,

    #[cfg(feature = "__grown_abi")]
    pub(super) later_entry: Option<extern "C" fn() -> u64>,
}

impl Entries {
    /// Returns the functions of a plugin in Rust.
    pub(super) fn of_root(root: PluginRootRef) -> Self {
        Self {
            manifest: root.manifest(),
            start: Start::Rust(root.start()),
            call: root.call(),
            begin: root.begin(),
            self_test: root.self_test(),
            export_state: root.hand_over(),
            import_state: root.take_over(),
            thread_keys: Some(root.thread_keys()),
            stop: root.stop(),
            describe: root.describe(),
            #[cfg(feature = "__grown_abi")]
            later_entry: root.later_entry(),
        }
    }

    /// Returns whether the plugin was written for the table of C. Its results are checked, because
    /// no serializer of this project has written them.
    pub(super) fn is_c(&self) -> bool {
        matches!(self.start, Start::C(_))
    }

    /// Calls `start` of the plugin.
    ///
    /// # Safety
    ///
    /// The code is loaded, and all pointers are valid during the call.
    pub(super) unsafe fn start(
        &self,
        host: *const c_void,
        settings: Slice,
        instance: *mut *const c_void,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ) {
        match self.start {
            // SAFETY: guaranteed by the caller.
            Start::Rust(start) => unsafe { start(TABLE, host, settings, instance, out, outcome) },
            // SAFETY: as above; the table is a static.
            Start::C(start) => unsafe { start(&raw const HOST, host, settings, instance, out, outcome) },
        }
    }
}
