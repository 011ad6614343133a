//! One request to a host that runs, for programs that have nothing else to do meanwhile: the host's look at itself,
//! and commands for operators.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use jackfield_protocol::{
    FrameBuffer, FrameLimit, Framing, InvalidReply, Kind, Reply, Version, write_request,
};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::value::RawValue;

/// The shortest time-out a socket can have: 0 would be none.
const SHORTEST: Duration = Duration::from_millis(1);

/// A reply as it came.
#[derive(Debug)]
pub struct BlockingReply(Vec<u8>);

impl BlockingReply {
    /// The reply's payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.0
    }

    /// The payload read as a reply.
    ///
    /// # Errors
    /// It is none: the peer does not speak the protocol.
    pub fn reply(&self) -> Result<Reply<'_>, InvalidReply> {
        Reply::parse(&self.0)
    }
}

/// Connects to the socket at `path`, sends one binary request, and waits for its reply; all of it within `limit`.
/// `params` is JSON. Blocks.
///
/// # Errors
/// The system's; of the kind `TimedOut` when there was no reply in time, `InvalidData` when what came is no frame.
pub fn ask_at(path: &Path, method: &str, params: &str, limit: Duration) -> io::Result<BlockingReply> {
    ask(&SocketAddrUnix::new(path)?, Framing::Binary, method, params, limit)
}

/// As [`ask_at`], of any socket.
pub(crate) fn ask(
    address: &SocketAddrUnix,
    framing: Framing,
    method: &str,
    params: &str,
    limit: Duration,
) -> io::Result<BlockingReply> {
    let until = Instant::now().checked_add(limit);
    let left = || match until.map(|until| until.saturating_duration_since(Instant::now())) {
        Some(Duration::ZERO) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        Some(left) => Ok(Some(left.max(SHORTEST))),
        None => Ok(None),
    };
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // It bounds connecting as well: a full queue is waited for (unix(7)).
    set_socket_timeout(&fd, Timeout::Send, left()?)?;
    connect(&fd, address).map_err(|error| timed_out(error.into()))?;
    let mut stream = UnixStream::from(fd);
    let request = request(framing, method, params)?;
    stream.set_write_timeout(left()?)?;
    stream.write_all(&request).map_err(timed_out)?;

    let mut came = FrameBuffer::new(FrameLimit::MAX);
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        stream.set_read_timeout(left()?)?;
        let read = match stream.read(&mut chunk) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(read) => &chunk[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(timed_out(error)),
        };
        match framing {
            Framing::Binary => {
                came.push(read);
                let frame =
                    came.next().map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal))?;
                if let Some(frame) = frame {
                    return Ok(BlockingReply(frame.payload.to_vec()));
                }
            }
            Framing::Line => {
                line.extend_from_slice(read);
                if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                    line.truncate(end);
                    return Ok(BlockingReply(line));
                }
            }
        }
    }
}

fn request(framing: Framing, method: &str, params: &str) -> io::Result<Vec<u8>> {
    let params: &RawValue = serde_json::from_str(params)?;
    let mut frame = Vec::new();
    write_request(&mut frame, Version::V1_0, Kind::Sync, None, method, Some(params.into()))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    if framing == Framing::Line {
        // The same document, with a line's end for a header.
        frame.drain(..jackfield_protocol::HEADER_LEN);
        frame.push(b'\n');
    }
    Ok(frame)
}

/// A socket's time-out shows as "would block"; it is told by its name.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::Error::from(io::ErrorKind::TimedOut) } else { error }
}
