//! The host's side of a plugin: its root module checked, an instance started, methods called, all in safe words.

use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::sync::Arc;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals};
use abi_stable::library::{AbiHeaderRef, RootModule};

use super::future::{Imported, PluginFuture};
use super::guest::{Entry, LocalEntry, Running};
use super::handle::HostHandle;
use super::keys::ThreadKeys;
use super::serve::{CallFacts, HostCell, TABLE};
use super::sink::{Written, lend};
use super::types::{PluginRootRef, RawForeignFuture, RawOutcome, Sink, Slice, Status};
use crate::{Exported, Host, Methods, Plugin, STATE_MAX};

/// The longest error that is taken from a plugin's life beside its calls, in bytes.
const REPORT_MAX: usize = 64 * 1024;

/// Why a root module cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootError {
    /// Built with an `abi_stable` that this host cannot read.
    Header(String),
    /// Built against another version of the plugin API.
    Version {
        /// The version it was built against.
        plugin: String,
        /// The version this host was built with.
        host: &'static str,
    },
    /// The layout of the types that cross differs, or is not given.
    Layout(String),
    /// The module's constructor failed.
    Constructor(String),
}

impl std::fmt::Display for RootError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(why) => write!(f, "its ABI header cannot be read: {why}"),
            Self::Version { plugin, host } => {
                write!(f, "it was built against plugin API {plugin}, this host speaks {host}")
            }
            Self::Layout(why) => write!(f, "the layout of its ABI types differs: {why}"),
            Self::Constructor(why) => write!(f, "its root module could not be made: {why}"),
        }
    }
}

impl std::error::Error for RootError {}

/// A plugin's root module, its layout checked.
#[derive(Clone, Copy)]
pub struct Root(PluginRootRef);

impl Root {
    /// Reads the root module behind the address of [`super::ROOT_SYMBOL`].
    ///
    /// Everything is compared with checking state of its own, dropped before this returns: abi_stable's
    /// process-wide maps would keep pointers into a library that may be closed.
    ///
    /// # Errors
    /// The reason why the module cannot be used; nothing of the plugin but its ABI tests and constructor ran.
    ///
    /// # Safety
    /// `symbol` must be the address of that symbol in a loaded library, which must stay loaded for as long as the
    /// root, or anything made from it, is used.
    pub unsafe fn from_symbol(symbol: *const c_void) -> Result<Self, RootError> {
        if symbol.is_null() {
            return Err(RootError::Header("the symbol is null".into()));
        }
        // SAFETY: `AbiHeaderRef` is a transparent reference to the header that this symbol is; checked next.
        let header = unsafe { std::mem::transmute::<*const c_void, AbiHeaderRef>(symbol) };
        let header = header.upgrade().map_err(|error| RootError::Header(one_line(&error)))?;
        let (theirs, ours) = (header.version_strings(), PluginRootRef::VERSION_STRINGS);
        if !same_series(theirs.version.as_str(), ours.version.as_str()) {
            return Err(RootError::Version {
                plugin: theirs.version.as_str().to_owned(),
                host: ours.version.as_str(),
            });
        }
        let layout = header.layout().ok_or_else(|| RootError::Layout("it gives none".into()))?;
        let globals = CheckingGlobals::new();
        check_layout_compatibility_with_globals(<PluginRootRef as StableAbi>::LAYOUT, layout, &globals)
            .map_err(|error| RootError::Layout(one_line(&error)))?;
        drop(globals);
        // SAFETY: the layout was just found to be that of `PluginRootRef`.
        unsafe { header.unchecked_layout::<PluginRootRef>() }
            .map(Self)
            .map_err(|error| RootError::Constructor(one_line(&error)))
    }

    /// The root module of a plugin that is part of this program.
    #[must_use]
    pub fn linked<S: Exported + Plugin>() -> Self {
        Self(Entry::<S>::ROOT)
    }

    /// The manifest as the running code gives it.
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        // SAFETY: a static of the plugin's, which is loaded as long as the root is used; copied at once.
        unsafe { (self.0.manifest())().bytes() }.to_vec()
    }

    /// The keys for thread-local values that the code's own standard library has taken. Must be called on a thread
    /// that has run nothing of the plugin, and the thread joined before the code is closed.
    #[must_use]
    pub fn thread_keys(&self) -> ThreadKeys {
        ThreadKeys::ask(self.0.thread_keys())
    }

    /// An address in the plugin's code, to find the mapping it lies in.
    #[must_use]
    pub fn code_address(&self) -> usize {
        self.0.call() as usize
    }
}

/// While the major version is 0, the minor one is the series; afterwards the major one.
pub(crate) fn same_series(theirs: &str, ours: &str) -> bool {
    let series = |version: &str| {
        let mut parts = version.split('.').map(str::to_owned);
        (parts.next(), parts.next())
    };
    let (theirs, ours) = (series(theirs), series(ours));
    theirs.0 == ours.0 && (ours.0.as_deref() != Some("0") || theirs.1 == ours.1)
}

/// An error of abi_stable's in one line of bearable length.
fn one_line(error: &dyn std::fmt::Display) -> String {
    const LONGEST: usize = 400;
    let mut text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

/// Why an instance did not start, or did not do what else was asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// The plugin said no, with these words.
    Refused(String),
    /// The plugin panicked, with these words.
    Panicked(String),
}

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) => f.write_str(why),
            Self::Panicked(why) => write!(f, "it panicked: {why}"),
        }
    }
}

impl std::error::Error for StartFailure {}

/// How a call into a plugin ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEnd {
    /// The result's JSON is at the end of the buffer.
    Done,
    /// The plugin's error.
    Failed {
        /// The plugin's code; the host decides whether it may pass.
        code: i64,
        /// For the client.
        message: String,
        /// For the client, as JSON.
        data: Option<String>,
    },
    /// The plugin panicked with this text, which is for logs only.
    Panicked(String),
}

impl CallEnd {
    pub(super) fn read(written: &Written, buffer: &mut Vec<u8>) -> Self {
        match written.status {
            Status::Done => Self::Done,
            Status::Panicked => Self::Panicked(written.take_text(buffer).0),
            Status::Failed | Status::Pending => {
                let (message, data) = written.take_text(buffer);
                Self::Failed { code: written.code, message, data }
            }
        }
    }
}

/// A running instance of a plugin.
///
/// [`Instance::stop`] ends it. Dropped without that, its memory stays: stopping runs the plugin's code, and only
/// the owner knows when and where that may happen.
pub struct Instance {
    root: PluginRootRef,
    instance: *const c_void,
}

// SAFETY: behind it is a `Running<S>` with `S: Send + Sync`; the export macro demands that.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Starts an instance with `settings`, a JSON object.
    ///
    /// # Errors
    /// What the plugin said, or panicked with.
    pub fn start(root: &Root, host: &Arc<HostCell>, settings: &[u8]) -> Result<Self, StartFailure> {
        let mut instance = std::ptr::null();
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, REPORT_MAX, |out, outcome| {
            // SAFETY: the plugin's own function; every pointer is good for the call, and the plugin retains `host`.
            unsafe {
                let host = Arc::as_ptr(host).cast::<c_void>();
                root.0.start()(TABLE, host, Slice::of(settings), &raw mut instance, out, outcome);
            }
        });
        failure_of(CallEnd::read(&written, &mut buffer)).map(|()| Self { root: root.0, instance })
    }

    /// An instance that this program made itself, its methods written in this program.
    #[must_use]
    pub fn local<S: Send + Sync + 'static>(plugin: S, methods: Methods<S>, host: &Arc<HostCell>) -> Self {
        // SAFETY: `TABLE` goes with a `HostCell`.
        let handle = unsafe { HostHandle::retain(TABLE, Arc::as_ptr(host).cast::<c_void>()) };
        let running =
            Running { plugin: Arc::new(plugin), methods, host: Host::new(handle, b"{}"), stop: |_: &S| () };
        Self { root: LocalEntry::<S>::ROOT, instance: running.into_raw() }
    }

    /// Runs method number `method` to its end; `out` gets the result's JSON, at most `limit` bytes of it.
    pub fn call(
        &self,
        method: u32,
        facts: &CallFacts<'_>,
        params: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> CallEnd {
        let written = lend(out, limit, |out, outcome| {
            let call = std::ptr::from_ref(facts).cast::<c_void>();
            // SAFETY: a started instance and its own function; all pointers are good for the call.
            unsafe { self.root.call()(self.instance, method, call, Slice::of(params), out, outcome) }
        });
        CallEnd::read(&written, out)
    }

    /// Begins the `async` method number `method`.
    ///
    /// # Errors
    /// How it ended, when it ended before there was a future.
    pub fn begin(
        &self,
        method: u32,
        facts: &Arc<CallFacts<'static>>,
        params: &[u8],
    ) -> Result<PluginFuture, CallEnd> {
        let mut future = MaybeUninit::<RawForeignFuture>::uninit();
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, REPORT_MAX, |out, outcome| {
            let call = Arc::as_ptr(facts).cast::<c_void>();
            let params = Slice::of(params);
            // SAFETY: as in `call`; the plugin retains what it keeps of `facts`.
            unsafe {
                self.root.begin()(self.instance, method, call, params, future.as_mut_ptr(), out, outcome);
            }
        });
        match CallEnd::read(&written, &mut buffer) {
            // SAFETY: on `Done` the plugin has written the future, and it is ours alone.
            CallEnd::Done => Ok(PluginFuture(unsafe { Imported::new(future.assume_init()) })),
            ended => Err(ended),
        }
    }

    /// Tries the instance out.
    ///
    /// # Errors
    /// What it said, or panicked with.
    pub fn self_test(&self) -> Result<(), StartFailure> {
        self.report(|out, outcome| {
            // SAFETY: a started instance and its own function; all pointers are good for the call.
            unsafe { self.root.self_test()(self.instance, out, outcome) }
        })
    }

    /// The state for a successor. No other call may run that the plugin's author was told would not.
    ///
    /// # Errors
    /// What it said, or panicked with; also more than [`STATE_MAX`] bytes.
    pub fn hand_over(&self) -> Result<Vec<u8>, StartFailure> {
        let mut state = Vec::new();
        let written = lend(&mut state, STATE_MAX, |out, outcome| {
            // SAFETY: as in `self_test`.
            unsafe { self.root.hand_over()(self.instance, out, outcome) }
        });
        failure_of(CallEnd::read(&written, &mut state)).map(|()| state)
    }

    /// Takes a predecessor's state, in its layout `schema`.
    ///
    /// # Errors
    /// What it said, or panicked with.
    pub fn take_over(&self, schema: u32, state: &[u8]) -> Result<(), StartFailure> {
        self.report(|out, outcome| {
            // SAFETY: as in `self_test`.
            unsafe { self.root.take_over()(self.instance, schema, Slice::of(state), out, outcome) }
        })
    }

    fn report(&self, body: impl FnOnce(*mut Sink, *mut RawOutcome)) -> Result<(), StartFailure> {
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, REPORT_MAX, body);
        failure_of(CallEnd::read(&written, &mut buffer))
    }

    /// Stops the instance: the plugin's `stop`, then its `Drop`. No future of it may be left.
    ///
    /// # Errors
    /// The text of a panic on the way; the instance is gone all the same.
    pub fn stop(self) -> Result<(), String> {
        let mut buffer = Vec::new();
        let written = lend(&mut buffer, REPORT_MAX, |out, outcome| {
            // SAFETY: a started instance, stopped once: `self` is consumed.
            unsafe { self.root.stop()(self.instance, out, outcome) }
        });
        match CallEnd::read(&written, &mut buffer) {
            CallEnd::Panicked(text) => Err(text),
            CallEnd::Done | CallEnd::Failed { .. } => Ok(()),
        }
    }
}

/// What the plugin said when it did not do what the host asked of it.
fn failure_of(end: CallEnd) -> Result<(), StartFailure> {
    match end {
        CallEnd::Done => Ok(()),
        CallEnd::Failed { message, .. } => Err(StartFailure::Refused(message)),
        CallEnd::Panicked(text) => Err(StartFailure::Panicked(text)),
    }
}

/// The symbol as `dlsym` takes it.
#[must_use]
pub fn root_symbol() -> &'static CStr {
    CStr::from_bytes_until_nul(super::ROOT_SYMBOL.as_bytes()).unwrap_or(c"")
}
