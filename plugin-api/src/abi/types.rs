//! The types that cross: `repr(C)`, their layout compared by abi_stable before any of them is used.
//!
//! Both tables are prefix types: a later version may append fields behind the last one, and a host that is newer
//! than a plugin (or older) sees the ones both know.

use std::ffi::c_void;

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;

/// Bytes lent for the length of one call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Slice {
    pub(super) ptr: *const u8,
    pub(super) len: usize,
}

/// A growing buffer of the host's that the plugin writes its answer into.
///
/// The plugin appends up to `cap` by itself and calls `reserve` for more; the allocator stays the host's.
#[repr(C)]
#[derive(StableAbi)]
pub struct Sink {
    pub(super) ptr: *mut u8,
    pub(super) len: usize,
    pub(super) cap: usize,
    /// `len` may not pass this; `reserve` refuses what would.
    pub(super) limit: usize,
    pub(super) owner: *mut c_void,
    /// Makes room for `additional` more bytes; `false` when that would pass the limit.
    pub(super) reserve: unsafe extern "C" fn(sink: *mut Sink, additional: usize) -> bool,
}

/// How a call into a plugin ended.
#[repr(u8)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The sink holds the result as one JSON document.
    Done,
    /// The sink holds an error: `message_len` bytes of message, then its `data` as JSON, which may be empty.
    Failed,
    /// The plugin panicked; the sink holds the panic's text, for logs only.
    Panicked,
    /// A future that is not ready; the sink is empty.
    Pending,
}

/// The end of one call: a status and, for an error, its code and where its message ends in the sink.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct RawOutcome {
    pub(super) status: Status,
    pub(super) code: i64,
    pub(super) message_len: usize,
}

/// The right to wake a task on the other side.
#[repr(C)]
#[derive(StableAbi)]
pub(super) struct RawForeignWaker {
    pub(super) task: *const c_void,
    pub(super) clone: unsafe extern "C" fn(task: *const c_void) -> RawForeignWaker,
    pub(super) wake: unsafe extern "C" fn(task: *const c_void),
    pub(super) release: unsafe extern "C" fn(task: *const c_void),
}

/// A future on the other side. Dropping it cancels it.
#[repr(C)]
#[derive(StableAbi)]
pub struct RawForeignFuture {
    pub(super) state: *mut c_void,
    pub(super) poll: unsafe extern "C" fn(
        state: *mut c_void,
        waker: *const RawForeignWaker,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    pub(super) drop: unsafe extern "C" fn(state: *mut c_void),
}

/// What the host offers to a plugin. `host` is the handle given to `start`; `call` the one of the running call.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostTableRef)))]
#[sabi(missing_field(panic))]
pub struct HostTable {
    /// One more holder of `host`.
    pub retain: unsafe extern "C" fn(host: *const c_void),
    /// One holder of `host` less.
    pub release: unsafe extern "C" fn(host: *const c_void),
    /// Whether a line of `level` would be written.
    pub log_enabled: unsafe extern "C" fn(host: *const c_void, level: u8) -> bool,
    /// Writes one line to the host's log.
    pub log: unsafe extern "C" fn(host: *const c_void, level: u8, text: Slice),
    /// Nanoseconds on the host's monotonic clock.
    pub now: unsafe extern "C" fn(host: *const c_void) -> u64,
    /// A future that is ready once the monotonic clock reads `until`.
    pub sleep: unsafe extern "C" fn(host: *const c_void, until: u64) -> RawForeignFuture,
    /// Calls another method; the future ends with its outcome.
    pub call: unsafe extern "C" fn(
        host: *const c_void,
        parent: *const c_void,
        method: Slice,
        params: Slice,
        timeout: u64,
    ) -> RawForeignFuture,
    /// Calls another method and waits on this thread.
    pub call_wait: unsafe extern "C" fn(
        host: *const c_void,
        parent: *const c_void,
        method: Slice,
        params: Slice,
        timeout: u64,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    /// One more holder of `call`.
    pub call_retain: unsafe extern "C" fn(call: *const c_void),
    /// One holder of `call` less.
    pub call_release: unsafe extern "C" fn(call: *const c_void),
    /// The instant by which `call` must be answered, in nanoseconds of the monotonic clock.
    pub call_deadline: unsafe extern "C" fn(call: *const c_void) -> u64,
    /// Whether nobody waits for `call` any more.
    pub call_cancelled: unsafe extern "C" fn(call: *const c_void) -> bool,
    /// The request's id as text.
    #[sabi(last_prefix_field)]
    pub call_id: unsafe extern "C" fn(call: *const c_void) -> Slice,
}

/// What a plugin offers to the host.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRootRef)))]
#[sabi(missing_field(panic))]
pub struct PluginRoot {
    /// The manifest as JSON, the same bytes as in the file's note.
    pub manifest: extern "C" fn() -> Slice,
    /// Makes an instance. On `Done` the instance is written; else the sink says why.
    pub start: unsafe extern "C" fn(
        table: HostTableRef,
        host: *const c_void,
        settings: Slice,
        instance: *mut *const c_void,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    /// Runs method number `method` to its end on this thread.
    pub call: unsafe extern "C" fn(
        instance: *const c_void,
        method: u32,
        call: *const c_void,
        params: Slice,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    /// Begins an `async` method. On `Done` the future is written; else the sink says why.
    pub begin: unsafe extern "C" fn(
        instance: *const c_void,
        method: u32,
        call: *const c_void,
        params: Slice,
        future: *mut RawForeignFuture,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    /// Tries the instance out, in a probe.
    pub self_test: unsafe extern "C" fn(instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome),
    /// Writes the state for a successor into the sink.
    pub hand_over: unsafe extern "C" fn(instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome),
    /// Takes the state of a predecessor.
    pub take_over: unsafe extern "C" fn(
        instance: *const c_void,
        schema: u32,
        state: Slice,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    /// Writes at most `most` keys for thread-local values, which the code's own standard library has taken, and
    /// returns how many; called on a thread that has run nothing of the plugin.
    pub thread_keys: unsafe extern "C" fn(keys: *mut u32, most: usize) -> usize,
    /// Stops the instance and frees it; no other call may follow.
    #[sabi(last_prefix_field)]
    pub stop: unsafe extern "C" fn(instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome),
}

impl RootModule for PluginRootRef {
    abi_stable::declare_root_module_statics! {PluginRootRef}
    const BASE_NAME: &'static str = "jackfield_plugin";
    const NAME: &'static str = "jackfield plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

impl Slice {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes behind it.
    ///
    /// # Safety
    /// They must live, unchanged, for `'a`.
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the caller's promise; the length came with the pointer from `of`.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl RawOutcome {
    pub(super) const DONE: Self = Self { status: Status::Done, code: 0, message_len: 0 };
    pub(super) const PENDING: Self = Self { status: Status::Pending, code: 0, message_len: 0 };
    pub(super) const PANICKED: Self = Self { status: Status::Panicked, code: 0, message_len: 0 };
}
