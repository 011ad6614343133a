//! Redis: `SET dev_123 online`, so many in the pipeline of each connection.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::{Report, Tally};

const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$7\r\ndev_123\r\n$6\r\nonline\r\n";
const OK: &[u8] = b"+OK\r\n";

struct Connection {
    stream: UnixStream,
    /// When each request in flight was sent; replies come in their order.
    asked: VecDeque<Instant>,
    /// Bytes of a reply that is not whole.
    partial: usize,
    out: Vec<u8>,
}

pub(super) fn run(socket: &Path, connections: usize, window: usize, length: Duration) -> io::Result<Report> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut peers = Vec::new();
    for number in 0..connections {
        let stream = UnixStream::connect(socket)?;
        epoll::add(&epoll, &stream, EventData::new_u64(number as u64), EventFlags::IN)?;
        peers.push(Connection { stream, asked: VecDeque::new(), partial: 0, out: Vec::new() });
    }
    let mut tally = Tally::new(length)?;
    let mut in_flight = connections * window;
    for peer in &mut peers {
        peer.ask(window)?;
    }
    let mut events: Vec<Event> = Vec::with_capacity(connections.max(1));
    let mut bytes = vec![0; 64 * 1024];
    while in_flight > 0 {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let peer = &mut peers[event.data.u64() as usize];
            let (replies, again) = peer.receive(&mut bytes, &mut tally)?;
            in_flight -= replies;
            if again {
                peer.ask(replies)?;
                in_flight += replies;
            }
        }
    }
    Ok(tally.report())
}

impl Connection {
    /// A window of these fits the socket's buffer: the write does not wait.
    fn ask(&mut self, count: usize) -> io::Result<()> {
        let now = Instant::now();
        self.out.clear();
        for _ in 0..count {
            self.out.extend_from_slice(SET);
            self.asked.push_back(now);
        }
        self.stream.write_all(&self.out)
    }

    /// Reads once: how many replies were whole, and whether more is to be asked.
    fn receive(&mut self, bytes: &mut [u8], tally: &mut Tally) -> io::Result<(usize, bool)> {
        let count = self.stream.read(bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut replies, mut again) = (0, true);
        for byte in &bytes[..count] {
            if *byte != OK[self.partial] {
                return Err(io::Error::other("a reply that is not OK"));
            }
            self.partial = (self.partial + 1) % OK.len();
            if self.partial == 0 {
                let asked = self.asked.pop_front().ok_or_else(|| io::Error::other("a reply too many"))?;
                again = tally.answered(asked);
                replies += 1;
            }
        }
        Ok((replies, again))
    }
}
