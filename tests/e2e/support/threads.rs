//! The threads of a process, as the system shows them.

use std::fs;

/// One thread of a process.
#[derive(Debug)]
pub(crate) struct Thread {
    /// Its name, or what 15 bytes hold of it.
    pub(crate) name: String,
    /// `S` while it sleeps, `R` while it runs, `T` while it is stopped; see proc(5).
    pub(crate) state: char,
}

/// The threads that the process has now.
pub(crate) fn threads(pid: u32) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a living process").flatten();
    // One that has ended meanwhile is none of them.
    tasks
        .filter_map(|task| {
            // Its number, its name in parentheses, its state.
            let stat = fs::read_to_string(task.path().join("stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            Some(Thread { name: name.to_owned(), state: rest.chars().next()? })
        })
        .collect()
}
