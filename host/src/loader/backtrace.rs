//! Backtraces of panics: the calls of plugin code on the stack of this thread, as one line of text.
//!
//! They are made only if the environment variable `RUST_BACKTRACE` was set, to another value than
//! 0, when the first plugin was loaded. The panic hook of a plugin calls [`append_to`] through the
//! log service of the host, so the stack is that of the panic.
//!
//! The standard library of the plugin cannot make the text. To find the names of functions, it
//! reads the debug information of the whole stack (45 MB for a debug build of the host), and it
//! maps the files. Nothing unmaps and frees that when the code of the plugin is closed. This module
//! reads only the symbols of the plugin, from its memory file, and keeps nothing.
#![allow(unsafe_code, reason = "the unwinder calls a function with pointers, each use with its reason")]

use std::borrow::Cow;
use std::ffi::{c_int, c_void};
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::LazyLock;

use object::LittleEndian as Le;
use object::elf::{FileHeader64, STT_FUNC};
use object::read::ReadCache;
use object::read::elf::{ElfFile, Sym};
use object::{Object, ObjectSegment};

use super::memory_map::{self, FileIdentity};
use crate::sync::lock;

/// Upper bound for the calls that are read from a stack.
const MAX_CALLS: usize = 128;

/// Upper bound for the text, in bytes. With the text of the panic, which has at most 1 KiB, it fits
/// in a line of the log.
const MAX_TEXT: usize = 4096;

/// Functions of a plugin between the one that panics and the host.
const OF_PANICS: [&str; 3] = ["__rustc::rust_begin_unwind", "std::panicking::", "core::panicking::"];

/// The functions of a plugin that call the author's: those of the API, and the start of a thread.
const CALLERS: [&str; 2] = ["jackfield_plugin_api::", "std::sys::backtrace::__rust_begin_short_backtrace"];

/// The API implements these traits for the functions of authors. They implement its other traits.
const METHOD_TRAITS: &str = " as jackfield_plugin_api::handler::";

/// Separates the text of a panic from its backtrace.
pub(crate) const SEPARATOR: &str = "; backtrace: ";

static IS_WANTED: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0"));

/// The code of the plugins that are open.
static OPEN: std::sync::Mutex<Vec<OpenCode>> = std::sync::Mutex::new(Vec::new());

/// The code of one plugin.
struct OpenCode {
    identity: FileIdentity,
    addresses: Range<usize>,
    file: File,
}

/// Makes the symbols of an open library available to [`append_to`], if backtraces are wanted.
///
/// # Errors
///
/// The mappings of the process cannot be read, or no descriptor is left.
pub(super) fn register(identity: FileIdentity, file: impl AsFd) -> io::Result<()> {
    if !*IS_WANTED {
        return Ok(());
    }
    let file = File::from(file.as_fd().try_clone_to_owned()?);
    if let Some(addresses) = memory_map::addresses_of(identity)? {
        lock(&OPEN).push(OpenCode { identity, addresses, file });
    }
    Ok(())
}

/// Ends what [`register`] began, before the library is closed.
pub(super) fn unregister(identity: FileIdentity) {
    if *IS_WANTED {
        lock(&OPEN).retain(|code| code.identity != identity);
    }
}

/// Appends the backtrace to the line of a panic, if backtraces are wanted. It runs on the thread
/// that panics, before the stack unwinds.
pub(crate) fn append_to(line: &str) -> Cow<'_, str> {
    let calls = if *IS_WANTED { calls() } else { None };
    calls.map_or(line.into(), |calls| format!("{line}{SEPARATOR}{calls}").into())
}

/// Returns the calls of plugin code on the stack of this thread, the last one first, unless there
/// are none.
fn calls() -> Option<String> {
    let addresses = return_addresses();
    let open = lock(&OPEN);

    // Host code of the log service comes first, and host code that called the plugin follows.
    let (first, code) = addresses.iter().enumerate().find_map(|(index, address)| {
        open.iter().find(|code| code.addresses.contains(address)).map(|code| (index, code))
    })?;
    let of_plugin: Vec<_> =
        addresses[first..].iter().copied().take_while(|address| code.addresses.contains(address)).collect();
    let frames = frames_of(code, &of_plugin)?;
    drop(open);

    Some(text_of(&frames)).filter(|text| !text.is_empty())
}

/// Returns an address inside of each call on the stack of this thread, the last call first.
fn return_addresses() -> Vec<usize> {
    // Of libgcc, which the standard library links for panics (Itanium C++ ABI, exception handling).
    unsafe extern "C" {
        fn _Unwind_Backtrace(
            step: unsafe extern "C" fn(context: *mut c_void, addresses: *mut c_void) -> c_int,
            addresses: *mut c_void,
        ) -> c_int;
        fn _Unwind_GetIP(context: *mut c_void) -> usize;
    }

    /// Stores the address of one call. Returns `_URC_NO_REASON` (0) to continue.
    unsafe extern "C" fn step(context: *mut c_void, addresses: *mut c_void) -> c_int {
        const URC_END_OF_STACK: c_int = 5;
        // SAFETY: it is the vector that `return_addresses` passes, which nothing else uses.
        let addresses = unsafe { &mut *addresses.cast::<Vec<usize>>() };
        if addresses.len() == MAX_CALLS {
            return URC_END_OF_STACK;
        }
        // SAFETY: the unwinder passes its context for this call.
        let return_address = unsafe { _Unwind_GetIP(context) };
        // The instruction before it is the call. A function that ends with a call returns to an
        // address behind its end.
        addresses.push(return_address.saturating_sub(1));
        0
    }

    // Nothing allocates while the unwinder runs.
    let mut addresses: Vec<usize> = Vec::with_capacity(MAX_CALLS);
    // SAFETY: `step` fits the type that the unwinder calls, and the vector outlives the call.
    unsafe { _Unwind_Backtrace(step, std::ptr::from_mut(&mut addresses).cast()) };
    addresses
}

/// A call in the code of a plugin.
#[derive(Debug, PartialEq)]
struct Frame {
    /// The address of the call in the file.
    address: u64,
    /// The name of the function, if the file has it.
    function: Option<String>,
}

impl Frame {
    fn is_of(&self, functions: &[&str]) -> bool {
        // The functions of types and traits are written as `<TYPE>::NAME` and
        // `<TYPE as TRAIT>::NAME`.
        let path = self.function.as_ref().map(|function| function.trim_start_matches('<'));
        path.is_some_and(|path| functions.iter().any(|start| path.starts_with(start)))
    }

    /// Returns whether the function has called the author's, or a function that has.
    fn is_caller(&self) -> bool {
        let is_method = |function: &String| function.contains(METHOD_TRAITS);
        self.is_of(&CALLERS) || self.function.as_ref().is_some_and(is_method)
    }
}

/// Looks the addresses up in the symbols of the file.
fn frames_of(code: &OpenCode, addresses: &[usize]) -> Option<Vec<Frame>> {
    let data = ReadCache::new(&code.file);
    let elf = ElfFile::<FileHeader64<Le>, _>::parse(&data).ok()?;
    let base = elf.segments().map(|segment| segment.address()).min()?;
    let address_in_file = |address: &usize| (address - code.addresses.start) as u64 + base;
    let mut frames: Vec<Frame> =
        addresses.iter().map(|address| Frame { address: address_in_file(address), function: None }).collect();

    let symbols = elf.elf_symbol_table();
    for symbol in symbols.iter().filter(|symbol| symbol.st_type() == STT_FUNC) {
        let start = symbol.st_value.get(Le);
        let range = start..start.saturating_add(symbol.st_size.get(Le));
        for frame in frames.iter_mut().filter(|frame| range.contains(&frame.address)) {
            let name = symbol.name(Le, symbols.strings()).ok()?;
            frame.function = Some(format!("{:#}", rustc_demangle::demangle(&String::from_utf8_lossy(name))));
        }
    }
    Some(frames)
}

/// Writes the calls of the author's functions. Calls without a name are written as well, because
/// `addr2line` can find their places.
fn text_of(frames: &[Frame]) -> String {
    // The functions of the hook come before this one.
    let panicked = frames.iter().position(|frame| frame.is_of(&["__rustc::rust_begin_unwind"]));
    let of_author = frames[panicked.unwrap_or(0)..]
        .iter()
        .skip_while(|frame| frame.is_of(&OF_PANICS))
        .take_while(|frame| !frame.is_caller())
        .filter(|frame| !frame.is_of(&["core::ops::function::"]));

    let mut text = String::new();
    for Frame { address, function } in of_author {
        let separator = if text.is_empty() { "" } else { " < " };
        // Writing to a string does not fail.
        let _ = match function {
            Some(function) => write!(text, "{separator}{function} ({address:#x})"),
            None => write!(text, "{separator}{address:#x}"),
        };
    }
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(functions: &[&str]) -> Vec<Frame> {
        let frame = |(address, name): (u64, &&str)| Frame {
            address,
            function: (!name.is_empty()).then(|| (*name).to_owned()),
        };
        (0x10..).zip(functions).map(frame).collect()
    }

    #[test]
    fn keeps_the_calls_of_the_author() {
        let frames = frames(&[
            "jackfield_plugin_api::panic_hook::install::{{closure}}",
            "std::panicking::panic_with_hook",
            "__rustc::rust_begin_unwind",
            "core::panicking::panic_fmt",
            "core::result::unwrap_failed",
            "<weather::Reading as core::convert::From<u8>>::from",
            "",
            "core::ops::function::Fn::call",
            "<F as jackfield_plugin_api::handler::Direct<S,(P,R,E)>>::run",
            "std::panicking::catch_unwind",
            "weather::not_reached",
        ]);
        let expected = "core::result::unwrap_failed (0x14) < \
                        <weather::Reading as core::convert::From<u8>>::from (0x15) < 0x16";
        assert_eq!(text_of(&frames), expected);
    }

    #[test]
    fn ends_at_the_start_of_a_thread() {
        let frames = frames(&[
            "core::panicking::panic",
            "<weather::Weather as jackfield_plugin_api::plugin::Plugin>::stop",
            "weather::poll",
            "std::sys::backtrace::__rust_begin_short_backtrace",
            "core::ops::function::FnOnce::call_once",
        ]);
        assert_eq!(
            text_of(&frames),
            "<weather::Weather as jackfield_plugin_api::plugin::Plugin>::stop (0x11) < weather::poll (0x12)"
        );
    }

    #[test]
    fn cuts_a_deep_backtrace() {
        let text = text_of(&frames(&["weather::ünder"; 1000]));
        assert!((MAX_TEXT - 1..=MAX_TEXT).contains(&text.len()));
    }

    #[test]
    fn finds_the_functions_of_this_program() {
        let file = File::open("/proc/self/exe").unwrap();
        let identity = FileIdentity::of(&file).unwrap();
        let addresses = memory_map::addresses_of(identity).unwrap().unwrap();
        let found = return_addresses();
        let of_program: Vec<_> = found.into_iter().filter(|address| addresses.contains(address)).collect();

        let frames = frames_of(&OpenCode { identity, addresses, file }, &of_program).unwrap();

        let name = "finds_the_functions_of_this_program";
        assert!(frames.iter().any(|f| f.function.as_ref().is_some_and(|n| n.contains(name))), "{frames:?}");
    }
}
