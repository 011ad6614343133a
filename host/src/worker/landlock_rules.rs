//! The Landlock rules of a sandbox: which files and sockets a worker can reach.
//!
//! Landlock decides when a file is opened, created, renamed, removed or executed, and inherits its
//! decisions to every thread and program of the process. It does not decide about `stat`, `chmod`,
//! `chown`, extended attributes and times of files: the system call filter refuses those that
//! change something.
//!
//! A rule belongs to a directory or file and not to its path. A file that is replaced by renaming
//! another one over it is a new file, without the rule. Rules for directories have no such limit.

use std::os::fd::{AsFd, IntoRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use super::enforcement::Enforcement;
use super::spec::SandboxSpec;

/// The newest version of Landlock whose restrictions are used. Older kernels enforce fewer of them.
const NEWEST: ABI = ABI::V10;

/// Directories of shared libraries. With `execute`, programs in them can be executed, because the
/// dynamic loader is one of them.
pub(super) const LIBRARIES: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];

/// Files that libraries read in order to compute: the cache of the dynamic loader, time zones and
/// translations, name resolution, random numbers, the number of processors, and the reports of the
/// kernel about the process itself. Nothing here is secret.
pub(super) const ALWAYS_READABLE: [&str; 16] = [
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/sys/devices/system/cpu",
    PROCESS,
];

/// The only file that can always be written.
pub(super) const ALWAYS_WRITABLE: &str = "/dev/null";

/// The directory of the process itself. The dynamic loader opens the plugin as `/proc/self/fd/N`.
const PROCESS: &str = "/proc/self";

/// The restrictions that not every version of Landlock has, the first version with each, and the
/// version of Linux that has it.
const LATER: [(ABI, &str, &str); 3] = [
    (ABI::V3, "truncation of files", "Linux 6.2"),
    (ABI::V5, "commands for devices", "Linux 6.10"),
    (ABI::V6, "abstract Unix sockets", "Linux 6.12"),
];

/// Restricts the calling thread, and adds the result to `report`.
pub(super) fn apply(sandbox: &SandboxSpec, report: &mut Enforcement) {
    let found = match restrict(sandbox, &mut report.absent) {
        Ok(found) => found,
        Err(error) => {
            report.missing.push(format!("files (Landlock: {error})"));
            return;
        }
    };
    if found == ABI::Unsupported {
        report.missing.push("files (the kernel has no Landlock, or may not use it)".to_owned());
        return;
    }

    report.enforced.push("files".to_owned());
    for (first, what, since) in LATER {
        if found >= first {
            report.enforced.push(what.to_owned());
        } else {
            report.missing.push(format!("{what} ({since})"));
        }
    }
    if found >= ABI::V9 {
        report.enforced.push("Unix sockets by path".to_owned());
    } else {
        report.open.push("Unix sockets by path (Linux 7.1 restricts them)".to_owned());
    }
}

/// Returns the version of Landlock that is in force.
fn restrict(sandbox: &SandboxSpec, absent: &mut Vec<PathBuf>) -> Result<ABI, RulesetError> {
    let mut ruleset =
        Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?.scope(Scope::from_all(NEWEST))?;
    if !sandbox.network {
        // The system call filter refuses such sockets, too.
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut created = ruleset.create()?;

    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let read_and_execute = if sandbox.execute { read | AccessFs::Execute } else { read };
    let write = read | (AccessFs::from_write(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock));
    for path in LIBRARIES {
        created = permit(created, Path::new(path), read_and_execute)?.0;
    }
    for path in ALWAYS_READABLE {
        created = permit(created, Path::new(path), read)?.0;
    }
    created = permit(created, Path::new(ALWAYS_WRITABLE), read | AccessFs::WriteFile)?.0;

    let own = sandbox.read.iter().map(|path| (path, read_and_execute));
    for (path, access) in own.chain(sandbox.write.iter().map(|path| (path, write))) {
        let (next, exists) = permit(created, path, access)?;
        created = next;
        if !exists {
            absent.push(path.clone());
        }
    }

    keep_process_directory();
    match created.restrict_self()?.landlock {
        LandlockStatus::Available { effective_abi, .. } => Ok(effective_abi),
        _ => Ok(ABI::Unsupported),
    }
}

/// Adds a rule for a path. Returns `false` with the ruleset if the path cannot be opened.
fn permit(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<(RulesetCreated, bool), RulesetError> {
    let Ok(file) = open_path(path) else { return Ok((ruleset, false)) };
    let is_directory =
        fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);

    let access = if is_directory { access } else { access & AccessFs::from_file(NEWEST) };
    Ok((ruleset.add_rule(PathBeneath::new(file.as_fd(), access))?, true))
}

fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Keeps the directory of the process open for as long as the process exists. The kernel may
/// otherwise forget the directory and create it again, without its rule.
fn keep_process_directory() {
    if let Ok(directory) = open_path(Path::new(PROCESS)) {
        let _ = directory.into_raw_fd();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_everything_that_is_always_permitted() {
        let documentation = include_str!("../../../docs/sandbox.md");

        for path in LIBRARIES.iter().chain(&ALWAYS_READABLE).chain([&ALWAYS_WRITABLE]) {
            assert!(documentation.contains(&format!("`{path}`")), "docs/sandbox.md does not list {path}");
        }
    }
}
