//! The functions of a running host for the program that embeds it.

mod call_error;
mod call_options;
mod host_calls;
mod method_caller;
mod plugin_commands;

pub use call_error::{CallError, HostCallError};
pub use call_options::CallOptions;
pub use method_caller::{MethodCaller, RawParams};
pub use plugin_commands::{PluginCommandError, ReloadOptions};

#[cfg(test)]
mod tests;
