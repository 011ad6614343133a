//! The memory mappings of this process, as the kernel reports them. They are the only proof of what
//! `dlopen` and `dlclose` did.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::fs::{fstat, major, minor};

/// A file as `/proc/self/maps` identifies it: by device and inode. The path that is shown there
/// does not identify a memory file, because several can have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: (u32, u32),
    inode: u64,
}

impl FileIdentity {
    pub(super) fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self { device: (major(stat.st_dev), minor(stat.st_dev)), inode: stat.st_ino })
    }
}

struct Mapping {
    start: usize,
    end: usize,
    file: FileIdentity,
}

/// Parses `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE PATH`. All numbers but the inode are
/// hexadecimal (proc_pid_maps(5)).
fn parse(line: &str) -> Option<Mapping> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (major, minor) = fields.nth(2)?.split_once(':')?;
    let inode = fields.next()?.parse().ok()?;

    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    Some(Mapping {
        start: usize::from_str_radix(start, 16).ok()?,
        end: usize::from_str_radix(end, 16).ok()?,
        file: FileIdentity { device, inode },
    })
}

fn mappings() -> io::Result<Vec<Mapping>> {
    // Read as bytes, because the name of a mapped file need not be UTF-8.
    let text = fs::read("/proc/self/maps")?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(parse).collect())
}

/// Returns the file that is mapped at `address`.
pub(super) fn file_at(address: usize) -> io::Result<Option<FileIdentity>> {
    let mappings = mappings()?;
    let found = mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&address));
    Ok(found.map(|mapping| mapping.file))
}

/// Returns the addresses from the first to the last mapping of `file`.
pub(super) fn addresses_of(file: FileIdentity) -> io::Result<Option<Range<usize>>> {
    let mappings = mappings()?;
    let mut of_file = mappings.iter().filter(|mapping| mapping.file == file);
    let Some(first) = of_file.next() else { return Ok(None) };
    Ok(Some(first.start..of_file.next_back().unwrap_or(first).end))
}

/// Returns whether any part of `file` is mapped.
pub(super) fn is_mapped(file: FileIdentity) -> io::Result<bool> {
    Ok(mappings()?.iter().any(|mapping| mapping.file == file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_line_with_spaces_in_its_path() {
        let line = "7f2c4a400000-7f2c4a422000 r-xp 00001000 fd:0a 12345  /memfd:jackfield:a b:c (deleted)";
        let mapping = parse(line).unwrap();
        assert_eq!((mapping.start, mapping.end), (0x7f2c_4a40_0000, 0x7f2c_4a42_2000));
        assert_eq!(mapping.file, FileIdentity { device: (0xfd, 0x0a), inode: 12345 });
    }

    #[test]
    fn finds_the_program_at_the_address_of_a_function() {
        let program = FileIdentity::of(fs::File::open("/proc/self/exe").unwrap()).unwrap();
        assert_eq!(file_at(parse as fn(&str) -> Option<Mapping> as usize).unwrap(), Some(program));
        assert!(is_mapped(program).unwrap());
    }

    #[test]
    fn finds_no_program_at_an_address_on_the_stack() {
        let program = FileIdentity::of(fs::File::open("/proc/self/exe").unwrap()).unwrap();
        let on_the_stack = 0_u8;
        assert_ne!(file_at(std::ptr::from_ref(&on_the_stack) as usize).unwrap(), Some(program));
    }
}
