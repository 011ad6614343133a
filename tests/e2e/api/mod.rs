//! The plugin API, the host as a library, and the plugins that come with the host.

mod c_plugin;
mod call_context;
mod embedded_host;
mod embedding_program;
mod example_plugins;
mod frozen_plugin;
mod grown_abi;
mod host_services;
mod log_bridges;
mod methods;
mod opaque_bytes;
