//! A running instance of a plugin as the host sees it, with safe methods.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;

use super::call_context::Content;
use super::call_end::CallEnd;
use super::call_facts::CallFacts;
use super::entries::Entries;
use super::entry::RunningPlugin;
use super::future::{Imported, PluginFuture, complete_future, missing_future};
use super::handles::HostHandle;
use super::lifecycle_error::{LifecycleError, into_result};
use super::local_entry::LocalEntry;
use super::root::Root;
use super::services::{HostCell, TABLE};
use super::sink::lend;
use super::types::{HostTableRef, RawOutcome, Sink, Slice};
use crate::{Error, Host, Methods, STATE_MAX};

/// Upper bound for an error accepted from a lifecycle phase of a plugin, in bytes.
const MAX_REPORT: usize = 64 * 1024;

/// The old name of [`LifecycleError`].
#[deprecated(since = "0.1.0", note = "use `LifecycleError`")]
pub type StartFailure = LifecycleError;

/// A running instance of a plugin.
///
/// [`Instance::stop`] ends it. If it is dropped instead, its memory is leaked: stopping runs code
/// of the plugin, and only the owner knows when and where that may happen.
pub struct Instance {
    entries: Entries,
    instance: *const c_void,
    knows_bytes: bool,
}

// SAFETY: `instance` points to a `RunningPlugin<S>` with `S: Send + Sync`, which the export macro
// requires.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Starts an instance with `settings`, a JSON object.
    ///
    /// # Errors
    ///
    /// The plugin returned an error or panicked.
    pub fn start(root: &Root, host: &Arc<HostCell>, settings: &[u8]) -> Result<Self, LifecycleError> {
        let mut instance = std::ptr::null();
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, MAX_REPORT, |out, outcome| {
            // SAFETY: the function belongs to the plugin, every pointer is valid during the call,
            // and the plugin retains `host`.
            unsafe {
                let host = Arc::as_ptr(host).cast::<c_void>();
                root.entries.start(host, Slice::of(settings), &raw mut instance, out, outcome);
            }
        });
        into_result(CallEnd::read(&written, &mut buffer)).map(|()| Self {
            entries: root.entries,
            instance,
            knows_bytes: root.knows_bytes,
        })
    }

    /// Wraps an instance that this program has created, with methods of this program.
    #[must_use]
    pub fn local<S: Send + Sync + 'static>(plugin: S, methods: Methods<S>, host: &Arc<HostCell>) -> Self {
        // SAFETY: `TABLE` belongs to `HostCell`.
        unsafe { Self::local_with(TABLE, plugin, methods, host) }
    }

    /// Wraps an instance as [`Instance::local`] does, for the functions of `table`.
    ///
    /// # Safety
    ///
    /// The functions of `table` must be those of `HostCell`.
    pub(super) unsafe fn local_with<S: Send + Sync + 'static>(
        table: HostTableRef,
        plugin: S,
        methods: Methods<S>,
        host: &Arc<HostCell>,
    ) -> Self {
        // SAFETY: guaranteed by the caller.
        let handle = unsafe { HostHandle::retain(table, Arc::as_ptr(host).cast::<c_void>()) };
        let host = Host::new(handle, b"{}");
        let running = RunningPlugin { plugin: Arc::new(plugin), methods, host, stop: |_: &S| () };
        Self {
            entries: Entries::of_root(LocalEntry::<S>::ROOT),
            instance: running.into_raw(),
            knows_bytes: true,
        }
    }

    /// Runs method number `method` to its end. The result is appended to `out`, at most `limit`
    /// bytes.
    pub fn call(
        &self,
        method: u32,
        facts: &CallFacts<'_>,
        params: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> CallEnd {
        if facts.content == Content::Bytes && !self.knows_bytes {
            return refuse_bytes();
        }

        let written = lend(out, limit, |out, outcome| {
            let call = std::ptr::from_ref(facts).cast::<c_void>();
            // SAFETY: the instance was started by the same root, and all pointers are valid during
            // the call.
            unsafe { (self.entries.call)(self.instance, method, call, Slice::of(params), out, outcome) }
        });
        let end = CallEnd::read(&written, out);
        if self.entries.is_c() { end.with_checked_json(&written, out) } else { end }
    }

    /// Begins the `async` method number `method`.
    ///
    /// # Errors
    ///
    /// The end of the call, if it ended before there was a future.
    pub fn begin(
        &self,
        method: u32,
        facts: &Arc<CallFacts<'static>>,
        params: &[u8],
    ) -> Result<PluginFuture, CallEnd> {
        if facts.content == Content::Bytes && !self.knows_bytes {
            return Err(refuse_bytes());
        }

        // A plugin in C may forget to write its future, or a function of it.
        let mut future = MaybeUninit::new(missing_future());
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, MAX_REPORT, |out, outcome| {
            let call = Arc::as_ptr(facts).cast::<c_void>();
            let params = Slice::of(params);
            // SAFETY: as in `call`; the plugin retains `facts` as long as it needs it.
            unsafe {
                (self.entries.begin)(self.instance, method, call, params, future.as_mut_ptr(), out, outcome);
            }
        });

        match CallEnd::read(&written, &mut buffer) {
            CallEnd::Done | CallEnd::DoneBytes => {
                // SAFETY: on `Done` the plugin has written the future, and nobody else holds it.
                let future = unsafe { Imported::new(complete_future(future)) };
                Ok(PluginFuture { future, is_c: self.entries.is_c() })
            }
            ended => Err(ended),
        }
    }

    /// Runs the self-test of the instance.
    ///
    /// # Errors
    ///
    /// The plugin returned an error or panicked.
    pub fn self_test(&self) -> Result<(), LifecycleError> {
        self.run_phase(|out, outcome| {
            // SAFETY: as in `call`.
            unsafe { (self.entries.self_test)(self.instance, out, outcome) }
        })
    }

    /// Exports the state for a new instance.
    ///
    /// The caller must hold the calls that [`Plugin::export_state`](crate::Plugin::export_state)
    /// excludes.
    ///
    /// # Errors
    ///
    /// The plugin returned an error, panicked, or exported more than [`STATE_MAX`] bytes.
    pub fn export_state(&self) -> Result<Vec<u8>, LifecycleError> {
        let mut state = Vec::new();
        let written = lend(&mut state, STATE_MAX, |out, outcome| {
            // SAFETY: as in `call`.
            unsafe { (self.entries.export_state)(self.instance, out, outcome) }
        });
        into_result(CallEnd::read(&written, &mut state)).map(|()| state)
    }

    /// Imports the state of another instance, in its layout `schema`.
    ///
    /// # Errors
    ///
    /// The plugin returned an error or panicked.
    pub fn import_state(&self, schema: u32, state: &[u8]) -> Result<(), LifecycleError> {
        self.run_phase(|out, outcome| {
            // SAFETY: as in `call`.
            unsafe { (self.entries.import_state)(self.instance, schema, Slice::of(state), out, outcome) }
        })
    }

    fn run_phase(&self, body: impl FnOnce(*mut Sink, *mut RawOutcome)) -> Result<(), LifecycleError> {
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, MAX_REPORT, body);
        into_result(CallEnd::read(&written, &mut buffer))
    }

    /// Stops the instance: runs the plugin's `stop` and then its `Drop`. No future of the instance
    /// may be left.
    ///
    /// # Errors
    ///
    /// The plugin panicked; the error is the text of the panic. The instance is freed in any case.
    pub fn stop(self) -> Result<(), String> {
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, MAX_REPORT, |out, outcome| {
            // SAFETY: as in `call`; the instance is stopped once, because `self` is consumed.
            unsafe { (self.entries.stop)(self.instance, out, outcome) }
        });

        match CallEnd::read(&written, &mut buffer) {
            CallEnd::Panicked(text) => Err(text),
            CallEnd::Done | CallEnd::DoneBytes | CallEnd::Failed { .. } | CallEnd::Crashed(_) => Ok(()),
        }
    }
}

/// Refuses opaque bytes for a plugin that would read them as JSON.
#[cold]
fn refuse_bytes() -> CallEnd {
    let error = Error::invalid_params("", "invalid type: opaque bytes, expected JSON");
    let data = error.data_json().map(str::to_owned);
    CallEnd::Failed { code: error.code(), message: error.message().to_owned(), data }
}
