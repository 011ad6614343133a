//! Redis: pipelined `SET dev_123 online`.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::report::{Recorder, Report};

const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$7\r\ndev_123\r\n$6\r\nonline\r\n";
const OK: &[u8] = b"+OK\r\n";

/// Upper bound of one read in bytes.
const READ: usize = 64 * 1024;

struct Connection {
    stream: UnixStream,
    /// The time at which each request in flight was sent; replies come in the same order.
    sent: VecDeque<Instant>,
    /// Number of received bytes of an incomplete reply.
    partial: usize,
    out: Vec<u8>,
}

pub(super) fn run(
    socket: &Path,
    connections: usize,
    window: usize,
    duration: Duration,
) -> io::Result<Report> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut peers = Vec::new();
    for number in 0..connections {
        let stream = UnixStream::connect(socket)?;
        epoll::add(&epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN)?;
        peers.push(Connection { stream, sent: VecDeque::new(), partial: 0, out: Vec::new() });
    }

    let mut recorder = Recorder::new(duration)?;
    let mut in_flight = connections * window;
    for peer in &mut peers {
        peer.send(window)?;
    }

    let mut events: Vec<Event> = Vec::with_capacity(connections.max(1));
    let mut bytes = vec![0; READ];
    while in_flight > 0 {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;

        for event in &events {
            let peer = &mut peers[event.data.u64() as usize];
            let (replies, continues) = peer.receive(&mut bytes, &mut recorder)?;
            in_flight -= replies;
            if continues {
                peer.send(replies)?;
                in_flight += replies;
            }
        }
    }
    Ok(recorder.report())
}

impl Connection {
    /// Sends requests. The write does not block, because a window of them fits the socket's buffer.
    fn send(&mut self, count: usize) -> io::Result<()> {
        let now = Instant::now();
        self.out.clear();
        for _ in 0..count {
            self.out.extend_from_slice(SET);
            self.sent.push_back(now);
        }
        self.stream.write_all(&self.out)
    }

    /// Reads once, and returns the number of complete replies and whether more requests are to
    /// follow.
    fn receive(&mut self, bytes: &mut [u8], recorder: &mut Recorder) -> io::Result<(usize, bool)> {
        let count = self.stream.read(bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }

        let mut replies = 0;
        let mut continues = true;
        for byte in &bytes[..count] {
            if *byte != OK[self.partial] {
                return Err(io::Error::other("redis: SET was not answered with OK"));
            }
            self.partial = (self.partial + 1) % OK.len();
            if self.partial == 0 {
                let sent = self.sent.pop_front();
                let sent = sent.ok_or_else(|| io::Error::other("redis: more replies than requests"))?;
                continues = recorder.record(sent);
                replies += 1;
            }
        }
        Ok((replies, continues))
    }
}
