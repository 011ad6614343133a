//! The share of the kernel: one thread and one epoll that send every frame back.
//!
//! Nothing is parsed. The kind in the header and `,"result":true` before the last byte make a
//! request its own reply, which satisfies `jackfield bench`. With `spin`, the thread polls for that
//! long after the last event before it sleeps.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use jackfield_protocol::HEADER_LEN;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use slab::Slab;

/// Upper bound of one read in bytes.
const READ: usize = 256 * 1024;

/// Upper bound of events per wait.
const EVENTS: usize = 1024;

/// The key of the listener among those of the connections.
const LISTENER: u64 = u64::MAX;

/// The end of a reply. It replaces the closing brace of the request.
const RESULT: &[u8] = br#","result":true}"#;

const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

struct Connection {
    stream: UnixStream,
    inbox: Vec<u8>,
    out: Vec<u8>,
    /// Number of bytes of `out` that the kernel has accepted.
    written: usize,
    watched: EventFlags,
}

/// Serves until the process is terminated.
pub(crate) fn serve(socket: &Path, spin: Duration) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;

    let mut connections = Slab::new();
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    let mut last_event = Instant::now();

    loop {
        events.clear();
        let is_spinning = !spin.is_zero() && last_event.elapsed() < spin;
        let timeout = is_spinning.then_some(&NO_WAIT);
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }

        for event in &events {
            if event.data.u64() == LISTENER {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let key = event.data.u64() as usize;
            let connection = &mut connections[key];
            if connection.turn().is_err() {
                connections.remove(key);
                continue;
            }
            connection.watch(&epoll, event.data)?;
        }

        if !spin.is_zero() && !events.is_empty() {
            last_event = Instant::now();
        }
    }
}

fn accept(listener: &UnixListener, epoll: impl AsFd, connections: &mut Slab<Connection>) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    let entry = connections.vacant_entry();
    epoll::add(epoll, &stream, EventData::new_u64(entry.key() as u64), EventFlags::IN)?;
    entry.insert(Connection::new(stream));
    Ok(())
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self { stream, inbox: Vec::new(), out: Vec::new(), written: 0, watched: EventFlags::IN }
    }

    /// Reads once unless there are bytes to write, and answers the complete frames. An error ends
    /// the connection.
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

    /// Waits for the peer to read if it has not read everything, else for its next request.
    fn watch(&mut self, epoll: impl AsFd, key: EventData) -> io::Result<()> {
        let watched = if self.out.is_empty() { EventFlags::IN } else { EventFlags::OUT };
        if watched != self.watched {
            self.watched = watched;
            epoll::modify(epoll, &self.stream, key, watched)?;
        }
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

            // The reply to an async request (4) has the next kind.
            self.out.extend_from_slice(&[header[0], header[1], header[2] + u8::from(header[2] == 4)]);
            self.out.extend_from_slice(&(length + RESULT.len() as u32 - 1).to_be_bytes());
            self.out.extend_from_slice(&payload[..payload.len() - 1]);
            self.out.extend_from_slice(RESULT);
            at = end;
        }
        self.inbox.drain(..at);
    }
}
