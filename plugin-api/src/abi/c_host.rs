//! The functions of the host for a plugin in C, as `include/jackfield_plugin.h` declares them.
//!
//! The table begins with its size and the number of the ABI. Functions are only appended, and a
//! plugin uses one only if the size covers it.

use std::ffi::c_void;
use std::mem::size_of;

use super::types::{RawForeignFuture, RawOutcome, Sink, Slice};
use super::{call_queries as queries, services as host};

/// The version of this table and that of the plugin, `JACKFIELD_ABI` of the header.
pub(super) const ABI: u32 = 1;

/// The functions of the host, in the order of the header.
#[repr(C)]
pub(super) struct CHostTable {
    pub(super) size: usize,
    pub(super) abi: u32,
    pub(super) retain: unsafe extern "C" fn(*const c_void),
    pub(super) release: unsafe extern "C" fn(*const c_void),
    pub(super) log_enabled: unsafe extern "C" fn(*const c_void, u8) -> bool,
    pub(super) log: unsafe extern "C" fn(*const c_void, u8, Slice),
    pub(super) now: unsafe extern "C" fn(*const c_void) -> u64,
    pub(super) sleep: unsafe extern "C" fn(*const c_void, u64) -> RawForeignFuture,
    pub(super) call:
        unsafe extern "C" fn(*const c_void, *const c_void, Slice, Slice, u64) -> RawForeignFuture,
    pub(super) call_wait:
        unsafe extern "C" fn(*const c_void, *const c_void, Slice, Slice, u64, *mut Sink, *mut RawOutcome),
    pub(super) call_retain: unsafe extern "C" fn(*const c_void),
    pub(super) call_release: unsafe extern "C" fn(*const c_void),
    pub(super) call_deadline: unsafe extern "C" fn(*const c_void) -> u64,
    pub(super) call_cancelled: unsafe extern "C" fn(*const c_void) -> bool,
    pub(super) call_id: unsafe extern "C" fn(*const c_void) -> Slice,
    pub(super) call_content: unsafe extern "C" fn(*const c_void) -> u32,
    pub(super) call_caller: unsafe extern "C" fn(*const c_void) -> Slice,
    pub(super) call_metadata: unsafe extern "C" fn(*const c_void) -> Slice,
    pub(super) call_traceparent: unsafe extern "C" fn(*const c_void) -> Slice,
    pub(super) call_tracestate: unsafe extern "C" fn(*const c_void) -> Slice,
    pub(super) call_bytes:
        unsafe extern "C" fn(*const c_void, *const c_void, Slice, Slice, u64) -> RawForeignFuture,
    pub(super) call_bytes_wait:
        unsafe extern "C" fn(*const c_void, *const c_void, Slice, Slice, u64, *mut Sink, *mut RawOutcome),
}

/// The table that a plugin in C receives.
pub(super) static HOST: CHostTable = CHostTable {
    size: size_of::<CHostTable>(),
    abi: ABI,
    retain: host::retain,
    release: host::release,
    log_enabled: host::log_enabled,
    log: host::log,
    now: host::now,
    sleep: host::sleep,
    call: host::call,
    call_wait: host::call_wait,
    call_retain: queries::call_retain,
    call_release: queries::call_release,
    call_deadline: queries::call_deadline,
    call_cancelled: queries::call_cancelled,
    call_id: queries::call_id,
    call_content: queries::call_content,
    call_caller: queries::call_caller,
    call_metadata: queries::call_metadata,
    call_traceparent: queries::call_traceparent,
    call_tracestate: queries::call_tracestate,
    call_bytes: host::call_bytes,
    call_bytes_wait: host::call_bytes_wait,
};
