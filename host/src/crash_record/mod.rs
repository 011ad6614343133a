//! The crash record: which plugin code runs on which thread, kept where it outlives the process.
//!
//! After a crash, the next host reads the record of the previous one, logs which calls were running
//! (the post-mortem), and quarantines a plugin content that ran in too many crashes.
//!
//! The record directory (`plugins.crash.record`) contains these files:
//!
//! - `running`: mapped memory with a record slot for each thread that runs plugin code (`layout`).
//! - `names.json`: the plugins and methods that the numbers in `running` stand for. It is written
//!   before a generation runs.
//! - `output`: everything that was written to stdout and stderr.
//! - `deaths.json`: the crash log, which is kept from host to host.
//!
//! The record does not have to survive a crash of the machine, so nothing is synced.

mod crash_log;
mod generation_names;
mod layout;
mod mapping;
mod plugin_attribution;
mod post_mortem;
mod previous_host;
mod quarantine;
mod record;
mod record_directory;
mod running_code;
mod sampler;
mod slot;

pub(crate) use crash_log::{Crash, CrashedCall, Quarantined};
pub(crate) use generation_names::GenerationNames;
pub(crate) use plugin_attribution::PluginAttribution;
pub use previous_host::quarantined;
pub(crate) use record::{CrashRecord, RegisteredGeneration};
pub(crate) use running_code::{LifecyclePhase, RunningCode, WORKER_GENERATION};
pub(crate) use sampler::{RunningCall, RunningRequest, SlotSampler};
pub(crate) use slot::{RecordSlot, own_slot, run_paused, run_recorded, touch_thread_local};
