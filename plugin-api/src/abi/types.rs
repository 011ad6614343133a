//! The types that cross the ABI. They are `repr(C)`, and abi_stable compares their layout before
//! use.
//!
//! abi_stable also compares the names of types and fields. A changed name makes a host refuse every
//! plugin that was built before. The names therefore stay as they are, even where the rest of the
//! code uses another term (`hand_over` is `export_state`, `take_over` is `import_state`).
//!
//! Both tables are prefix types. A later version of the API may append fields after the last one;
//! no other type here can change within a series. How the tables grow:
//!
//! - A field that is appended is optional: its accessor returns `None` if the other side was built
//!   without it, because of `missing_field(option)`. The fields up to `last_prefix_field` always
//!   exist, so that attribute stays where it is.
//! - The tables grow only together with the version of the API (a test has the list), so that of
//!   two versions the later one has at least the fields of the earlier one in both tables. The
//!   layout check relies on this: see [`Root::from_symbol`](super::Root::from_symbol).

use std::ffi::c_void;

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;

use crate::API_VERSION;

/// Bytes that are lent for one call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Slice {
    pub(super) ptr: *const u8,
    pub(super) len: usize,
}

/// A growing buffer that its owner lends to the other side for the output of a call.
///
/// The other side appends up to `cap` and calls `reserve` for more room, so that the owner's
/// allocator is used.
#[repr(C)]
#[derive(StableAbi)]
pub struct Sink {
    pub(super) ptr: *mut u8,
    pub(super) len: usize,
    /// The lent capacity, at most `limit`.
    pub(super) cap: usize,
    /// The upper bound of `len`; `reserve` refuses to exceed it.
    pub(super) limit: usize,
    pub(super) owner: *mut c_void,
    /// Makes room for `additional` more bytes, or returns `false` if they would exceed the limit.
    pub(super) reserve: unsafe extern "C" fn(sink: *mut Sink, additional: usize) -> bool,
}

/// How a call into a plugin ended.
#[repr(u8)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The sink holds the result: one JSON document, or opaque bytes if the code says so.
    Done,
    /// The sink holds an error: `message_len` bytes of message, then its `data` as JSON, which may
    /// be empty.
    Failed,
    /// The plugin panicked. The sink holds the text of the panic, for logs only.
    Panicked,
    /// The future is not ready. The sink is empty.
    Pending,
}

impl Status {
    /// Returns the status of a number that the other side has written; `None` if there is none.
    #[inline]
    pub(super) fn from_number(number: u8) -> Option<Self> {
        const DONE: u8 = Status::Done as u8;
        const FAILED: u8 = Status::Failed as u8;
        const PANICKED: u8 = Status::Panicked as u8;
        const PENDING: u8 = Status::Pending as u8;
        match number {
            DONE => Some(Self::Done),
            FAILED => Some(Self::Failed),
            PANICKED => Some(Self::Panicked),
            PENDING => Some(Self::Pending),
            _ => None,
        }
    }
}

/// The end of one call: a status and, for an error, its code and the length of its message in the
/// sink.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct RawOutcome {
    pub(super) status: Status,
    pub(super) code: i64,
    pub(super) message_len: usize,
}

/// A waker of a task on the other side.
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

/// The functions that the host offers to a plugin. `host` is the handle that was passed to `start`,
/// and `call` or `parent` that of the running call.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostTableRef)))]
#[sabi(missing_field(option))]
pub struct HostTable {
    /// Increments the reference count of the host.
    pub retain: unsafe extern "C" fn(host: *const c_void),
    /// Decrements the reference count of the host.
    pub release: unsafe extern "C" fn(host: *const c_void),
    /// Returns whether a line at `level` would be written.
    pub log_enabled: unsafe extern "C" fn(host: *const c_void, level: u8) -> bool,
    /// Writes one line to the host's log.
    pub log: unsafe extern "C" fn(host: *const c_void, level: u8, text: Slice),
    /// Returns the time on the host's monotonic clock, in nanoseconds.
    pub now: unsafe extern "C" fn(host: *const c_void) -> u64,
    /// Returns a future that is ready once the monotonic clock reads `until`, in nanoseconds.
    pub sleep: unsafe extern "C" fn(host: *const c_void, until: u64) -> RawForeignFuture,
    /// Calls another method. The future ends with its outcome. `timeout` is in nanoseconds; 0
    /// stands for no time-out of its own.
    pub call: unsafe extern "C" fn(
        host: *const c_void,
        parent: *const c_void,
        method: Slice,
        params: Slice,
        timeout: u64,
    ) -> RawForeignFuture,
    /// Calls another method and blocks this thread until it has replied. `timeout` is as for
    /// `call`.
    pub call_wait: unsafe extern "C" fn(
        host: *const c_void,
        parent: *const c_void,
        method: Slice,
        params: Slice,
        timeout: u64,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    /// Increments the reference count of `call`.
    pub call_retain: unsafe extern "C" fn(call: *const c_void),
    /// Decrements the reference count of `call`.
    pub call_release: unsafe extern "C" fn(call: *const c_void),
    /// Returns the deadline of `call`, in nanoseconds of the monotonic clock.
    pub call_deadline: unsafe extern "C" fn(call: *const c_void) -> u64,
    /// Returns whether nobody waits for the reply to `call` any more.
    pub call_cancelled: unsafe extern "C" fn(call: *const c_void) -> bool,
    /// Returns the id of the request as text.
    #[sabi(last_prefix_field)]
    pub call_id: unsafe extern "C" fn(call: *const c_void) -> Slice,
    /// Returns what the params of `call` are: 0 for JSON, 3 for opaque bytes. A host with this
    /// function also accepts results that are opaque bytes. Since 0.1.1, as the following ones.
    pub call_content: unsafe extern "C" fn(call: *const c_void) -> u32,
    /// Returns the caller as JSON: see `CallerFacts::json`.
    pub call_caller: unsafe extern "C" fn(call: *const c_void) -> Slice,
    /// Returns the metadata of the request as a JSON object with strings, or nothing.
    pub call_metadata: unsafe extern "C" fn(call: *const c_void) -> Slice,
    /// Returns `traceparent` for what the method calls, or nothing.
    pub call_traceparent: unsafe extern "C" fn(call: *const c_void) -> Slice,
    /// Returns `tracestate` as the client sent it, or nothing.
    pub call_tracestate: unsafe extern "C" fn(call: *const c_void) -> Slice,
    /// As `call`, but the params are opaque bytes.
    pub call_bytes: unsafe extern "C" fn(
        host: *const c_void,
        parent: *const c_void,
        method: Slice,
        params: Slice,
        timeout: u64,
    ) -> RawForeignFuture,
    /// As `call_wait`, but the params are opaque bytes.
    pub call_bytes_wait: unsafe extern "C" fn(
        host: *const c_void,
        parent: *const c_void,
        method: Slice,
        params: Slice,
        timeout: u64,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    /// Returns a number. Only in the test build whose tables have one more field.
    #[cfg(feature = "__grown_abi")]
    pub later_service: unsafe extern "C" fn(host: *const c_void) -> u64,
}

/// The functions that a plugin offers to the host.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRootRef)))]
#[sabi(missing_field(option))]
pub struct PluginRoot {
    /// Returns the manifest as JSON, the same bytes as in the note of the file.
    pub manifest: extern "C" fn() -> Slice,
    /// Starts an instance. On `Done` the instance is written; otherwise the sink holds the reason.
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
    /// Begins an `async` method. On `Done` the future is written; otherwise the sink holds the
    /// reason.
    pub begin: unsafe extern "C" fn(
        instance: *const c_void,
        method: u32,
        call: *const c_void,
        params: Slice,
        future: *mut RawForeignFuture,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    /// Runs the self-test of the instance, in the probe process.
    pub self_test: unsafe extern "C" fn(instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome),
    /// Exports the state for a new instance into the sink.
    pub hand_over: unsafe extern "C" fn(instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome),
    /// Imports the state of another instance.
    pub take_over: unsafe extern "C" fn(
        instance: *const c_void,
        schema: u32,
        state: Slice,
        out: *mut Sink,
        outcome: *mut RawOutcome,
    ),
    /// Writes at most `most` keys for thread-local values, which the plugin's standard library has
    /// allocated, and returns their number. Called on a thread that has run no code of the plugin.
    pub thread_keys: unsafe extern "C" fn(keys: *mut u32, most: usize) -> usize,
    /// Stops the instance and frees it. No other call may follow.
    #[sabi(last_prefix_field)]
    pub stop: unsafe extern "C" fn(instance: *const c_void, out: *mut Sink, outcome: *mut RawOutcome),
    /// Writes one part of the description of method number `method`: JSON, or nothing if the method
    /// has no such part. It needs no instance. Since 0.1.2.
    pub describe: unsafe extern "C" fn(method: u32, part: u32, out: *mut Sink, outcome: *mut RawOutcome),
    /// Returns a number. Only in the test build whose tables have one more field.
    #[cfg(feature = "__grown_abi")]
    pub later_entry: extern "C" fn() -> u64,
}

impl RootModule for PluginRootRef {
    abi_stable::declare_root_module_statics! {PluginRootRef}
    const BASE_NAME: &'static str = "jackfield_plugin";
    const NAME: &'static str = "jackfield plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new(API_VERSION);
}

impl Slice {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// Returns the bytes.
    ///
    /// # Safety
    ///
    /// They must stay valid and unchanged during `'a`.
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: guaranteed by the caller; pointer and length come from `of`.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// The code of an outcome with the status `Done` whose result is opaque bytes. It is 0 for JSON.
/// Only a plugin whose host has `call_content` uses it: earlier hosts do not look at the code.
pub(super) const BYTES: i64 = 3;

impl RawOutcome {
    pub(super) const DONE_BYTES: Self = Self { status: Status::Done, code: BYTES, message_len: 0 };
    pub(super) const DONE: Self = Self { status: Status::Done, code: 0, message_len: 0 };
    pub(super) const PENDING: Self = Self { status: Status::Pending, code: 0, message_len: 0 };
    pub(super) const PANICKED: Self = Self { status: Status::Panicked, code: 0, message_len: 0 };
}

#[cfg(test)]
mod tests {
    use abi_stable::prefix_type::PrefixTypeTrait;

    use super::{HostTable, PluginRoot};
    use crate::api_version::ApiVersion;

    /// The versions of the API that changed the tables, with the number of fields of `HostTable`
    /// and of `PluginRoot`.
    const VERSIONS: &[(&str, usize, usize)] = &[
        ("0.1.0", 13, 9),
        ("0.1.1", 20, 9),
        ("0.1.2", 20, 10),
        #[cfg(feature = "__grown_abi")]
        ("0.1.999", 21, 11),
    ];

    #[test]
    fn grows_both_tables_only_with_the_version() {
        let (version, host_fields, root_fields) = VERSIONS[VERSIONS.len() - 1];
        let found =
            (HostTable::PT_LAYOUT.get_field_names().count(), PluginRoot::PT_LAYOUT.get_field_names().count());
        assert_eq!(found, (host_fields, root_fields), "raise the version of the API and add it to the list");
        assert!(ApiVersion::parse(version) <= ApiVersion::CURRENT);

        for pair in VERSIONS.windows(2) {
            let [(earlier, ..), (later, ..)] = [pair[0], pair[1]];
            assert!(ApiVersion::parse(earlier) < ApiVersion::parse(later), "{pair:?}");
            assert!(pair[0].1 <= pair[1].1 && pair[0].2 <= pair[1].2, "a field was removed: {pair:?}");
        }
    }
}
