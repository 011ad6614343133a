//! Writing lines to a descriptor whose reader may stop reading: waited for once, for a moment, and then no more.
//!
//! Threads that serve connections log, too. A pipe or a socket that is full would hold them for as long as whoever
//! is to read it sleeps. So a line that finds no room is counted instead of written, until there is room again.
//! Nothing is kept back for later: what was logged when the process dies has been written.

use std::fs::File;
use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::rate_limit::RateLimiter;

/// How long the first line waits for room, in nanoseconds: a reader that is merely slower than a burst catches up
/// within these 50 ms, and no client notices them.
const PATIENCE: i64 = 50_000_000;

/// So many bytes are written at once to what has room: that much a pipe takes without waiting (PIPE_BUF, pipe(7)).
const PIECE: usize = 4096;

/// A descriptor, and how its reader does.
pub(super) struct NonblockingWriter {
    file: File,
    /// What is left of a line of which a part was written.
    rest: Vec<u8>,
    /// Whether the last line found no room.
    stalled: bool,
    flood: RateLimiter,
}

impl NonblockingWriter {
    pub(super) fn new(file: File, flood: RateLimiter) -> Self {
        Self { file, rest: Vec::new(), stalled: false, flood }
    }

    /// Whether there is room, or will be in a moment. What cannot be asked, or fails, is found out by writing.
    fn has_room(&mut self) -> bool {
        let wait = if self.stalled { 0 } else { PATIENCE };
        let mut polled = [PollFd::new(&self.file, PollFlags::OUT)];
        let found = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: wait }));
        self.stalled = matches!(found, Ok(0));
        !self.stalled
    }

    /// Writes as far as there is room; gives back how much that was.
    fn write_piecewise(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() && self.has_room() {
            let end = bytes.len().min(written + PIECE);
            match self.file.write(&bytes[written..end]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody else has made it a descriptor that does not wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

impl Write for NonblockingWriter {
    /// Takes a whole line, or none of it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let rest = std::mem::take(&mut self.rest);
        let written = self.write_piecewise(&rest)?;
        if written < rest.len() {
            self.rest = rest[written..].to_vec();
            self.flood.unread();
            return Ok(line.len());
        }
        match self.write_piecewise(line)? {
            0 => self.flood.unread(),
            written => self.rest = line[written..].to_vec(),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// A pipe that holds so many pieces, and what writes to it.
    fn pipe(pieces: usize) -> (File, NonblockingWriter, RateLimiter) {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        assert_eq!(rustix::pipe::fcntl_setpipe_size(&writer, pieces * PIECE).unwrap(), pieces * PIECE);
        let flood = RateLimiter::default();
        (File::from(reader), NonblockingWriter::new(File::from(writer), flood.clone()), flood)
    }

    /// So many times this letter, and the end of the line.
    fn line(letter: &str, bytes: usize) -> String {
        format!("{}\n", letter.repeat(bytes - 1))
    }

    fn read(reader: &mut File, count: usize) -> String {
        let mut bytes = vec![0; count];
        reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn read_all(reader: &mut File) -> String {
        let mut left = String::new();
        reader.read_to_string(&mut left).unwrap();
        left
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_the_others_are_whole() {
        let (mut reader, mut patient, flood) = pipe(4);
        for letter in ["a", "b", "c", "d", "e", "f"] {
            patient.write_all(line(letter, PIECE).as_bytes()).unwrap();
        }
        assert_eq!(flood.unread_lines(), 2);
        let came = read(&mut reader, 4 * PIECE);
        assert!(came == ["a", "b", "c", "d"].map(|letter| line(letter, PIECE)).concat());
        patient.write_all(line("g", PIECE).as_bytes()).unwrap();
        drop(patient);
        assert!(read_all(&mut reader) == line("g", PIECE));
        assert_eq!(flood.unread_lines(), 2);
    }

    #[test]
    fn a_line_of_which_a_part_was_written_is_ended_before_the_next() {
        let (mut reader, mut patient, flood) = pipe(2);
        let long = line("x", 3 * PIECE + 1);
        patient.write_all(long.as_bytes()).unwrap();
        patient.write_all(b"no room\n").unwrap();
        assert_eq!(flood.unread_lines(), 1);
        let mut came = read(&mut reader, PIECE);
        patient.write_all(b"still none\n").unwrap();
        assert_eq!(flood.unread_lines(), 2);
        came += &read(&mut reader, 2 * PIECE);
        patient.write_all(b"after it\n").unwrap();
        drop(patient);
        came += &read_all(&mut reader);
        assert!(came == long + "after it\n");
        assert_eq!(flood.unread_lines(), 2);
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error_and_no_wait() {
        let (reader, mut patient, flood) = pipe(1);
        drop(reader);
        let error = patient.write_all(b"a line\n").unwrap_err();
        assert_eq!((error.kind(), flood.unread_lines()), (io::ErrorKind::BrokenPipe, 0));
    }
}
