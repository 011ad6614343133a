//! The plugin's side of the host's services: handles that keep what is behind them alive, with safe methods.

use std::borrow::Cow;
use std::ffi::c_void;

use super::future::{Fetch, Imported};
use super::sink::{Written, lend, text};
use super::types::{HostTableRef, Slice, Status};
use crate::Error;

/// The largest reply of another method that a plugin takes: the protocol's largest payload.
const REPLY_MAX: usize = u32::MAX as usize;

/// The host, as one plugin sees it; counted, so that a thread left behind never calls into nothing.
pub(crate) struct HostHandle {
    table: HostTableRef,
    host: *const c_void,
}

// SAFETY: the host's services may be called from any thread; that is part of the table's contract.
unsafe impl Send for HostHandle {}
// SAFETY: as above.
unsafe impl Sync for HostHandle {}

impl HostHandle {
    /// # Safety
    /// `host` must be the handle that came with `table`.
    pub(super) unsafe fn retain(table: HostTableRef, host: *const c_void) -> Self {
        // SAFETY: the caller's promise.
        unsafe { table.retain()(host) };
        Self { table, host }
    }

    pub(crate) fn log_enabled(&self, level: u8) -> bool {
        // SAFETY: the handle is held.
        unsafe { self.table.log_enabled()(self.host, level) }
    }

    pub(crate) fn log(&self, level: u8, line: &str) {
        // SAFETY: the handle is held, the text lives for the call.
        unsafe { self.table.log()(self.host, level, Slice::of(line.as_bytes())) }
    }

    pub(crate) fn now(&self) -> u64 {
        // SAFETY: the handle is held.
        unsafe { self.table.now()(self.host) }
    }

    pub(crate) fn sleep(&self, until: u64) -> Fetch {
        // SAFETY: the handle is held; what comes back is a future of the host's.
        let future = unsafe { Imported::new(self.table.sleep()(self.host, until)) };
        Fetch::new(future, 0)
    }

    pub(crate) fn call(&self, parent: &CallHandle, method: &str, params: &[u8], timeout: u64) -> Fetch {
        let (method, params) = (Slice::of(method.as_bytes()), Slice::of(params));
        // SAFETY: both handles are held, the slices live for the call, and a future of the host's comes back.
        let future =
            unsafe { Imported::new(self.table.call()(self.host, parent.call, method, params, timeout)) };
        Fetch::new(future, REPLY_MAX)
    }

    pub(crate) fn call_wait(
        &self,
        parent: &CallHandle,
        method: &str,
        params: &[u8],
        timeout: u64,
    ) -> Result<Vec<u8>, Error> {
        let (method, params) = (Slice::of(method.as_bytes()), Slice::of(params));
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, REPLY_MAX, |out, outcome| {
            // SAFETY: as in `call`; sink and outcome live for the call.
            unsafe {
                self.table.call_wait()(self.host, parent.call, method, params, timeout, out, outcome);
            }
        });
        read_reply(&written, buffer)
    }
}

impl Clone for HostHandle {
    fn clone(&self) -> Self {
        // SAFETY: the handle is held, so what is behind it lives.
        unsafe { Self::retain(self.table, self.host) }
    }
}

impl Drop for HostHandle {
    fn drop(&mut self) {
        // SAFETY: each holder lets go once.
        unsafe { self.table.release()(self.host) }
    }
}

/// The running call: borrowed for its length, or held by a future.
pub(crate) struct CallHandle {
    table: HostTableRef,
    call: *const c_void,
    held: bool,
}

// SAFETY: the host's record of a call may be read from any thread.
unsafe impl Send for CallHandle {}
// SAFETY: as above.
unsafe impl Sync for CallHandle {}

impl CallHandle {
    /// # Safety
    /// `call` must outlive the handle: the caller drops it before the call returns.
    pub(super) unsafe fn borrowed(host: &HostHandle, call: *const c_void) -> Self {
        Self { table: host.table, call, held: false }
    }

    /// # Safety
    /// `call` must be one that can be retained.
    pub(super) unsafe fn retained(host: &HostHandle, call: *const c_void) -> Self {
        // SAFETY: the caller's promise.
        unsafe { host.table.call_retain()(call) };
        Self { table: host.table, call, held: true }
    }

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
}

impl Drop for CallHandle {
    fn drop(&mut self) {
        if self.held {
            // SAFETY: retained once when made.
            unsafe { self.table.call_release()(self.call) }
        }
    }
}

/// What a host service answered: its bytes, or its error.
pub(super) fn read_reply(written: &Written, mut buffer: Vec<u8>) -> Result<Vec<u8>, Error> {
    match written.status {
        Status::Done => Ok(buffer),
        Status::Failed | Status::Panicked | Status::Pending => {
            let (message, data) = written.take_text(&mut buffer);
            Err(Error::from_wire(written.code, message, data))
        }
    }
}
