//! The functions of a running host for the program that embeds it.

mod plugin_commands;

pub use plugin_commands::{PluginCommandError, ReloadOptions};
