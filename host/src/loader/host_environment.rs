//! The environment variables of probes and workers: those of the host, without variables that are
//! meant for the host's process alone.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

/// Prefixes of variables that other processes do not get, unless a configuration lists them.
///
/// The first two change how the dynamic loader and glibc work, and could add code to the plugin.
/// The others are the supervisor's messages to one process: a plugin that finds them could report
/// readiness, feed the watchdog or take sockets in the host's name (systemd.exec(5),
/// sd_listen_fds(3), sd_notify(3)).
const WITHHELD_PREFIXES: [&str; 5] = ["LD_", "GLIBC_TUNABLES", "NOTIFY_", "LISTEN_", "WATCHDOG_"];

/// Further variables of the supervisor, by their whole names.
const WITHHELD_NAMES: [&str; 4] = ["MAINPID", "SYSTEMD_EXEC_PID", "FDSTORE", "JOURNAL_STREAM"];

/// The environment of the host's process.
///
/// It is read once, before any plugin is loaded. A plugin in the host that changes the environment
/// may do so at any time, and reading it meanwhile would be a data race.
#[derive(Clone)]
pub(crate) struct HostEnvironment(Arc<[(OsString, OsString)]>);

impl HostEnvironment {
    /// Returns the current environment of this process.
    pub(super) fn read() -> Self {
        Self(env::vars_os().collect())
    }

    /// Returns the variables that a process gets: those that are listed, whatever they are, or all
    /// that are not meant for the host alone.
    pub(crate) fn passed_on<'a>(
        &'a self,
        listed: Option<&'a [String]>,
    ) -> impl Iterator<Item = (&'a OsStr, &'a OsStr)> {
        let variables = self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        variables.filter(move |(name, _)| match listed {
            Some(listed) => listed.iter().any(|listed| *name == listed.as_str()),
            None => !is_withheld(name),
        })
    }
}

/// Values may be secret, so only their number is shown.
impl fmt::Debug for HostEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostEnvironment({} variables)", self.0.len())
    }
}

fn is_withheld(name: &OsStr) -> bool {
    let has_prefix = |prefix: &&str| name.as_bytes().starts_with(prefix.as_bytes());
    WITHHELD_PREFIXES.iter().any(has_prefix) || WITHHELD_NAMES.iter().any(|withheld| name == *withheld)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn withholds_variables_of_the_loader_and_of_the_supervisor_only() {
        for name in [
            "LD_PRELOAD",
            "GLIBC_TUNABLES",
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "LISTEN_PIDFDID",
            "WATCHDOG_USEC",
            "MAINPID",
            "SYSTEMD_EXEC_PID",
            "FDSTORE",
            "JOURNAL_STREAM",
        ] {
            assert!(is_withheld(OsStr::new(name)), "{name}");
        }
        // Plugins find their files and secrets by some of these.
        for name in ["DATABASE_URL", "PATH", "HOME", "OLD_LD", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY"] {
            assert!(!is_withheld(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn passes_on_what_is_listed_or_what_is_not_withheld() {
        let variables = ["PATH", "DATABASE_URL", "LD_LIBRARY_PATH"].map(|name| (name.into(), "x".into()));
        let environment = HostEnvironment(variables.into());
        let names = |listed: Option<&[String]>| {
            environment.passed_on(listed).map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };

        assert_eq!(names(None), ["PATH", "DATABASE_URL"]);
        assert_eq!(names(Some(&[])), [""; 0]);
        let listed = ["LD_LIBRARY_PATH", "DATABASE_URL", "MISSING"].map(str::to_owned);
        assert_eq!(names(Some(&listed)), ["DATABASE_URL", "LD_LIBRARY_PATH"]);
    }
}
