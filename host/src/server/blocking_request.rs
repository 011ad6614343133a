//! One blocking request to a socket of this host, or a connection without one, for the health
//! check.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use jackfield_protocol::{
    FrameBuffer, FrameLimit, Framing, InvalidReply, Kind, Reply, RequestMembers, RequestParams, Version,
    write_request,
};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown, socket_with,
};
use serde_json::value::RawValue;

/// The shortest time-out of a socket. Zero would mean that there is none.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// The payload of a reply.
#[derive(Debug)]
pub(super) struct BlockingReply(Vec<u8>);

impl BlockingReply {
    pub(super) fn payload(&self) -> &[u8] {
        &self.0
    }

    /// Parses the payload.
    ///
    /// # Errors
    ///
    /// It is not a reply: the peer does not speak the protocol.
    pub(super) fn reply(&self) -> Result<Reply<'_>, InvalidReply> {
        Reply::parse(&self.0)
    }
}

/// Connects to `address`, sends one request with `params` as JSON, and waits for its reply, within
/// `limit` in all. Blocks.
///
/// # Errors
///
/// A failed system call. The kind is `TimedOut` if there was no reply within `limit`, and
/// `InvalidData` if the bytes received are not a frame.
pub(super) fn send_request(
    address: &SocketAddrUnix,
    framing: Framing,
    method: &str,
    params: &str,
    limit: Duration,
) -> io::Result<BlockingReply> {
    let until = Instant::now().checked_add(limit);
    let mut stream = connect_until(address, until)?;
    let request = encode(framing, method, params)?;
    stream.set_write_timeout(left(until)?)?;
    stream.write_all(&request).map_err(as_timed_out)?;

    let mut frames = FrameBuffer::new(FrameLimit::MAX);
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        stream.set_read_timeout(left(until)?)?;
        let read = match stream.read(&mut chunk) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(read) => &chunk[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(as_timed_out(error)),
        };

        match framing {
            Framing::Binary => {
                frames.push(read);
                let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
                if let Some(frame) = frames.next().map_err(invalid)? {
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

/// Connects to `address`, closes the connection for writing, and waits until the peer closes it,
/// too, within `limit` in all. Blocks.
///
/// # Errors
///
/// A failed system call. The kind is `TimedOut` if the connection did not end within `limit`.
pub(super) fn wait_for_end(address: &SocketAddrUnix, limit: Duration) -> io::Result<()> {
    let until = Instant::now().checked_add(limit);
    let mut stream = connect_until(address, until)?;
    shutdown(&stream, Shutdown::Write)?;

    let mut chunk = [0; 4096];
    loop {
        stream.set_read_timeout(left(until)?)?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(as_timed_out(error)),
            Ok(_) | Err(_) => {}
        }
    }
}

fn connect_until(address: &SocketAddrUnix, until: Option<Instant>) -> io::Result<UnixStream> {
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The time-out for sending also bounds `connect(2)`, which waits while the backlog is full
    // (unix(7)).
    set_socket_timeout(&fd, Timeout::Send, left(until)?)?;
    connect(&fd, address).map_err(|error| as_timed_out(error.into()))?;
    Ok(UnixStream::from(fd))
}

/// Returns the time-out of the next system call; `None` if there is no limit.
fn left(until: Option<Instant>) -> io::Result<Option<Duration>> {
    match until.map(|until| until.saturating_duration_since(Instant::now())) {
        Some(Duration::ZERO) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        Some(left) => Ok(Some(left.max(SHORTEST_TIMEOUT))),
        None => Ok(None),
    }
}

fn encode(framing: Framing, method: &str, params: &str) -> io::Result<Vec<u8>> {
    let params: &RawValue = serde_json::from_str(params)?;
    let mut frame = Vec::new();
    let (members, params) = (RequestMembers::default(), RequestParams::Json(params.into()));
    write_request(&mut frame, Version::V1_0, Kind::Sync, None, method, members, params)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;

    if framing == Framing::Line {
        // A line is the same document, with a newline behind it instead of a header before it.
        frame.drain(..jackfield_protocol::HEADER_LEN);
        frame.push(b'\n');
    }
    Ok(frame)
}

/// Returns `error` as `TimedOut` if it is "would block", which is how a socket's time-out appears.
fn as_timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::Error::from(io::ErrorKind::TimedOut) } else { error }
}
