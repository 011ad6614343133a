//! The plugin API, the embedding API and the plugins that come with the host.

mod embedded_host;
mod example_plugins;
mod frozen_plugin;
mod host_services;
