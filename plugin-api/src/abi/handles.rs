//! The plugin's handles to the host and to a running call, with safe methods.
//!
//! [`HostHandle`] and a retained [`CallHandle`] hold a reference count; a borrowed `CallHandle` is
//! valid only during the call.

use std::borrow::Cow;
use std::ffi::c_void;

use super::call_context::{CallOutput, Content};
use super::call_end::read_reply;
use super::future::{Fetch, Imported};
use super::sink::{lend, text};
use super::types::{HostTableRef, Slice};
use crate::Error;

/// The largest reply of another method that a plugin accepts, in bytes: the largest payload of the
/// protocol (4 GiB - 1).
const MAX_REPLY: usize = u32::MAX as usize;

/// The time-out of a nested call that has none of its own, in nanoseconds.
const NO_TIMEOUT: u64 = 0;

/// A counted handle to the host, so that a thread that outlives the plugin never calls into freed
/// memory.
pub(crate) struct HostHandle {
    table: HostTableRef,
    host: *const c_void,
}

// SAFETY: the services of the host may be called from any thread, by the contract of the table.
unsafe impl Send for HostHandle {}
// SAFETY: as above.
unsafe impl Sync for HostHandle {}

impl HostHandle {
    /// Increments the reference count of the host.
    ///
    /// # Safety
    ///
    /// `host` must be the handle that came with `table`.
    pub(super) unsafe fn retain(table: HostTableRef, host: *const c_void) -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe { table.retain()(host) };
        Self { table, host }
    }

    pub(crate) fn log_enabled(&self, level: u8) -> bool {
        // SAFETY: the handle is held.
        unsafe { self.table.log_enabled()(self.host, level) }
    }

    pub(crate) fn log(&self, level: u8, line: &str) {
        // SAFETY: the handle is held, and the text is valid during the call.
        unsafe { self.table.log()(self.host, level, Slice::of(line.as_bytes())) }
    }

    /// Returns the time in nanoseconds of the host's monotonic clock.
    pub(crate) fn now(&self) -> u64 {
        // SAFETY: the handle is held.
        unsafe { self.table.now()(self.host) }
    }

    /// Returns the result of the service that only later hosts have.
    #[cfg(feature = "__grown_abi")]
    pub(crate) fn later_service(&self) -> Option<u64> {
        // SAFETY: the handle is held.
        Some(unsafe { self.table.later_service()?(self.host) })
    }

    /// Returns a future that is ready at `until`, in nanoseconds of the host's monotonic clock.
    pub(crate) fn sleep(&self, until: u64) -> Fetch {
        // SAFETY: the handle is held, and the result is a future of the host.
        let future = unsafe { Imported::new(self.table.sleep()(self.host, until)) };
        Fetch::new(future, 0)
    }

    /// Returns whether the host knows params and results that are opaque bytes.
    pub(crate) fn knows_bytes(&self) -> bool {
        self.table.call_content().is_some()
    }

    /// Calls another method, without a time-out of its own.
    pub(crate) fn call(
        &self,
        parent: &CallHandle,
        method: &str,
        params: &[u8],
        content: Content,
    ) -> Result<Fetch, Error> {
        let call = match content {
            Content::Json => self.table.call(),
            Content::Bytes => self.table.call_bytes().ok_or_else(Error::bytes_of_later_host)?,
        };
        let method = Slice::of(method.as_bytes());
        let params = Slice::of(params);
        // SAFETY: both handles are held, the slices are valid during the call, and the result is a
        // future of the host.
        let future = unsafe { Imported::new(call(self.host, parent.call, method, params, NO_TIMEOUT)) };
        Ok(Fetch::new(future, MAX_REPLY))
    }

    /// As [`HostHandle::call`], but blocks this thread until the method has replied.
    pub(crate) fn call_wait(
        &self,
        parent: &CallHandle,
        method: &str,
        params: &[u8],
        content: Content,
    ) -> Result<CallOutput, Error> {
        let call = match content {
            Content::Json => self.table.call_wait(),
            Content::Bytes => self.table.call_bytes_wait().ok_or_else(Error::bytes_of_later_host)?,
        };
        let method = Slice::of(method.as_bytes());
        let params = Slice::of(params);
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, MAX_REPLY, |out, outcome| {
            // SAFETY: as in `call`; sink and outcome are valid during the call.
            unsafe { call(self.host, parent.call, method, params, NO_TIMEOUT, out, outcome) }
        });
        read_reply(&written, buffer)
    }
}

impl Clone for HostHandle {
    fn clone(&self) -> Self {
        // SAFETY: the handle is held, so the host behind it is alive.
        unsafe { Self::retain(self.table, self.host) }
    }
}

impl Drop for HostHandle {
    fn drop(&mut self) {
        // SAFETY: the reference was counted once, in `retain`.
        unsafe { self.table.release()(self.host) }
    }
}

/// A function of the table that returns a text about a call.
type TextOfCall = unsafe extern "C" fn(call: *const c_void) -> Slice;

/// A handle to the running call: borrowed during the call, or retained by a future.
pub(crate) struct CallHandle {
    table: HostTableRef,
    call: *const c_void,
    is_retained: bool,
}

// SAFETY: the host's record of a call may be read from any thread.
unsafe impl Send for CallHandle {}
// SAFETY: as above.
unsafe impl Sync for CallHandle {}

impl CallHandle {
    /// Borrows the running call.
    ///
    /// # Safety
    ///
    /// `call` must outlive the handle: the caller drops the handle before the call returns.
    pub(super) unsafe fn borrowed(host: &HostHandle, call: *const c_void) -> Self {
        Self { table: host.table, call, is_retained: false }
    }

    /// Increments the reference count of the call.
    ///
    /// # Safety
    ///
    /// `call` must be retainable.
    pub(super) unsafe fn retained(host: &HostHandle, call: *const c_void) -> Self {
        // SAFETY: guaranteed by the caller.
        unsafe { host.table.call_retain()(call) };
        Self { table: host.table, call, is_retained: true }
    }

    /// Returns the deadline in nanoseconds of the host's monotonic clock.
    pub(crate) fn deadline(&self) -> u64 {
        // SAFETY: the call lives as long as the handle.
        unsafe { self.table.call_deadline()(self.call) }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        // SAFETY: as above.
        unsafe { self.table.call_cancelled()(self.call) }
    }

    pub(crate) fn id(&self) -> Cow<'_, str> {
        // SAFETY: as above; the text lives as long as the call.
        unsafe { text(self.table.call_id()(self.call)) }
    }

    /// Returns what the params are. Hosts without the function know only JSON.
    pub(crate) fn content(&self) -> Content {
        match self.table.call_content() {
            // SAFETY: as above.
            Some(content) => Content::from_number(unsafe { content(self.call) }),
            None => Content::Json,
        }
    }

    /// Returns the caller as JSON; empty on a host without the function.
    pub(crate) fn caller(&self) -> Cow<'_, str> {
        self.optional_text(self.table.call_caller())
    }

    /// Returns the metadata as a JSON object; empty if there is none, or on a host without the
    /// function.
    pub(crate) fn metadata(&self) -> Cow<'_, str> {
        self.optional_text(self.table.call_metadata())
    }

    /// Returns `traceparent`; empty as for [`CallHandle::metadata`].
    pub(crate) fn traceparent(&self) -> Cow<'_, str> {
        self.optional_text(self.table.call_traceparent())
    }

    /// Returns `tracestate`; empty as for [`CallHandle::metadata`].
    pub(crate) fn tracestate(&self) -> Cow<'_, str> {
        self.optional_text(self.table.call_tracestate())
    }

    fn optional_text(&self, function: Option<TextOfCall>) -> Cow<'_, str> {
        // SAFETY: the function belongs to the host of this call; otherwise as for `id`.
        function.map_or_else(Cow::default, |function| unsafe { text(function(self.call)) })
    }
}

impl Drop for CallHandle {
    fn drop(&mut self) {
        if self.is_retained {
            // SAFETY: it was retained once, in `retained`.
            unsafe { self.table.call_release()(self.call) }
        }
    }
}
