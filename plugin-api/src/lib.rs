//! What a Jackfield plugin is written against: a type, its methods, and one macro that exports them.
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
//! // No host and no file are needed to test it:
//! let hello = jackfield_plugin_api::testing::Harness::<Hello>::start(serde_json::json!({})).unwrap();
//! assert_eq!(hello.call("hello.greet", serde_json::json!({"name": "Ada"})).unwrap(), "hello, Ada");
//! ```
//!
//! A method runs in one of three ways, named before its name in the macro:
//!
//! | word | where it runs | for |
//! |---|---|---|
//! | `blocking` (the default) | a thread of the plugin's own; `threads` and `queue` in its configuration bound them | whatever waits: files, databases, long computations |
//! | `inline` | the thread that serves the connection | microseconds of work that never waits |
//! | `async` | a future on a thread of the plugin's own; dropped when nobody waits for it any more | many calls that wait for something |
//!
//! Rules of the loaded code: no thread of the plugin may outlive [`Plugin::stop`]; globals, allocator and thread
//! locals are the plugin's own; build with unwinding panics (`panic = "abort"` is refused).

pub mod abi;
mod error;
mod export;
mod handler;
mod host;
pub mod manifest;
mod methods;
mod panics;
mod params;
mod plugin;
pub mod testing;

pub use error::{Error, INTERNAL_ERROR, INVALID_PARAMS, is_reserved};
pub use handler::{Asynchronous, Direct};
pub use host::{Context, Host, Level};
pub use manifest::{Manifest, Run};
pub use methods::Methods;
pub use plugin::{Exported, Plugin, STATE_MAX};

/// Everything that a plugin's file needs in scope.
pub mod prelude {
    pub use crate::{Context, Error, Host, Level, Plugin, export_plugin};
    pub use std::sync::Arc;
}

/// The version of this API: what a manifest names and a host compares.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");

#[doc(hidden)]
pub use abi::export as __export;
