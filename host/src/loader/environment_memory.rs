//! Reads the environment of this process while another thread may change it.
//!
//! `std::env` excludes only changes that this copy of std makes. A plugin has its own copy, and C
//! code calls `setenv`, which may free the list that this thread reads. The kernel therefore reads
//! the memory, through `/proc/self/mem`: an address that is no longer valid is an error there, and
//! bytes that change meanwhile are not a data race of this program.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;

/// Upper bound for the number of variables that are read.
const MAX_VARIABLES: u64 = 4096;

/// Upper bound for the length of a variable in bytes (`MAX_ARG_STRLEN` of the kernel).
const MAX_LENGTH: usize = 128 << 10;

/// Bytes that are read at once. Most variables are shorter.
const CHUNK: usize = 256;

/// Returns the environment; `None` if it cannot be read, or if it changes at this moment.
pub(super) fn read_environment() -> Option<BTreeMap<OsString, OsString>> {
    let memory = File::open("/proc/self/mem").ok()?;

    // A list that is being replaced may contain anything. It is not the same twice.
    let first = read_variables(&memory).ok()?;
    let again = read_variables(&memory).ok()?;
    (first == again).then_some(first)
}

fn read_variables(memory: &File) -> io::Result<BTreeMap<OsString, OsString>> {
    let mut variables = BTreeMap::new();
    let list = read_address(memory, (&raw const libc::environ).addr() as u64)?;
    if list == 0 {
        return Ok(variables);
    }

    for index in 0..MAX_VARIABLES {
        let text = read_address(memory, list.saturating_add(index * size_of::<u64>() as u64))?;
        if text == 0 {
            break;
        }
        let text = read_text(memory, text)?;
        // As in std, a name may begin with `=`.
        let end = text.iter().skip(1).position(|byte| *byte == b'=').map(|at| at + 1);
        if let Some(end) = end {
            let value = OsString::from_vec(text[end + 1..].to_vec());
            // The first of several variables with one name counts.
            variables.entry(OsString::from_vec(text[..end].to_vec())).or_insert(value);
        }
    }
    Ok(variables)
}

fn read_address(memory: &File, at: u64) -> io::Result<u64> {
    let mut bytes = [0; size_of::<u64>()];
    memory.read_exact_at(&mut bytes, at)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Reads bytes up to a NUL.
fn read_text(memory: &File, at: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    while text.len() < MAX_LENGTH {
        let mut chunk = [0; CHUNK];
        let read = memory.read_at(&mut chunk, at.saturating_add(text.len() as u64))?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }

        let end = chunk[..read].iter().position(|byte| *byte == 0);
        text.extend_from_slice(&chunk[..end.unwrap_or(read)]);
        if end.is_some() {
            break;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_same_environment_as_std() {
        let expected: BTreeMap<_, _> = std::env::vars_os().collect();
        assert!(!expected.is_empty());
        assert_eq!(read_environment(), Some(expected));
    }

    #[test]
    fn fails_at_an_invalid_address() {
        let memory = File::open("/proc/self/mem").unwrap();
        assert!(read_address(&memory, 8).is_err() && read_text(&memory, 8).is_err());
        // A text without an end is cut.
        let endless = vec![b'x'; 2 * MAX_LENGTH];
        let length = read_text(&memory, endless.as_ptr().addr() as u64).unwrap().len();
        assert!((MAX_LENGTH..MAX_LENGTH + CHUNK).contains(&length), "{length}");
    }
}
