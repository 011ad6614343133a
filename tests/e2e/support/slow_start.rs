//! Plugins of the fixture `starts_slowly`, whose `start` leaves a mark and waits for others.
//!
//! A mark is a file. Its name ends with the process of the `start`: `.probe` or `.host`.

use std::fs;
use std::path::{Path, PathBuf};

use super::host::HostBuilder;
use super::wait::wait_until;

/// The marks of the plugins of one host.
pub(crate) struct Marks(PathBuf);

impl Marks {
    /// Returns the marks of a host in this directory.
    pub(crate) fn below(directory: &Path) -> Self {
        let marks = directory.join("marks");
        fs::create_dir(&marks).expect("the directory of the marks");
        Self(marks)
    }

    /// Returns the settings of a plugin that leaves the mark of its own name.
    pub(crate) fn settings(&self, plugin: &str, waits_for: &[&str]) -> String {
        let marks = self.0.display();
        format!(
            "[plugin.{plugin}.settings]\nmarks = \"{marks}\"\nleaves = \"{plugin}\"\nwaits_for = {waits_for:?}\n"
        )
    }

    /// Adds a plugin that leaves the mark of its own name.
    pub(crate) fn add(&self, builder: HostBuilder, plugin: &str, waits_for: &[&str]) -> HostBuilder {
        let builder = builder.plugin_as("starts_slowly", &format!("lib{plugin}.so"));
        builder.config(&self.settings(plugin, waits_for))
    }

    pub(crate) fn set(&self, mark: &str) {
        fs::write(self.0.join(mark), "").expect("the mark is set");
    }

    pub(crate) fn remove(&self, mark: &str) {
        fs::remove_file(self.0.join(mark)).expect("the mark is removed");
    }

    pub(crate) fn is_set(&self, mark: &str) -> bool {
        self.0.join(mark).exists()
    }

    /// Waits until a `start` has left this mark, and returns the directory of its process.
    #[track_caller]
    pub(crate) fn wait_for(&self, mark: &str) -> PathBuf {
        let process = || fs::read_to_string(self.0.join(mark)).unwrap_or_default();
        wait_until(format_args!("the mark {mark}"), || !process().is_empty());
        Path::new("/proc").join(process())
    }
}
