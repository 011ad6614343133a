//! Replaces plugins while the host serves.
//!
//! One thread, the *plugin owner*, owns every generation and executes one command at a time. The
//! directory watcher, operators, and generations whose probation or retirement ends send it
//! commands. It scans the directory, prepares each change as a transaction, and publishes the
//! change by swapping the routing table once.
//!
//! # The life of a generation
//!
//! ```text
//!   plugin file          image of the previous, or the same, content
//!        |                        |
//!        | stage                  | stage: rollback, new settings
//!        v                        v
//!      staged <-------------------+
//!        |    `-- refused: bad file or signature, quarantined, name taken, no room
//!        | probe, in a process of its own
//!        v
//!      probed
//!        |    `-- refused: it failed, crashed or hung in the probe, or fails to start
//!        | load and start, in this process
//!        v
//!      started ------- discarded: its state could not be imported -----------+
//!        |                                                                   |
//!        | commit: import the state, swap the routing table                  |
//!        v                                                                   |
//!      serving, on probation -------- rolled back: too many failures --------+
//!        |                                                                   |
//!        | enough calls answered                                             |
//!        v                                                                   |
//!      serving ---------------------- replaced, or its file was removed -----+
//!                                                                            |
//!                                                                            v
//!                                                                 retired (draining)
//!               calls ended, threads joined, instance stopped |              |
//!                                                             v              v
//!                                                         unloaded       retained
//! ```
//!
//! A stop-first plugin takes another way: it is probed without a start, and it is started during
//! the commit, after the previous generation was stopped (`stop_first`).
//!
//! A failure up to the swap changes nothing: the previous generation serves on. A rollback is a
//! reload of the previous content, so it makes a new generation. Content that ran in too many
//! crashes is quarantined: it is not loaded until its file changes or an operator reloads it; or it
//! is loaded into a worker, if the configuration says so. A generation is retained if closing its
//! code would not be safe, also if it failed to start.
//!
//! # Files
//!
//! `owner` has the state, `owner_loop` the thread and its commands. `directory_scan`, `listing` and
//! `seen_files` find changed files, `file_load` acts on them, and `parallel_start` on all of them
//! when the host starts. `transaction` prepares generations, with `load_checks` and
//! `generation_starter`. `commit` has them serve, with `state_transfer` and `stop_first`.
//! `rollback`, `start_retry`, `retirement` and `reconfigure` are the other reasons for a change.
//! `decided` applies what rollbacks decided, also in the next host, and `isolation` which plugins
//! run in workers.

mod command;
mod commit;
mod contract_check;
mod decided;
mod directory_scan;
mod directory_watcher;
mod file_load;
mod generation_starter;
mod hold_limit;
mod isolation;
mod listing;
mod load_checks;
mod load_outcome;
mod owner;
mod owner_loop;
mod parallel_start;
mod plugin_files;
mod plugin_slot;
mod reconfigure;
mod refusal;
mod restart_required;
mod retirement;
mod retirement_threads;
mod rollback;
mod seen_files;
mod shortage_retry;
mod slot_report;
mod start_retry;
mod state_transfer;
mod stop_first;
#[cfg(test)]
mod tests;
mod transaction;

pub(crate) use command::{CommandReply, CommandSender, ReloadCommand};
pub(crate) use owner::PluginOwner;
pub(crate) use owner_loop::Reloader;
pub(crate) use parallel_start::ReportProgress;
pub use parallel_start::StartProgress;
