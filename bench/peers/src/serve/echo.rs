//! The kernel's share: one thread, one epoll, every frame sent back. Nothing is parsed: a request becomes its own reply
//! by the kind in its header and by `,"result":true` put before its last byte, which is enough for `jackfield bench`.
//! With a spin it polls so long after the last event before it sleeps.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use jackfield_protocol::HEADER_LEN;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use slab::Slab;

/// What one read takes at most.
const READ: usize = 256 * 1024;
/// The listener among the connections.
const LISTENER: u64 = u64::MAX;
/// What makes a request a reply.
const RESULT: &[u8] = br#","result":true}"#;

struct Connection {
    stream: UnixStream,
    inbox: Vec<u8>,
    out: Vec<u8>,
    /// Bytes of `out` that the kernel has.
    written: usize,
    watched: EventFlags,
}

/// Serves until the process is ended.
pub(crate) fn serve(socket: &Path, spin: Duration) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections = Slab::new();
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    let mut last = Instant::now();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        events.clear();
        let polls = !spin.is_zero() && last.elapsed() < spin;
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), polls.then_some(&at_once)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            if event.data.u64() == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                let entry = connections.vacant_entry();
                epoll::add(&epoll, &stream, EventData::new_u64(entry.key() as u64), EventFlags::IN)?;
                entry.insert(Connection::new(stream));
                continue;
            }
            let key = event.data.u64() as usize;
            let connection = &mut connections[key];
            if connection.turn().is_err() {
                connections.remove(key);
                continue;
            }
            // What the peer does not read is not added to: no more is taken from it.
            let watched = if connection.out.is_empty() { EventFlags::IN } else { EventFlags::OUT };
            if watched != connection.watched {
                connection.watched = watched;
                epoll::modify(&epoll, &connection.stream, event.data, watched)?;
            }
        }
        if !spin.is_zero() && !events.is_empty() {
            last = Instant::now();
        }
    }
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self { stream, inbox: Vec::new(), out: Vec::new(), written: 0, watched: EventFlags::IN }
    }

    /// Reads once unless something is to be written first, and answers what is whole. An error ends the connection.
    fn turn(&mut self) -> Result<(), Errno> {
        if self.out.is_empty() {
            self.inbox.reserve(READ);
            match rustix::io::read(&self.stream, rustix::buffer::spare_capacity(&mut self.inbox)) {
                Ok(0) => return Err(Errno::PIPE),
                Ok(_) => self.answer(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        while self.written < self.out.len() {
            match send(&self.stream, &self.out[self.written..], SendFlags::NOSIGNAL) {
                Ok(count) => self.written += count,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    fn answer(&mut self) {
        let mut at = 0;
        while let Some(header) = self.inbox.get(at..at + HEADER_LEN) {
            let length = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
            let end = at + HEADER_LEN + length as usize;
            let Some(payload) = self.inbox.get(at + HEADER_LEN..end).filter(|payload| !payload.is_empty())
            else {
                break;
            };
            // An async request's reply has the next kind.
            self.out.extend_from_slice(&[header[0], header[1], header[2] + u8::from(header[2] == 4)]);
            self.out.extend_from_slice(&(length + RESULT.len() as u32 - 1).to_be_bytes());
            self.out.extend_from_slice(&payload[..payload.len() - 1]);
            self.out.extend_from_slice(RESULT);
            at = end;
        }
        self.inbox.drain(..at);
    }
}
