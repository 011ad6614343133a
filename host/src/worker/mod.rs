//! What a host and a worker process share: messages, the channel that carries them, and the
//! specification of the process.
//!
//! A worker is a process of this program that runs one plugin, so that a crash of the plugin ends
//! the worker instead of the host. Both ends of the channel are in `plugin`: `plugin/worker` is the
//! end of the host, `plugin/worker_process` the process itself.

pub(crate) mod channel_reader;
pub(crate) mod channel_writer;
pub(crate) mod confinement;
pub(crate) mod message;
mod message_fields;
mod payload_file;
pub(crate) mod report;
pub(crate) mod spec;
