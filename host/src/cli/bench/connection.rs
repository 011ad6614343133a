//! One connection of a load: sends requests, and matches each reply with a request in flight.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use jackfield_protocol::{Decoder, FrameLimit, Kind, Outcome, Reply, Step};
use rustix::net::{SendFlags, send};

use super::plan::LoadPlan;
use super::request_template::{RequestTag, RequestTemplate};
use super::tally::Tally;
use crate::cli::command_error::{SPEAKS_LINES, is_line};

/// Upper bound for one read, in bytes.
const READ_SIZE: usize = 256 * 1024;

/// Bytes of an error frame that a fault repeats.
const MAX_SHOWN_BYTES: usize = 200;

/// A request in flight.
#[derive(Debug, Clone, Copy)]
struct SentRequest {
    tag: RequestTag,
    due_at: Instant,
}

/// One connection to the host.
pub(super) struct BenchConnection {
    stream: UnixStream,
    decoder: Decoder,

    /// Bytes that were read and are not decoded yet.
    inbox: Vec<u8>,

    /// Requests to send; the kernel has taken the first `written` bytes.
    outbox: Vec<u8>,
    written: usize,

    /// The requests in flight. The length is the window.
    slots: Vec<Option<SentRequest>>,
    free_slots: Vec<u16>,

    /// The last request that was answered. Sync replies arrive in the order of their requests.
    last_answered: Option<RequestTag>,

    /// Whether the connection has ended, or has sent an invalid frame.
    is_closed: bool,
}

/// Opens all connections of a run.
pub(super) fn connect_all(socket: &Path, plan: &LoadPlan) -> io::Result<Vec<BenchConnection>> {
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
            outbox: Vec::new(),
            written: 0,
            slots: vec![None; window as usize],
            free_slots: free_slots(window as usize),
            last_answered: None,
            is_closed: false,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free_slots.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn has_room(&self) -> bool {
        !self.free_slots.is_empty() && !self.is_closed
    }

    /// Returns whether there are bytes that the kernel has not taken.
    pub(super) fn has_unsent(&self) -> bool {
        self.written < self.outbox.len()
    }

    /// Takes a request, which the next [`BenchConnection::flush`] sends. Returns `false` if the
    /// connection has no room for it.
    pub(super) fn enqueue(&mut self, template: &RequestTemplate, serial: u64, due_at: Instant) -> bool {
        if self.is_closed {
            return false;
        }
        let Some(slot) = self.free_slots.pop() else { return false };

        let tag = RequestTag::new(serial, slot);
        self.slots[usize::from(slot)] = Some(SentRequest { tag, due_at });
        template.write(tag, &mut self.outbox);
        true
    }

    /// Writes as many bytes as the kernel takes.
    pub(super) fn flush(&mut self, tally: &mut Tally) {
        while self.has_unsent() && !self.is_closed {
            match send(&self.stream, &self.outbox[self.written..], SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.written += count;
                    tally.bytes_out += count as u64;
                }
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => self.close(tally, &format!("write failed: {error}")),
            }
        }
        self.outbox.clear();
        self.written = 0;
    }

    /// Reads once and counts every complete reply.
    pub(super) fn receive(&mut self, template: &RequestTemplate, tally: &mut Tally) {
        self.inbox.reserve(READ_SIZE);

        match rustix::io::read(&self.stream, rustix::buffer::spare_capacity(&mut self.inbox)) {
            Ok(0) => self.close(tally, "closed by the host"),
            Ok(count) => {
                tally.bytes_in += count as u64;
                let inbox = std::mem::take(&mut self.inbox);
                self.inbox = self.count_replies(inbox, template, tally, Instant::now());
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => self.close(tally, &format!("read failed: {error}")),
        }
    }

    /// Counts the replies in `bytes` and returns the bytes of the incomplete frame at the end.
    fn count_replies(
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
                    if header.kind == template.reply_kind() {
                        self.count_reply(payload, template, tally, now);
                    } else {
                        count_other_frame(header.kind, payload, tally);
                    }
                }
                Step::Incomplete { .. } => break,
                Step::Discard { consumed } => at += consumed,
                Step::Refused { refusal, .. } => {
                    tally.count_unexpected(|| match is_line(&refusal) {
                        true => SPEAKS_LINES.to_owned(),
                        false => format!("invalid frame: {refusal}"),
                    });
                    self.close(tally, "invalid frame");
                    return Vec::new();
                }
            }
        }

        bytes.drain(..at);
        bytes
    }

    fn count_reply(&mut self, payload: &[u8], template: &RequestTemplate, tally: &mut Tally, now: Instant) {
        let reply = match Reply::parse(payload) {
            Ok(reply) => reply,
            Err(invalid) => return tally.count_unexpected(|| format!("invalid reply: {invalid}")),
        };
        let tag = reply.id.and_then(|id| RequestTag::parse(&id.text()));
        let Some(request) = tag.and_then(|tag| self.take_request(tag)) else {
            return tally.count_unexpected(|| match reply.id {
                Some(id) => format!("reply to {}, which is unknown or already answered", id.as_json()),
                None => "reply without an id".to_owned(),
            });
        };

        self.free_slots.push(request.tag.slot());
        if !template.is_async() && self.last_answered.replace(request.tag) > Some(request.tag) {
            tally.count_unexpected(|| "sync reply out of order".to_owned());
        }
        match reply.outcome {
            Outcome::Result(_) | Outcome::Bytes(_) => tally.results += 1,
            Outcome::Error(error) => *tally.errors.entry(error.code).or_default() += 1,
        }
        tally.record_latency(now.saturating_duration_since(request.due_at));
    }

    fn take_request(&mut self, tag: RequestTag) -> Option<SentRequest> {
        let slot = self.slots.get_mut(usize::from(tag.slot()))?;
        slot.take_if(|request| request.tag == tag)
    }

    #[cold]
    fn close(&mut self, tally: &mut Tally, reason: &str) {
        let in_flight = self.in_flight();

        self.is_closed = true;
        self.slots.fill(None);
        self.free_slots = free_slots(self.slots.len());
        tally.count_lost(in_flight as u64, || {
            format!("connection with {in_flight} requests in flight ended: {reason}")
        });
    }
}

impl AsFd for BenchConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Returns all slots of a window. The lowest one is taken first, from the end.
fn free_slots(window: usize) -> Vec<u16> {
    (0..window).rev().filter_map(|slot| u16::try_from(slot).ok()).collect()
}

/// Counts a frame that is not a reply. A host may announce that it goes away; any other frame is
/// wrong.
fn count_other_frame(kind: Kind, payload: &[u8], tally: &mut Tally) {
    if kind == Kind::Error {
        let shown = payload.get(..MAX_SHOWN_BYTES).unwrap_or(payload);
        let shown = String::from_utf8_lossy(shown).into_owned();
        return tally.count_lost(0, || format!("error frame from the host: {shown}"));
    }
    tally.count_unexpected(|| format!("unexpected frame of kind {:02x}", kind.wire()));
}
