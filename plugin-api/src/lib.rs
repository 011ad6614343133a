//! The API of Jackfield plugins: a type, its methods, and one macro that exports them.
//!
//! ```
//! use jackfield_plugin_api::prelude::*;
//!
//! struct Hello;
//!
//! impl Plugin for Hello {
//!     fn start(_host: &Host) -> Result<Self, Error> {
//!         Ok(Hello)
//!     }
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Who {
//!     name: String,
//! }
//!
//! impl Hello {
//!     fn greet(&self, who: Who) -> Result<String, Error> {
//!         Ok(format!("hello, {}", who.name))
//!     }
//! }
//!
//! export_plugin!(Hello { inline "hello.greet" => greet });
//!
//! // A test needs neither a host nor a file:
//! use jackfield_plugin_api::testing::Harness;
//! use serde_json::json;
//!
//! let hello = Harness::<Hello>::start(json!({})).unwrap();
//! assert_eq!(hello.call("hello.greet", json!({"name": "Ada"})).unwrap(), "hello, Ada");
//! ```
//!
//! Each method has one of three run modes, which the macro takes before its name:
//!
//! | mode | runs on | for |
//! |---|---|---|
//! | `blocking` (default) | a thread of the plugin | waiting: files, databases, long computations |
//! | `inline` | the I/O thread of the connection | microseconds of work that never waits |
//! | `async` | the async thread of the plugin | many calls that wait for something |
//!
//! `threads` and `queue` of `[plugin.NAME]` limit the `blocking` calls. The first poll of an
//! `async` method may run on an I/O thread, so it must not block. The future of an `async` method
//! is dropped when its client closes the connection or its deadline passes.
//!
//! Params and results are JSON, for types that serde knows, or opaque bytes, for [`Bytes`].
//!
//! A function without params is `fn f(&self)` or `fn f(&self, cx: &Context<'_>)`.
//!
//! The cargo features `log` and `tracing` write what the macros of these crates report to the log
//! of the host.
//!
//! Rules for loaded code:
//!
//! - No thread of the plugin may outlive [`Plugin::stop`].
//! - Globals, allocator and thread locals belong to the plugin alone.
//! - Panics must unwind; a plugin built with `panic = "abort"` is refused.

pub mod abi;
mod api_version;
mod attached_host;
mod bytes;
mod caller;
mod content_reader;
mod content_writer;
mod context;
#[doc(hidden)]
pub mod description;
mod error;
mod export;
mod export_words;
mod failure_text;
mod handler;
mod host;
mod log_bridge;
pub mod manifest;
mod manifest_words;
mod metadata;
mod methods;
mod panic_hook;
mod params;
mod plugin;
pub mod testing;

pub use abi::Credentials;
pub use api_version::API_VERSION;
pub use bytes::{Bytes, BytesRef, Params};
pub use caller::Caller;
pub use context::Context;
#[doc(hidden)]
pub use description::Description;
pub use error::{Error, INTERNAL_ERROR, INVALID_PARAMS, is_reserved};
pub use handler::{Asynchronous, Direct};
pub use host::{Host, Level};
pub use manifest::{Manifest, Run};
pub use metadata::Metadata;
pub use methods::Methods;
pub use plugin::{Exported, Plugin, STATE_MAX};

/// The header of plugins in C, `include/jackfield_plugin.h`.
pub const C_HEADER: &str = include_str!("../include/jackfield_plugin.h");

/// The crate that params, results and the harness use, for authors who need no other version of it.
pub use serde_json;

/// The crate that makes schemas, and the derive that describes a type of params or of a result.
pub use schemars::{self, JsonSchema};

/// The items that the source of a plugin needs in scope.
pub mod prelude {
    pub use crate::{Context, Error, Host, JsonSchema, Level, Plugin, export_plugin, schemars};
    pub use std::sync::Arc;
}

#[doc(hidden)]
pub use abi::export as __export;

/// Compiles the examples of the document for authors.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugins.md")]
struct Document;
