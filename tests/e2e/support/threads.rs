//! The threads of a process, read from procfs.

use std::fs;

/// One thread of a process.
#[derive(Debug)]
pub(crate) struct Thread {
    /// The name of the thread, cut after 15 bytes.
    pub(crate) name: String,
    /// `S` while it sleeps, `R` while it runs, `T` while it is stopped; see proc(5).
    pub(crate) state: char,
}

/// Returns the current threads of the process.
pub(crate) fn threads(pid: u32) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a living process").flatten();
    // A thread that has ended meanwhile is skipped.
    tasks
        .filter_map(|task| {
            // The line has the form `ID (NAME) STATE ...`.
            let stat = fs::read_to_string(task.path().join("stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            Some(Thread { name: name.to_owned(), state: rest.chars().next()? })
        })
        .collect()
}
