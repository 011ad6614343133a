//! The table of a plugin in C, as `include/jackfield_plugin.h` declares it.
//!
//! It begins with its size and the number of the ABI. Functions are only appended, and one is used
//! only if the size covers it.

use std::ffi::{CStr, c_void};
use std::mem::{MaybeUninit, offset_of, size_of};

use super::c_host::ABI;
use super::entries::{
    Begin, Call, Describe, Entries, ImportState, Manifest, Phase, ReportKeys, Start, StartC,
};

/// The symbol under which a plugin in C exports the function that returns its table.
pub const C_SYMBOL: &CStr = c"jackfield_c_plugin";

/// The functions of a plugin, in the order of the header. A null pointer is `None`.
#[repr(C)]
struct CPluginTable {
    size: usize,
    abi: u32,
    manifest: Option<Manifest>,
    start: Option<StartC>,
    call: Option<Call>,
    begin: Option<Begin>,
    self_test: Option<Phase>,
    export_state: Option<Phase>,
    import_state: Option<ImportState>,
    thread_keys: Option<ReportKeys>,
    stop: Option<Phase>,
    describe: Option<Describe>,
}

/// The size of the first version of the table, which every plugin has.
const FIRST_SIZE: usize = offset_of!(CPluginTable, describe) + size_of::<Option<Describe>>();

impl CPluginTable {
    /// Reads the table of a plugin. Functions that the plugin does not have are `None`.
    ///
    /// # Safety
    ///
    /// `symbol` must be the address of [`C_SYMBOL`] in a loaded library, and must have the type of
    /// the header.
    unsafe fn read(symbol: *const c_void) -> Result<Self, String> {
        // SAFETY: guaranteed by the caller.
        let table = unsafe { std::mem::transmute::<*const c_void, extern "C" fn() -> *const Self>(symbol) };
        let table = table();
        if table.is_null() || !table.is_aligned() {
            return Err("the plugin returns no table".to_owned());
        }

        // SAFETY: every version of the table begins with both numbers.
        let (size, abi) = unsafe { ((&raw const (*table).size).read(), (&raw const (*table).abi).read()) };
        if abi != ABI {
            return Err(format!("the plugin has the C ABI {abi}, but this host has {ABI}"));
        }
        if size < FIRST_SIZE {
            return Err(format!(
                "its table has {size} bytes, but that of the C ABI {ABI} has at least {FIRST_SIZE}"
            ));
        }

        let mut read = MaybeUninit::<Self>::zeroed();
        // SAFETY: the table has `size` bytes, and both do not overlap. A function that is missing
        // stays null, which is `None`.
        unsafe {
            let length = size.min(size_of::<Self>());
            read.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(table.cast::<u8>(), length);
            Ok(read.assume_init())
        }
    }
}

/// Reads the functions of a plugin in C.
///
/// # Errors
///
/// The table has another version, or a function that is required is missing.
///
/// # Safety
///
/// As for [`CPluginTable::read`]. The library must stay loaded as long as the functions are used.
pub(super) unsafe fn entries(symbol: *const c_void) -> Result<Entries, String> {
    // SAFETY: guaranteed by the caller.
    let table = unsafe { CPluginTable::read(symbol) }?;
    let missing = |name: &str| format!("its function {name} is missing (NULL)");

    Ok(Entries {
        manifest: table.manifest.ok_or_else(|| missing("manifest"))?,
        start: Start::C(table.start.ok_or_else(|| missing("start"))?),
        call: table.call.ok_or_else(|| missing("call"))?,
        begin: table.begin.ok_or_else(|| missing("begin"))?,
        self_test: table.self_test.ok_or_else(|| missing("self_test"))?,
        export_state: table.export_state.ok_or_else(|| missing("export_state"))?,
        import_state: table.import_state.ok_or_else(|| missing("import_state"))?,
        thread_keys: table.thread_keys,
        stop: table.stop.ok_or_else(|| missing("stop"))?,
        describe: table.describe,
        #[cfg(feature = "__grown_abi")]
        later_entry: None,
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::super::c_host::CHostTable;
    use super::super::types::{BYTES, RawForeignFuture, RawForeignWaker, RawOutcome, Sink, Slice, Status};
    use super::*;
    use crate::{API_VERSION, C_HEADER, INTERNAL_ERROR, INVALID_PARAMS, Level};

    /// Adds assertions in C that a structure of the header has the size and the offsets of a Rust
    /// type.
    macro_rules! same {
        ($c:ident, $text:literal, $rust:ty: $($name:literal = $field:ident),+ $(,)?) => {
            let _ = writeln!($c, "_Static_assert(sizeof({}) == {}, {:?});", $text, size_of::<$rust>(), $text);
            $(
                let offset = offset_of!($rust, $field);
                let _ = writeln!($c, "_Static_assert(offsetof({}, {}) == {offset}, {:?});", $text, $name, $name);
            )+
        };
        ($c:ident, $text:literal, $rust:ty: $($field:ident),+ $(,)?) => {
            let _ = writeln!($c, "_Static_assert(sizeof({}) == {}, {:?});", $text, size_of::<$rust>(), $text);
            $(
                let (offset, name) = (offset_of!($rust, $field), stringify!($field));
                let _ = writeln!($c, "_Static_assert(offsetof({}, {name}) == {offset}, \"{name}\");", $text);
            )+
        };
    }

    fn assertions() -> String {
        let mut c = String::from("#include \"jackfield_plugin.h\"\n");
        same!(c, "jackfield_slice", Slice: ptr, len);
        same!(c, "jackfield_sink", Sink: ptr, len, cap, limit, owner, reserve);
        same!(c, "jackfield_outcome", RawOutcome: status, code, message_len);
        same!(c, "jackfield_waker", RawForeignWaker: task, clone, wake, release);
        same!(c, "jackfield_future", RawForeignFuture: state, poll, drop);
        same!(
            c, "jackfield_host_table", CHostTable: size, abi, retain, release, log_enabled, log, now, sleep, call,
            call_wait, call_retain, call_release, call_deadline, call_cancelled, call_id, call_content,
            call_caller, call_metadata, call_traceparent, call_tracestate, call_bytes, call_bytes_wait
        );
        same!(
            c, "jackfield_plugin_table", CPluginTable: size, abi, manifest, start, call, begin, self_test,
            export_state, import_state, thread_keys, stop, describe
        );

        let constants = [
            ("JACKFIELD_ABI", i64::from(ABI)),
            ("JACKFIELD_DONE", Status::Done as i64),
            ("JACKFIELD_FAILED", Status::Failed as i64),
            ("JACKFIELD_PANICKED", Status::Panicked as i64),
            ("JACKFIELD_PENDING", Status::Pending as i64),
            ("JACKFIELD_BYTES", BYTES),
            ("JACKFIELD_INVALID_PARAMS", INVALID_PARAMS),
            ("JACKFIELD_INTERNAL_ERROR", INTERNAL_ERROR),
            ("JACKFIELD_ERROR", Level::Error as i64),
            ("JACKFIELD_TRACE", Level::Trace as i64),
        ];
        for (name, value) in constants {
            let _ = writeln!(c, "_Static_assert({name} == {value}, \"{name}\");");
        }
        if cfg!(not(feature = "__grown_abi")) {
            let size = API_VERSION.len() + 1;
            let _ = writeln!(c, "_Static_assert(sizeof(JACKFIELD_API_VERSION) == {size}, \"\");");
            assert!(C_HEADER.contains(&format!("#define JACKFIELD_API_VERSION \"{API_VERSION}\"")));
        }
        c
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri starts no processes")]
    fn has_the_layout_and_the_constants_of_the_header() {
        let include = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
        let mut compiler = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I", include])
            .args(["-x", "c", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a C compiler");
        compiler.stdin.take().unwrap().write_all(assertions().as_bytes()).unwrap();
        assert!(compiler.wait().unwrap().success(), "the compiler names what differs");
    }

    #[test]
    fn refuses_tables_of_other_versions_and_without_required_functions() {
        static NONE: CPluginTable = CPluginTable {
            size: size_of::<CPluginTable>(),
            abi: ABI,
            manifest: None,
            start: None,
            call: None,
            begin: None,
            self_test: None,
            export_state: None,
            import_state: None,
            thread_keys: None,
            stop: None,
            describe: None,
        };
        static SMALL: CPluginTable = CPluginTable { size: FIRST_SIZE - 1, ..NONE };
        static OTHER: CPluginTable = CPluginTable { abi: 9, ..NONE };
        extern "C" fn none() -> *const CPluginTable {
            &raw const NONE
        }
        extern "C" fn small() -> *const CPluginTable {
            &raw const SMALL
        }
        extern "C" fn other() -> *const CPluginTable {
            &raw const OTHER
        }
        extern "C" fn null() -> *const CPluginTable {
            std::ptr::null()
        }

        for (table, fault) in [
            (none as extern "C" fn() -> *const CPluginTable, "manifest is missing"),
            (small, "bytes, but"),
            (other, "C ABI 9"),
            (null, "no table"),
        ] {
            // SAFETY: the functions have the type of the header.
            let refused = unsafe { entries(table as *const c_void) };
            let refused = refused.err().expect(fault);
            assert!(refused.contains(fault), "{refused}");
        }
    }
}
