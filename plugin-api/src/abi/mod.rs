//! The boundary between host and plugin: the one place that names `abi_stable`, and the only `unsafe` room here.
//!
//! What crosses is bytes, numbers, function pointers and opaque handles. Nothing that owns memory crosses: each
//! side frees what it allocated, because a value dropped by the other side carries a vtable or an allocator that
//! may already be unmapped.
#![allow(unsafe_code, reason = "the ABI: raw pointers across a C boundary, each use with its reason")]

mod future;
mod guest;
mod handle;
pub mod keys;
mod load;
mod serve;
mod sink;
mod types;

pub use future::{Fetch, PluginFuture};
pub use guest::Entry;
pub(crate) use handle::{CallHandle, HostHandle};
pub(crate) use load::same_series;
pub use load::{CallEnd, Instance, Root, RootError, StartFailure, root_symbol};
pub use serve::{CallFacts, CallReply, HostCell, ReplyFuture, RequestId, Services, SleepFuture};
pub use sink::Out;
pub use types::{PluginRoot, PluginRootRef, Status};

/// What the export macro needs by path; not for authors.
#[doc(hidden)]
pub mod export {
    pub use super::guest::constructor;
    pub use abi_stable::library::{CheckTypeLayout, LibHeader};

    /// The static through which a host finds a plugin's root module.
    ///
    /// # Safety
    /// As for [`LibHeader::from_constructor`]; `Entry` keeps its terms.
    #[must_use]
    pub const fn header<S: crate::Exported>() -> LibHeader {
        // SAFETY: `constructor` returns exactly the erased prefix reference of `PluginRootRef`.
        unsafe {
            LibHeader::from_constructor::<super::types::PluginRootRef>(constructor::<S>, CheckTypeLayout::Yes)
        }
    }
}

/// The symbol under which a plugin exports its root module, with the ending NUL that `dlsym` wants.
pub const ROOT_SYMBOL: &str = abi_stable::library::ROOT_MODULE_LOADER_NAME_WITH_NUL;

#[cfg(test)]
mod tests {
    #[test]
    fn the_export_macro_spells_the_symbol_of_abi_stable() {
        assert_eq!(super::ROOT_SYMBOL.trim_end_matches('\0'), crate::__root_symbol!());
    }
}
