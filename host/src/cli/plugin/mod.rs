//! `jackfield plugin list`, `reload`, `rollback` and `isolate`: the plugins of a running host.

mod isolate;
mod list;
mod reload;
mod rollback;

pub(crate) use isolate::{IsolateArgs, isolate};
pub(crate) use list::{ListArgs, list};
pub(crate) use reload::{ReloadPluginArgs, reload};
pub(crate) use rollback::{RollbackArgs, rollback};

/// Returns the first 12 digits of a hash, or a dash.
fn short_hash(hash: Option<&String>) -> &str {
    hash.map_or("-", |hash| &hash[..hash.floor_char_boundary(12)])
}
