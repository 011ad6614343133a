//! Checks of the source text itself: how comments are written, how types are named, how files
//! depend on each other.
//!
//! They keep what review cannot keep for long. The rules and their reasons are in CONTRIBUTING.md,
//! the words in docs/glossary.md. Each check collects every place that breaks its rule, so that one
//! run shows all of them.

#![allow(clippy::unwrap_used, reason = "all of this is tests: what cannot go on ends by panicking")]

mod imports;
mod layout;
mod messages;
mod prose;
mod tree;
mod types;

/// Fails with every place in `places`, one a line, if there are more than `allowed`.
#[track_caller]
fn assert_at_most(allowed: usize, places: &[String], rule: &str) {
    assert!(
        places.len() <= allowed,
        "{} places, {allowed} are allowed: {rule}\n{}",
        places.len(),
        places.join("\n")
    );
}
