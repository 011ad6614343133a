//! The child processes of a process, read from procfs.

use std::fs;

/// One child process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChildProcess {
    pub(crate) pid: u32,
    /// `Z` if it has ended and was not waited for; see proc(5).
    pub(crate) state: char,
    /// Its arguments, joined by spaces, as `ps` shows them.
    pub(crate) command: String,
}

/// Returns the child processes of a process, in the order of their ids.
pub(crate) fn children(parent: u32) -> Vec<ChildProcess> {
    let entries = fs::read_dir("/proc").expect("procfs").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children: Vec<_> = ids.filter_map(|pid| child_of(parent, pid)).collect();
    children.sort_by_key(|child| child.pid);
    children
}

/// Returns the process if it exists and is a child of `parent`.
fn child_of(parent: u32, pid: u32) -> Option<ChildProcess> {
    // The line has the form `PID (NAME) STATE PARENT ...`.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    if fields.next()?.parse() != Ok(parent) {
        return None;
    }

    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
    Some(ChildProcess { pid, state, command })
}

/// Returns whether a process with this id exists and has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}
