//! The functions of the host's table that plugins call about a running call.

use std::ffi::c_void;
use std::sync::Arc;

use super::call_context::TraceFacts;
use super::call_facts::CallFacts;
use super::types::Slice;

/// Returns the record of the call behind `call`.
///
/// # Safety
///
/// `call` must be the record of a call that is running or retained.
pub(super) unsafe fn facts<'a>(call: *const c_void) -> &'a CallFacts<'a> {
    // SAFETY: guaranteed by the caller.
    unsafe { &*call.cast::<CallFacts<'a>>() }
}

pub(super) unsafe extern "C" fn call_retain(call: *const c_void) {
    // SAFETY: only calls passed to `begin` are retained, and these are in an `Arc`.
    unsafe { Arc::increment_strong_count(call.cast::<CallFacts<'static>>()) }
}

pub(super) unsafe extern "C" fn call_release(call: *const c_void) {
    // SAFETY: as above; this reference was retained.
    unsafe { Arc::decrement_strong_count(call.cast::<CallFacts<'static>>()) }
}

pub(super) unsafe extern "C" fn call_deadline(call: *const c_void) -> u64 {
    // SAFETY: the plugin runs the call or holds it.
    unsafe { facts(call) }.deadline
}

pub(super) unsafe extern "C" fn call_cancelled(call: *const c_void) -> bool {
    // SAFETY: as above.
    unsafe { facts(call) }.cancelled.is_set()
}

pub(super) unsafe extern "C" fn call_id(call: *const c_void) -> Slice {
    // SAFETY: as above; the text lives as long as the call.
    let facts = unsafe { facts(call) };
    Slice::of(facts.id.text().as_bytes())
}

pub(super) unsafe extern "C" fn call_content(call: *const c_void) -> u32 {
    // SAFETY: as above.
    unsafe { facts(call) }.content as u32
}

pub(super) unsafe extern "C" fn call_caller(call: *const c_void) -> Slice {
    // SAFETY: as above; the caller lives as long as the call.
    let facts = unsafe { facts(call) };
    Slice::of(facts.caller.get().json().as_bytes())
}

pub(super) unsafe extern "C" fn call_metadata(call: *const c_void) -> Slice {
    // SAFETY: as above; the context lives as long as the call.
    let context = unsafe { facts(call) }.context.as_deref();
    optional_text(context.and_then(|context| context.meta.as_deref()))
}

pub(super) unsafe extern "C" fn call_traceparent(call: *const c_void) -> Slice {
    // SAFETY: as above.
    optional_text(unsafe { trace(call) }.map(TraceFacts::traceparent))
}

pub(super) unsafe extern "C" fn call_tracestate(call: *const c_void) -> Slice {
    // SAFETY: as above.
    optional_text(unsafe { trace(call) }.and_then(|trace| trace.state.as_deref()))
}

/// Returns the trace of the call behind `call`.
///
/// # Safety
///
/// As for [`facts`].
unsafe fn trace<'a>(call: *const c_void) -> Option<&'a TraceFacts> {
    // SAFETY: guaranteed by the caller.
    unsafe { facts(call) }.context.as_ref()?.trace.as_ref()
}

fn optional_text(text: Option<&str>) -> Slice {
    Slice::of(text.unwrap_or_default().as_bytes())
}
