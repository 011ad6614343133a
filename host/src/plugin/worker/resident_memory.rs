//! The resident memory of another process.

use std::fs;

use rustix::param::page_size;

/// Returns the resident memory of a process in bytes; `None` if it has ended. The id may denote
/// another process by then, so the value is for operators and for recycling only.
pub(super) fn resident_memory(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(page_size()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_memory_of_a_process_that_runs() {
        let own = resident_memory(std::process::id()).unwrap();
        assert!(own > 1 << 20, "{own}");
        assert_eq!(resident_memory(u32::MAX), None);
    }
}
