//! Jackfield: a host that answers requests over Unix sockets with methods that live in plugins.
//!
//! The program `jackfield` is a thin shell around this library. Another program can embed the host
//! and add its own methods to those of the plugins:
//!
//! ```no_run
//! use jackfield::config::{Config, Listener};
//! use jackfield::{Builder, Methods};
//!
//! # async fn example() -> Result<(), jackfield::StartError> {
//! // First in `main`, before threads and sockets exist: the host starts this program once more to
//! // probe plugins and to run those of them that are isolated in worker processes.
//! let entry = jackfield::enter();
//!
//! let config = Config { listeners: vec![Listener::at("run/app.sock")], ..Config::default() };
//! let double = |_: &(), n: i64| Ok::<_, jackfield::Error>(2 * n);
//! let methods = Methods::new().inline("app.double", double);
//! let shutdown = async { /* a signal, a channel, … */ };
//! Builder::new(config, &entry).plugin("app", (), methods)?.run(shutdown).await
//! # }
//! ```
//!
//! ARCHITECTURE.md has the map of the modules and the direction of imports between them.

pub mod admin;
mod child_process;
mod clock;
pub mod config;
mod connection;
mod control;
mod crash_record;
mod decisions;
mod embedded;
mod failpoint;
mod host;
mod host_builder;
mod host_thread;
mod limits;
pub mod loader;
pub mod log;
mod metrics;
mod output;
mod plugin;
mod plugin_events;
mod process_group;
mod reload;
mod routing;
mod sealed_file;
mod server;
mod shutdown;
mod starting_host;
mod sync;
mod system_failure;
mod thread_locals;
mod timer;
mod trace;
#[cfg(test)]
mod wake_count;
mod worker;

pub use admin::ReloadRequest;
pub use child_process::enter;
pub use crash_record::quarantined;
pub use decisions::{is_isolated, rejected_contents};
pub use embedded::{
    CallError, CallOptions, HostCallError, MethodCaller, PluginCommandError, RawParams, ReloadOptions,
};
pub use host::{Host, Reloads, Status};
pub use host_builder::{Builder, StartError};
pub use jackfield_plugin_api::abi::{CallOutput, Content};
pub use jackfield_plugin_api::{Context, Error, Methods};
pub use loader::ProbeEntry;
pub use plugin_events::{PluginEvent, PluginEvents};
pub use reload::StartProgress;
pub use server::{
    BindError, BindFault, HealthCheck, HealthCheckError, InheritError, Inherited, LISTEN_FDS_PASSED_ON,
};
pub use starting_host::StartingHost;
pub use system_failure::{WatchFailure, WithRemedy};
pub use thread_locals::touch as touch_thread_locals;
#[cfg(feature = "fuzzing")]
pub use worker::worker_stream;
