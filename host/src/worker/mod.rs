//! The common part of a host and its worker processes: messages, the channel that carries them, and
//! the specification of a process.
//!
//! A worker is a process of this program that runs one plugin, so that a crash of the plugin ends
//! the worker instead of the host. Both ends of the channel are in `plugin`: `plugin/worker` is the
//! end of the host, `plugin/worker_process` the process itself.

pub(crate) mod callers;
pub(crate) mod channel_reader;
#[cfg(test)]
pub(crate) mod channel_test_support;
pub(crate) mod channel_writer;
pub(crate) mod confinement;
mod enforcement;
mod frame_splitter;
mod landlock_rules;
mod limits;
pub(crate) mod message;
pub(crate) mod message_context;
mod message_decode;
pub(crate) mod message_encode;
mod message_fields;
pub(crate) mod payload_file;
pub(crate) mod report;
pub(crate) mod sandboxed_groups;
mod send_queue;
pub(crate) mod spec;
mod syscall_filter;
#[cfg(feature = "fuzzing")]
pub mod worker_stream;
