//! Writes log lines to systemd's journal, and never blocks its caller for longer than a grace
//! period.
//!
//! A line is one datagram of fields in the journal's native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>). The kernel queues few of them, so a blocking
//! send would stop the connections of every I/O thread that logs while the journal does not read.
//! Lines are therefore dropped and counted as [`nonblocking_writer`](super::nonblocking_writer)
//! does it:
//!
//! - The first line that finds the queue full waits, for at most [`GRACE`].
//! - Later lines are dropped without waiting, until one can be sent.
//!
//! Spans are not written: the host has none.

use std::fmt::{Debug, Write as _};
use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, sendmsg_addr, sendto, socket_with,
};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::nonblocking_writer::GRACE;
use super::rate_limit::RateLimiter;
use crate::sealed_file;

/// The socket of the journal.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Precedes the names of all fields of a line but the message, so that none is taken for a field of
/// the journal itself.
const PREFIX: &str = "JACKFIELD_";

/// The connection to the journal, with which no line of any thread waits for another one.
struct JournalSocket {
    socket: OwnedFd,
    address: SocketAddrUnix,
    /// Whether the last line found the queue full.
    is_stalled: AtomicBool,
    limiter: RateLimiter,
}

impl JournalSocket {
    /// Creates the socket and checks that the journal listens.
    fn connect(path: &Path, limiter: RateLimiter) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        // The kernel may apply it twice to one datagram: until the sender may send, and until the
        // receiver has room.
        set_socket_timeout(&socket, Timeout::Send, Some(GRACE / 2))?;
        let journal =
            Self { socket, address: SocketAddrUnix::new(path)?, is_stalled: AtomicBool::new(false), limiter };

        // The journal ignores a datagram without fields.
        match journal.send(&[], SendFlags::empty()) {
            Ok(()) | Err(Errno::AGAIN) => Ok(journal),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a line, or drops and counts it.
    fn write(&self, line: &[u8]) {
        let is_stalled = self.is_stalled.load(Ordering::Relaxed);
        let flags = if is_stalled { SendFlags::DONTWAIT } else { SendFlags::empty() };

        let mut sent = self.send(line, flags);
        if sent == Err(Errno::INTR) {
            sent = self.send(line, SendFlags::DONTWAIT);
        }

        self.is_stalled.store(sent == Err(Errno::AGAIN), Ordering::Relaxed);
        // The other errors are those of a journal that is being restarted.
        if sent.is_err() {
            self.limiter.count_stall_drop();
        }
    }

    fn send(&self, line: &[u8], flags: SendFlags) -> Result<(), Errno> {
        let flags = flags | SendFlags::NOSIGNAL;
        match sendto(&self.socket, line, flags, &self.address) {
            Err(Errno::MSGSIZE) => self.send_in_memory_file(line, flags),
            sent => sent.map(drop),
        }
    }

    /// Sends a line that does not fit into a datagram. The journal reads it from a file that nobody
    /// can change any more.
    fn send_in_memory_file(&self, line: &[u8], flags: SendFlags) -> Result<(), Errno> {
        let mut file = sealed_file::create("jackfield:log")?;
        file.write_all(line).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        sealed_file::seal(&file, Duration::ZERO)?;

        let descriptors = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg_addr(&self.socket, &self.address, &[IoSlice::new(&[])], &mut control, flags).map(drop)
    }
}

/// Writes each line to the journal.
pub(super) struct JournalLayer {
    journal: JournalSocket,
    /// The name of the program.
    identifier: String,
}

impl JournalLayer {
    /// Connects to the journal of this machine.
    ///
    /// # Errors
    ///
    /// The journal does not listen.
    pub(super) fn connect(limiter: RateLimiter) -> io::Result<Self> {
        Self::connect_to(Path::new(SOCKET), limiter)
    }

    fn connect_to(path: &Path, limiter: RateLimiter) -> io::Result<Self> {
        let program = std::env::args_os().next().unwrap_or_default();
        let name = Path::new(&program).file_name().unwrap_or_default();
        let identifier = name.to_string_lossy().into_owned();
        Ok(Self { journal: JournalSocket::connect(path, limiter)?, identifier })
    }
}

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _cx: Context<'_, S>) {
        let mut fields = EncodedFields::default();
        fields.add_metadata(event.metadata());
        fields.add("SYSLOG_IDENTIFIER", &self.identifier);
        event.record(&mut fields);
        self.journal.write(&fields.bytes);
    }
}

/// The fields of one line in the format of the journal: a name, and a value with its length.
#[derive(Default)]
struct EncodedFields {
    bytes: Vec<u8>,
    /// The text of a value that formats itself.
    text: String,
}

impl EncodedFields {
    fn add(&mut self, name: &str, value: &str) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b'\n');
        self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }

    fn add_metadata(&mut self, metadata: &Metadata<'_>) {
        self.add("PRIORITY", priority(*metadata.level()));
        self.add("TARGET", metadata.target());
        if let Some(file) = metadata.file() {
            self.add("CODE_FILE", file);
        }
        if let Some(line) = metadata.line() {
            self.add("CODE_LINE", &line.to_string());
        }
    }

    fn add_field(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            return self.add("MESSAGE", value);
        }
        let name = field.name().bytes().map(|byte| if byte == b'.' { b'_' } else { byte });
        let name = name.skip_while(|byte| *byte == b'_');
        let valid = name.filter(|byte| *byte == b'_' || byte.is_ascii_alphanumeric());
        let name: String = valid.map(|byte| char::from(byte.to_ascii_uppercase())).collect();
        self.add(&format!("{PREFIX}{name}"), value);
    }
}

impl Visit for EncodedFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        // If the value fails to format itself, its text ends there.
        let _ = write!(text, "{value:?}");
        self.add_field(field, &text);
        self.text = text;
    }
}

/// Returns the priority of syslog that a level has in the journal.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}

#[cfg(test)]
mod tests;
