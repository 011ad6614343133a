//! The ABI between host and plugin: the only module that names `abi_stable`, and the only one of
//! this crate with `unsafe` code.
//!
//! Only bytes, numbers, function pointers and opaque handles cross the ABI. Memory never changes
//! its owner: each side frees what it allocated, because a value that the other side drops carries
//! a vtable or an allocator that may already be unmapped.
#![allow(unsafe_code, reason = "the ABI: raw pointers across a C boundary, each use with its reason")]

mod c_host;
mod c_table;
mod call_context;
mod call_end;
mod call_facts;
mod call_queries;
mod cancellation;
#[cfg(test)]
mod earlier_host;
mod entries;
mod entry;
mod future;
mod handles;
mod instance;
pub mod keys;
mod lifecycle_error;
mod local_entry;
mod root;
mod services;
mod sink;
mod types;
mod unwind;

pub use c_table::C_SYMBOL;
pub use call_context::{
    CallContext, CallOutput, CallerFacts, CallerRef, Content, Credentials, Origin, OutgoingCall, TraceFacts,
};
pub use call_end::{CallEnd, ProcessEnd};
pub use call_facts::{CallFacts, RequestId};
pub use cancellation::{CancelListener, Cancellation};
pub use entry::Entry;
pub use future::{Fetch, PluginFuture};
pub(crate) use handles::{CallHandle, HostHandle};
pub use instance::Instance;
#[allow(deprecated, reason = "an alias until version 1.0")]
pub use instance::StartFailure;
pub use lifecycle_error::LifecycleError;
pub use root::{ROOT_SYMBOL, Root, RootError, root_symbol};
pub use services::{CallReply, HostCell, ReplyFuture, Services, SleepFuture};
pub use sink::Out;
pub use types::{PluginRoot, PluginRootRef, Status};

pub use crate::failure_text::{INTERNAL_ERROR_LINE, PANIC_LINE};

/// Items that the export macro needs by path. Plugin authors do not use them.
#[doc(hidden)]
pub mod export {
    pub use super::entry::constructor;
    pub use abi_stable::library::{CheckTypeLayout, LibHeader};

    /// Creates the static in which a host finds the root module of a plugin.
    ///
    /// # Safety
    ///
    /// As for [`LibHeader::from_constructor`]; `Entry` meets its requirements.
    #[must_use]
    pub const fn header<S: crate::Exported>() -> LibHeader {
        // SAFETY: `constructor` returns exactly the erased prefix reference of `PluginRootRef`.
        unsafe {
            LibHeader::from_constructor::<super::types::PluginRootRef>(constructor::<S>, CheckTypeLayout::Yes)
        }
    }
}
