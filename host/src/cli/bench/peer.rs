//! One connection of a load: what it has sent and not had answered, and whether a reply is one of these.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use jackfield_protocol::{Decoder, FrameLimit, Kind, Outcome, Reply, Step};
use rustix::net::{SendFlags, send};

use super::Plan;
use super::tally::Tally;
use super::template::{RequestTag, RequestTemplate};

/// What one read takes at most.
const READ: usize = 256 * 1024;

/// A request in flight.
#[derive(Debug, Clone, Copy)]
struct SentRequest {
    ticket: RequestTag,
    due: Instant,
}

/// One connection.
pub(super) struct BenchConnection {
    stream: UnixStream,
    decoder: Decoder,
    inbox: Vec<u8>,
    out: Vec<u8>,
    /// Bytes of `out` that the kernel has.
    written: usize,
    slots: Vec<Option<SentRequest>>,
    free: Vec<u16>,
    /// Sync replies come in the order of their requests.
    last: Option<RequestTag>,
    /// It has ended, or speaks another language.
    pub(super) is_gone: bool,
}

/// Opens every connection of a run.
pub(super) fn connect_all(socket: &Path, plan: &Plan) -> io::Result<Vec<BenchConnection>> {
    (0..plan.connections)
        .map(|_| {
            let stream = UnixStream::connect(socket)?;
            stream.set_nonblocking(true)?;
            Ok(BenchConnection::new(stream, plan.window))
        })
        .collect()
}

impl BenchConnection {
    fn new(stream: UnixStream, window: u32) -> Self {
        Self {
            stream,
            decoder: Decoder::new(FrameLimit::MAX),
            inbox: Vec::new(),
            out: Vec::new(),
            written: 0,
            slots: vec![None; window as usize],
            // The last is taken first.
            free: (0..window).rev().filter_map(|slot| u16::try_from(slot).ok()).collect(),
            last: None,
            is_gone: false,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty() && !self.is_gone
    }

    /// Whether bytes wait for the kernel.
    pub(super) fn has_unsent(&self) -> bool {
        self.written < self.out.len()
    }

    /// Takes a request that is due; it leaves with the next [`BenchConnection::flush`]. `false`: there is no room for it.
    pub(super) fn ask(&mut self, template: &RequestTemplate, serial: u64, due: Instant) -> bool {
        if self.is_gone {
            return false;
        }
        let Some(slot) = self.free.pop() else { return false };
        let ticket = RequestTag::new(serial, slot);
        self.slots[usize::from(slot)] = Some(SentRequest { ticket, due });
        template.write(ticket, &mut self.out);
        true
    }

    /// Hands bytes to the kernel, as many as it takes.
    pub(super) fn flush(&mut self, tally: &mut Tally) {
        while self.has_unsent() && !self.is_gone {
            match send(&self.stream, &self.out[self.written..], SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.written += count;
                    tally.bytes_out += count as u64;
                }
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => self.end(tally, &format!("could not be written to: {error}")),
            }
        }
        self.out.clear();
        self.written = 0;
    }

    /// Reads once and counts every whole reply of it.
    pub(super) fn receive(
        &mut self,
        template: &RequestTemplate,
        tally: &mut Tally,
        now: impl FnOnce() -> Instant,
    ) {
        self.inbox.reserve(READ);
        match rustix::io::read(&self.stream, rustix::buffer::spare_capacity(&mut self.inbox)) {
            Ok(0) => self.end(tally, "was closed by the host"),
            Ok(count) => {
                tally.bytes_in += count as u64;
                let inbox = std::mem::take(&mut self.inbox);
                self.inbox = self.replies(inbox, template, tally, now());
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => self.end(tally, &format!("could not be read from: {error}")),
        }
    }

    /// Counts the replies in the bytes; gives back what is left.
    fn replies(
        &mut self,
        mut bytes: Vec<u8>,
        template: &RequestTemplate,
        tally: &mut Tally,
        now: Instant,
    ) -> Vec<u8> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.decoder.step(rest) {
                Step::Frame { header, payload, consumed } => {
                    at += consumed;
                    if header.kind == template.answer() {
                        self.reply(payload, template, tally, now);
                    } else {
                        self.aside(header.kind, payload, tally);
                    }
                }
                Step::Incomplete { .. } => break,
                Step::Discard { consumed } => at += consumed,
                Step::Refused { refusal, .. } => {
                    tally.wrong(|| format!("what came is no frame: {refusal}"));
                    self.end(tally, "spoke another language");
                    return Vec::new();
                }
            }
        }
        bytes.drain(..at);
        bytes
    }

    fn reply(&mut self, payload: &[u8], template: &RequestTemplate, tally: &mut Tally, now: Instant) {
        let reply = match Reply::parse(payload) {
            Ok(reply) => reply,
            Err(invalid) => return tally.wrong(|| format!("not a reply: {invalid}")),
        };
        let ticket = reply.id.and_then(|id| RequestTag::read(&id.text()));
        let asked = ticket.and_then(|ticket| {
            let slot = self.slots.get_mut(usize::from(ticket.slot()))?;
            slot.take_if(|asked| asked.ticket == ticket)
        });
        let Some(asked) = asked else {
            return tally.wrong(|| match reply.id {
                Some(id) => format!("a reply to {}, which was not asked here or is answered", id.as_json()),
                None => "a reply without an id".to_owned(),
            });
        };
        self.free.push(asked.ticket.slot());
        if !template.is_async() && self.last.replace(asked.ticket) > Some(asked.ticket) {
            tally.wrong(|| "a sync reply out of order".to_owned());
        }
        match reply.outcome {
            Outcome::Result(_) => tally.results += 1,
            Outcome::Error(error) => *tally.errors.entry(error.code).or_default() += 1,
        }
        tally.took(now.saturating_duration_since(asked.due));
    }

    /// A frame that is no reply: a notice that the host goes away is its right, the rest is not.
    fn aside(&mut self, kind: Kind, payload: &[u8], tally: &mut Tally) {
        if kind == Kind::Error {
            let words = String::from_utf8_lossy(payload.get(..200).unwrap_or(payload)).into_owned();
            return tally.lost(0, || format!("the host said {words}"));
        }
        tally.wrong(|| format!("a frame of kind {:02x}, which nobody asked for", kind.wire()));
    }

    #[cold]
    fn end(&mut self, tally: &mut Tally, how: &str) {
        self.is_gone = true;
        let in_flight = self.in_flight() as u64;
        tally.lost(in_flight, || format!("a connection {how}, with {in_flight} requests in flight"));
        self.slots.fill(None);
        self.free = (0..self.slots.len()).filter_map(|slot| u16::try_from(slot).ok()).collect();
    }
}

impl AsFd for BenchConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
