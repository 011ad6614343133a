//! The stacks of all threads of a process, for the report of a process that hangs.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use super::program::command;

/// Seconds for gdb. It reads the symbols of the program first.
const GDB_SECONDS: &str = "30";

/// Returns the stacks of all threads: from gdb if it is there, and what procfs shows of them.
pub(crate) fn stacks(pid: u32) -> String {
    let mut text = String::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();

    for task in tasks {
        // `stack` is readable for root alone.
        let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let state = read("status").lines().find(|line| line.starts_with("State:")).map(str::to_owned);
        let _ = writeln!(
            text,
            "thread {} {}: {}, in {}\n{}",
            task.file_name().display(),
            read("comm").trim(),
            state.unwrap_or_default().trim_start_matches("State:").trim(),
            read("wchan"),
            read("stack")
        );
    }
    text + &from_gdb(pid)
}

fn from_gdb(pid: u32) -> String {
    let mut gdb = command("timeout");
    gdb.args([GDB_SECONDS, "gdb", "-nx", "-batch", "-ex", "thread apply all bt 30", "-p"]);
    let output = gdb.arg(pid.to_string()).stdin(Stdio::null()).stderr(Stdio::null()).output();

    match output {
        Ok(output) if !output.stdout.is_empty() => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => "(gdb shows no stacks)\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::HostProcess;

    #[test]
    fn names_the_threads_of_a_host() {
        let host = HostProcess::with(&[]);
        let stacks = stacks(host.pid());
        for name in ["io:0", "control", "plugins"] {
            assert!(stacks.contains(name), "{name} is missing:\n{stacks}");
        }
    }
}
