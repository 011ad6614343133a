//! Decisions about plugin contents, kept from host to host: what was rolled back does not serve
//! again after a restart, and what was moved into a worker stays there.
//!
//! A *decision* against a content belongs to one plugin and one content. An operator makes it with
//! a rollback, the host with the rollback after a failed probation. `jackfield plugin reload NAME`
//! clears it.
//!
//! A decision to run a plugin in a worker is made by the host about one content, which caused
//! crashes of the host, or by an operator about the plugin (`jackfield plugin isolate NAME`).
//! `jackfield plugin isolate NAME --off` ends both.
//!
//! The state directory (`plugins.state`) contains these files:
//!
//! - `decisions.json`: the decisions, and the hash of the content to return to.
//! - `kept/libNAME.so`: that content, one file for each plugin, with its signature.
//!   A start loads it instead of content that a decision is against, after the same checks as a
//!   file of the plugin directory.
//!
//! Quarantines are not kept here: they follow from the crashes in the crash log, which only the
//! crash record knows, and they expire with it.

mod decision;
mod decision_log;
mod state_directory;
mod state_writer;
mod store;
#[cfg(test)]
pub(crate) mod test_support;

pub(crate) use decision::{Decider, Decision};
pub use state_directory::{is_isolated, rejected_contents};
pub(crate) use store::DecisionStore;
