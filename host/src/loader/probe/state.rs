//! What belongs to the whole process, and so to no plugin: noted before one is opened, compared once it has started.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString};
use std::fs;
use std::path::PathBuf;

use crate::log::printable;

/// What `/proc/self/status` says that a plugin must leave as it is (proc_pid_status(5)), and the words for it.
const STATUS: [(&str, &str); 5] = [
    ("Umask", "the umask"),
    ("SigIgn", "ignored signals"),
    ("SigCgt", "signal handlers"),
    ("NoNewPrivs", "the right to new privileges"),
    ("CapEff", "capabilities"),
];

/// The state of a process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProcessState {
    directory: Option<PathBuf>,
    environment: BTreeMap<OsString, OsString>,
    status: BTreeMap<&'static str, String>,
    limits: String,
    /// What each open descriptor leads to.
    descriptors: BTreeMap<i32, PathBuf>,
    /// What C's `setlocale` says of all categories.
    locale: String,
}

impl ProcessState {
    /// The state now. What cannot be read is not compared.
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let said = STATUS.iter().filter_map(|(key, what)| {
            let said = line(key)?.trim();
            Some((*what, if key.starts_with("Sig") { without_glibc(said) } else { said.to_owned() }))
        });
        Self {
            directory: std::env::current_dir().ok(),
            environment: std::env::vars_os().collect(),
            status: said.collect(),
            limits: fs::read_to_string("/proc/self/limits").unwrap_or_default(),
            descriptors: descriptors(),
            locale: locale(),
        }
    }

    /// What is different in `after`, in words; a descriptor that is new is the plugin's own.
    pub(super) fn changes(&self, after: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.locale != after.locale {
            changes.push(format!("the locale ({})", printable(&after.locale)));
        }
        if self.directory != after.directory {
            changes.push("the working directory".to_owned());
        }
        let names = self.environment.keys().chain(after.environment.keys());
        let mut changed: Vec<_> =
            names.filter(|name| self.environment.get(*name) != after.environment.get(*name)).collect();
        changed.sort();
        changed.dedup();
        changes.extend(changed.into_iter().map(|name| format!("the environment ({})", name.display())));
        for (what, before) in &self.status {
            if after.status.get(what) != Some(before) {
                changes.push((*what).to_owned());
            }
        }
        let limits = self.limits.lines().zip(after.limits.lines());
        for (before, _) in limits.filter(|(before, after)| before != after) {
            // The name ends where two spaces begin the numbers.
            let name = before.split("  ").next().unwrap_or(before);
            changes.push(format!("a resource limit ({name})"));
        }
        for (number, leads_to) in &self.descriptors {
            if after.descriptors.get(number) != Some(leads_to) {
                changes.push(format!("descriptor {number}"));
            }
        }
        changes
    }
}

/// A set of signals in hex without 32 and 33: glibc keeps them to itself (nptl(7)), and takes them at the first thread.
fn without_glibc(signals: &str) -> String {
    const OWN: u64 = 0b11 << 31;
    u64::from_str_radix(signals, 16).map_or_else(|_| signals.to_owned(), |set| format!("{:016x}", set & !OWN))
}

/// The locale of the process; a Rust program begins with `C` and leaves it there.
#[allow(unsafe_code, reason = "C's locale has no safe name")]
fn locale() -> String {
    // SAFETY: with no name it only asks, on the one thread that knows of locales here; what it points to is a C string
    // that lives until somebody sets another one, and is copied at once.
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
    // The directory itself was open while it was read, and is no more.
    open.filter(|(_, leads_to)| !leads_to.ends_with("fd") || !leads_to.starts_with("/proc")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_named() {
        let before = ProcessState::now();
        assert_eq!(before.changes(&before), Vec::<String>::new());
        let mut after = before.clone();
        after.directory = Some("/elsewhere".into());
        after.locale = "de_DE.UTF-8".into();
        after.environment.insert("ADDED".into(), "1".into());
        after.status.insert("signal handlers", "ffff".into());
        after.limits = before.limits.replace("Max open files  ", "Max open files 7");
        after.descriptors.remove(&0);
        after.descriptors.insert(4711, "/a/file/of/its/own".into());
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
}
