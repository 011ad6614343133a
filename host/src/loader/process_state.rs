//! State of the whole process that no plugin may change: recorded before a plugin is opened, and
//! compared after it has started in the probe, and from time to time while the host serves.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString};
use std::fs;
use std::path::PathBuf;

use super::environment_memory::read_environment;
use super::signal_state::RESERVED;
use crate::log::printable;

/// The name of the umask in messages.
pub(super) const UMASK: &str = "the umask";

/// Lines of `/proc/self/status` that a plugin must not change (proc_pid_status(5)), and their names
/// in messages.
const STATUS: [(&str, &str); 5] = [
    ("Umask", UMASK),
    ("SigIgn", "ignored signals"),
    ("SigCgt", "signal handlers"),
    ("NoNewPrivs", "the right to new privileges"),
    ("CapEff", "capabilities"),
];

/// The state of a process at one moment. A part that cannot be read is empty, and not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProcessState {
    pub(super) directory: Option<PathBuf>,
    environment: Option<BTreeMap<OsString, OsString>>,
    pub(super) status: BTreeMap<&'static str, String>,
    limits: String,

    /// The targets of the open descriptors.
    pub(super) descriptors: BTreeMap<i32, PathBuf>,

    /// The result of C's `setlocale` for all categories.
    locale: Option<String>,
}

impl ProcessState {
    /// Returns the current state of the probe process, in which no other thread changes it
    /// meanwhile.
    pub(super) fn in_probe() -> Self {
        let environment = Some(std::env::vars_os().collect());
        Self { environment, locale: Some(locale()), ..Self::while_serving() }
    }

    /// Returns the current state of a process that runs plugins, without the locale.
    pub(super) fn while_serving() -> Self {
        Self::with_descriptors(open_descriptors())
    }

    /// Returns the current state with the descriptors of this one. A host with many connections has
    /// many others, which cannot tell anything.
    pub(super) fn again(&self) -> Self {
        let target = |number: &i32| Some((*number, target_of(*number)?));
        Self::with_descriptors(self.descriptors.keys().filter_map(target).collect())
    }

    fn with_descriptors(descriptors: BTreeMap<i32, PathBuf>) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let values = STATUS.iter().filter_map(|(key, name)| {
            let value = line(key)?.trim();
            Some((*name, if key.starts_with("Sig") { without_glibc(value) } else { value.to_owned() }))
        });

        Self {
            directory: std::env::current_dir().ok(),
            environment: read_environment(),
            status: values.collect(),
            limits: fs::read_to_string("/proc/self/limits").unwrap_or_default(),
            descriptors,
            locale: None,
        }
    }

    /// Returns what is different in `after`, in words. New descriptors belong to the plugin, and
    /// are not a difference.
    pub(super) fn changes(&self, after: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if let (Some(before), Some(after)) = (&self.locale, &after.locale)
            && before != after
        {
            changes.push(format!("the locale ({})", printable(after)));
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

    /// Makes `after` the state that later ones are compared with. Descriptors that were closed or
    /// replaced are not compared any more.
    pub(super) fn adopt(&mut self, mut after: Self) {
        after.descriptors.retain(|number, target| self.descriptors.get(number) == Some(target));
        after.environment = after.environment.or(self.environment.take());
        *self = after;
    }

    fn changed_variables(&self, after: &Self) -> Vec<String> {
        let (Some(before), Some(after)) = (&self.environment, &after.environment) else { return Vec::new() };
        let names = before.keys().chain(after.keys());
        let mut changed: Vec<_> = names.filter(|name| before.get(*name) != after.get(*name)).collect();
        changed.sort();
        changed.dedup();
        changed.into_iter().map(|name| format!("the environment ({})", name.display())).collect()
    }
}

/// Returns a set of signals in hex without 32 and 33. glibc reserves them (nptl(7)), and handles
/// them from the first thread on.
fn without_glibc(signals: &str) -> String {
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

fn open_descriptors() -> BTreeMap<i32, PathBuf> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    let open = entries.filter_map(|entry| {
        let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some((number, target_of(number)?))
    });
    // The directory was only open while it was read.
    open.filter(|(_, target)| !target.ends_with("fd") || !target.starts_with("/proc")).collect()
}

/// Returns what a descriptor refers to; `None` if it is not open.
fn target_of(descriptor: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_change() {
        let before = ProcessState::in_probe();
        let mut after = before.clone();
        after.directory = Some("/elsewhere".into());
        after.locale = Some("de_DE.UTF-8".into());
        after.environment.as_mut().unwrap().insert("ADDED".into(), "1".into());
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
    fn names_a_change_once_if_it_is_adopted() {
        let mut expected = ProcessState::in_probe();
        let mut after = expected.clone();
        after.environment.as_mut().unwrap().insert("ADDED".into(), "1".into());
        after.descriptors.insert(0, "/replaced".into());
        after.descriptors.insert(4711, "/a/file/of/its/own".into());
        assert_eq!(expected.changes(&after), ["the environment (ADDED)", "descriptor 0"]);

        expected.adopt(after.clone());
        assert_eq!(expected.changes(&after), [""; 0]);
        after.descriptors.clear();
        after.environment = None;
        let lost = expected.changes(&after);
        assert!(!lost.contains(&"descriptor 4711".to_owned()), "{lost:?}");
        assert!(!lost.iter().any(|change| change.contains("environment")), "{lost:?}");
    }

    #[test]
    fn finds_no_change_in_a_new_descriptor() {
        let before = ProcessState::in_probe();
        let mut after = before.clone();
        after.descriptors.insert(4711, "/a/file/of/its/own".into());
        assert_eq!(before.changes(&after), [""; 0]);
    }
}
