//! The root module of a plugin as the host sees it: located by its symbol, and checked before use.

use std::ffi::{CStr, c_void};

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals};
use abi_stable::library::{AbiHeaderRef, RootModule};

use super::c_table;
use super::call_end::CallEnd;
use super::entries::Entries;
use super::entry::Entry;
use super::keys::ThreadKeys;
use super::lifecycle_error::{LifecycleError, into_result};
use super::sink::lend;
use super::types::PluginRootRef;
use crate::api_version::ApiVersion;
use crate::{Exported, Plugin};

/// The symbol under which a plugin exports its root module, with the final NUL that `dlsym` needs.
pub const ROOT_SYMBOL: &str = abi_stable::library::ROOT_MODULE_LOADER_NAME_WITH_NUL;

/// The reason why a root module cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootError {
    /// It was built with an `abi_stable` that this host cannot read.
    Header(String),
    /// It was built against another version of the plugin API.
    Version {
        /// The version that the plugin was built against.
        plugin: String,
        /// The version that this host was built with.
        host: &'static str,
    },
    /// The layout of the types that cross the ABI differs or is missing.
    Layout(String),
    /// The constructor of the module failed.
    Constructor(String),
    /// The table of a plugin in C cannot be used.
    Table(String),
}

impl std::fmt::Display for RootError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(why) => write!(f, "the ABI header of the plugin cannot be read: {why}"),
            Self::Version { plugin, host } => {
                write!(f, "the plugin was built against plugin API {plugin}, but this host supports {host}")
            }
            Self::Layout(why) => write!(f, "the layout of the plugin's ABI types differs: {why}"),
            Self::Table(why) => write!(f, "the function table of the plugin cannot be used: {why}"),
            Self::Constructor(why) => write!(f, "the root module of the plugin cannot be created: {why}"),
        }
    }
}

impl std::error::Error for RootError {}

/// The first API whose plugins know params that are opaque bytes.
const FIRST_WITH_BYTES: ApiVersion = ApiVersion::parse("0.1.1");

/// The root module of a plugin, with a checked layout.
#[derive(Clone, Copy)]
pub struct Root {
    pub(super) entries: Entries,
    /// Whether the plugin knows params that are opaque bytes.
    pub(super) knows_bytes: bool,
}

impl Root {
    /// Reads the root module at the address of [`ROOT_SYMBOL`].
    ///
    /// Within a series, the tables of the later version have all fields of the earlier one.
    /// abi_stable checks that one layout has all fields of another, so the layout of the earlier
    /// version must be contained in that of the later one, whichever side has it. Each side checks
    /// that a later field exists before it uses the field.
    ///
    /// The layout check uses state of its own, which is dropped before this function returns: the
    /// process-wide maps of abi_stable would keep pointers into a library that may be closed.
    ///
    /// # Errors
    ///
    /// The reason why the module cannot be used. Of the plugin's code, only its ABI checks and its
    /// constructor have run.
    ///
    /// # Safety
    ///
    /// `symbol` must be the address of that symbol in a loaded library. The library must stay
    /// loaded as long as the root, or anything created from it, is used.
    pub unsafe fn from_symbol(symbol: *const c_void) -> Result<Self, RootError> {
        if symbol.is_null() {
            return Err(RootError::Header("the symbol is null".into()));
        }
        // SAFETY: `AbiHeaderRef` is a transparent reference to the header at this symbol, which is
        // checked next.
        let header = unsafe { std::mem::transmute::<*const c_void, AbiHeaderRef>(symbol) };
        let header = header.upgrade().map_err(|error| RootError::Header(one_line(&error)))?;

        let plugin_version = header.version_strings().version;
        let host_version = PluginRootRef::VERSION_STRINGS.version;
        let built_with = ApiVersion::parse(plugin_version.as_str());
        if !built_with.is_same_series(ApiVersion::CURRENT) {
            return Err(RootError::Version {
                plugin: plugin_version.as_str().to_owned(),
                host: host_version.as_str(),
            });
        }

        let layout = header.layout().ok_or_else(|| RootError::Layout("the layout is missing".into()))?;
        let own_layout = <PluginRootRef as StableAbi>::LAYOUT;
        let (earlier, later) =
            if built_with <= ApiVersion::CURRENT { (layout, own_layout) } else { (own_layout, layout) };
        let globals = CheckingGlobals::new();
        check_layout_compatibility_with_globals(earlier, later, &globals)
            .map_err(|error| RootError::Layout(one_line(&error)))?;
        drop(globals);

        // SAFETY: the check above has shown that the layout is that of `PluginRootRef`, up to
        // fields after the prefix, which are checked when they are used.
        unsafe { header.unchecked_layout::<PluginRootRef>() }
            .map(|table| Self {
                entries: Entries::of_root(table),
                knows_bytes: built_with >= FIRST_WITH_BYTES,
            })
            .map_err(|error| RootError::Constructor(one_line(&error)))
    }

    /// Returns the root module of a plugin that is linked into this program.
    #[must_use]
    pub fn linked<S: Exported + Plugin>() -> Self {
        Self { entries: Entries::of_root(Entry::<S>::ROOT), knows_bytes: true }
    }

    /// Reads the table of a plugin in C at the address of [`C_SYMBOL`](super::C_SYMBOL).
    ///
    /// # Errors
    ///
    /// The reason why the table cannot be used. Of the plugin's code, only the function that
    /// returns it has run.
    ///
    /// # Safety
    ///
    /// As for [`Root::from_symbol`]. The symbol must have the type of `include/jackfield_plugin.h`.
    pub unsafe fn from_c_symbol(symbol: *const c_void) -> Result<Self, RootError> {
        // SAFETY: guaranteed by the caller.
        let entries = unsafe { c_table::entries(symbol) }.map_err(RootError::Table)?;
        Ok(Self { entries, knows_bytes: true })
    }

    /// Returns the manifest of the running code, as JSON.
    #[must_use]
    pub fn manifest(&self) -> Vec<u8> {
        // SAFETY: it is a static of the plugin, which stays loaded while the root is used. The
        // bytes are copied at once.
        unsafe { (self.entries.manifest)().bytes() }.to_vec()
    }

    /// Returns one part of the description of method number `method`, at most `limit` bytes: JSON,
    /// or nothing if there is no such part, or if the plugin was built before 0.1.2. It needs no
    /// instance.
    ///
    /// # Errors
    ///
    /// The plugin panicked, or the part does not fit.
    pub fn describe(&self, method: u32, part: u32, limit: usize) -> Result<Vec<u8>, LifecycleError> {
        let Some(describe) = self.entries.describe else { return Ok(Vec::new()) };
        let mut document = Vec::new();
        let written = lend(&mut document, limit, |out, outcome| {
            // SAFETY: the function belongs to the plugin, and both pointers are valid during the
            // call.
            unsafe { describe(method, part, out, outcome) }
        });
        into_result(CallEnd::read(&written, &mut document)).map(|()| document)
    }

    /// Returns the keys for thread-local values that the plugin's standard library has allocated.
    ///
    /// It must be called on a thread that has run no code of the plugin, and that thread must be
    /// joined before the code is closed.
    #[must_use]
    pub fn thread_keys(&self) -> ThreadKeys {
        self.entries.thread_keys.map_or_else(ThreadKeys::default, ThreadKeys::query)
    }

    /// Returns the result of the function that only later plugins have.
    #[cfg(feature = "__grown_abi")]
    #[must_use]
    pub fn later_entry(&self) -> Option<u64> {
        Some(self.entries.later_entry?())
    }

    /// Returns an address in the plugin's code, which identifies the mapping of the code.
    #[must_use]
    pub fn code_address(&self) -> usize {
        self.entries.call as usize
    }
}

/// Formats an error of abi_stable, which may have many lines, in one line of at most 400 bytes.
fn one_line(error: &dyn std::fmt::Display) -> String {
    const MAX_LENGTH: usize = 400;
    let mut text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    text.truncate(text.floor_char_boundary(MAX_LENGTH));
    text
}

/// Returns the symbol as `dlsym` takes it.
#[must_use]
pub fn root_symbol() -> &'static CStr {
    CStr::from_bytes_until_nul(ROOT_SYMBOL.as_bytes()).unwrap_or(c"")
}

#[cfg(test)]
mod tests {
    #[test]
    fn matches_the_symbol_of_the_export_macro() {
        assert_eq!(super::ROOT_SYMBOL.trim_end_matches('\0'), crate::__root_symbol!());
    }
}
