//! State of the whole process that no plugin may change: recorded before a plugin is opened, and
//! compared after it has started.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString};
use std::fs;
use std::path::PathBuf;

use crate::log::printable;

/// Lines of `/proc/self/status` that a plugin must not change (proc_pid_status(5)), and their names
/// in messages.
const STATUS: [(&str, &str); 5] = [
    ("Umask", "the umask"),
    ("SigIgn", "ignored signals"),
    ("SigCgt", "signal handlers"),
    ("NoNewPrivs", "the right to new privileges"),
    ("CapEff", "capabilities"),
];

/// The state of a process at one moment. A part that cannot be read is empty, and not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProcessState {
    directory: Option<PathBuf>,
    environment: BTreeMap<OsString, OsString>,
    status: BTreeMap<&'static str, String>,
    limits: String,

    /// The targets of the open descriptors.
    descriptors: BTreeMap<i32, PathBuf>,

    /// The result of C's `setlocale` for all categories.
    locale: String,
}

impl ProcessState {
    /// Returns the current state.
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let values = STATUS.iter().filter_map(|(key, name)| {
            let value = line(key)?.trim();
            Some((*name, if key.starts_with("Sig") { without_glibc(value) } else { value.to_owned() }))
        });

        Self {
            directory: std::env::current_dir().ok(),
            environment: std::env::vars_os().collect(),
            status: values.collect(),
            limits: fs::read_to_string("/proc/self/limits").unwrap_or_default(),
            descriptors: descriptors(),
            locale: locale(),
        }
    }

    /// Returns what is different in `after`, in words. New descriptors belong to the plugin, and
    /// are not a difference.
    pub(super) fn changes(&self, after: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.locale != after.locale {
            changes.push(format!("the locale ({})", printable(&after.locale)));
        }
        if self.directory != after.directory {
            changes.push("the working directory".to_owned());
        }
        changes.extend(self.changed_variables(after));

        let changed_status =
            self.status.iter().filter(|(name, value)| after.status.get(*name) != Some(value));
        changes.extend(changed_status.map(|(name, _)| (*name).to_owned()));

        let limits = self.limits.lines().zip(after.limits.lines());
        for (before, _) in limits.filter(|(before, after)| before != after) {
            // Two spaces separate the name from the numbers.
            let name = before.split("  ").next().unwrap_or(before);
            changes.push(format!("a resource limit ({name})"));
        }

        for (number, target) in &self.descriptors {
            if after.descriptors.get(number) != Some(target) {
                changes.push(format!("descriptor {number}"));
            }
        }
        changes
    }

    fn changed_variables(&self, after: &Self) -> Vec<String> {
        let names = self.environment.keys().chain(after.environment.keys());
        let mut changed: Vec<_> =
            names.filter(|name| self.environment.get(*name) != after.environment.get(*name)).collect();
        changed.sort();
        changed.dedup();
        changed.into_iter().map(|name| format!("the environment ({})", name.display())).collect()
    }
}

/// Returns a set of signals in hex without 32 and 33. glibc reserves them (nptl(7)), and handles
/// them from the first thread on.
fn without_glibc(signals: &str) -> String {
    const RESERVED: u64 = 0b11 << 31;
    let set = u64::from_str_radix(signals, 16);
    set.map_or_else(|_| signals.to_owned(), |set| format!("{:016x}", set & !RESERVED))
}

/// Returns the locale of the process. A Rust program starts with `C` and does not change it.
#[allow(unsafe_code, reason = "there is no safe interface to C's locale")]
fn locale() -> String {
    // SAFETY: Without a name, `setlocale` only queries the locale; no other thread of this process
    // uses locales. The result is a C string that is valid until the locale is set again, and is
    // copied at once.
    unsafe {
        let name = libc::setlocale(libc::LC_ALL, std::ptr::null());
        if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

fn descriptors() -> BTreeMap<i32, PathBuf> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    let open = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?))
    });
    // The directory was only open while it was read.
    open.filter(|(_, target)| !target.ends_with("fd") || !target.starts_with("/proc")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_change() {
        let before = ProcessState::now();
        let mut after = before.clone();
        after.directory = Some("/elsewhere".into());
        after.locale = "de_DE.UTF-8".into();
        after.environment.insert("ADDED".into(), "1".into());
        after.status.insert("signal handlers", "ffff".into());
        after.limits = before.limits.replace("Max open files  ", "Max open files 7");
        after.descriptors.remove(&0);
        let expected = [
            "the locale (de_DE.UTF-8)",
            "the working directory",
            "the environment (ADDED)",
            "signal handlers",
            "a resource limit (Max open files)",
            "descriptor 0",
        ];
        assert_eq!(before.changes(&after), expected);
    }

    #[test]
    fn finds_no_change_in_a_new_descriptor() {
        let before = ProcessState::now();
        let mut after = before.clone();
        after.descriptors.insert(4711, "/a/file/of/its/own".into());
        assert_eq!(before.changes(&after), [""; 0]);
    }
}
