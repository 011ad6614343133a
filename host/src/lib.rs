//! Jackfield: a host that answers requests over Unix sockets with methods that live in plugins.
//!
//! The program `jackfield` is a thin shell around this library; another program can embed the host with its own
//! methods beside the plugins:
//!
//! ```no_run
//! use jackfield::config::{Config, Listener};
//! use jackfield::{Builder, Methods};
//!
//! # async fn example() -> Result<(), jackfield::StartError> {
//! // First in `main`: this program is started once more to try plugins out.
//! let entry = jackfield::enter();
//! let config = Config { listeners: vec![Listener::at("run/app.sock")], ..Config::default() };
//! let methods = Methods::new().inline("app.double", |_: &(), n: i64| Ok::<_, jackfield::Error>(2 * n));
//! let shutdown = async { /* a signal, a channel, … */ };
//! Builder::new(config, &entry).plugin("app", (), methods)?.run(shutdown).await
//! # }
//! ```
//!
//! Imports run one way: `host → control → reload → server → connection → dispatch → plugin → load → plugin-api`. `ask`,
//! `config`, `clock`, `limits`, `metrics`, `log`, `output` and `recorder` are leaves.

pub mod admin;
pub mod blocking_request;
mod clock;
pub mod config;
mod connection;
mod control;
mod crash_record;
mod failpoint;
mod host;
mod limits;
pub mod loader;
pub mod log;
mod metrics;
mod output;
mod plugin;
mod reload;
mod routing;
mod server;
mod sync;
mod timer;

pub use admin::ReloadRequest;
pub use crash_record::quarantined;
pub use host::{Builder, Host, Reloads, StartError, Status};
pub use jackfield_plugin_api::{Context, Error, Methods};
pub use loader::{ProbeEntry, enter};
pub use server::{BindError, HealthCheck, HealthCheckError, InheritError, Inherited};
