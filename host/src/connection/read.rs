//! Bytes into frames: one read, every whole frame of it, and what to do with the rest.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::Guard;
use bytes::{Buf, BytesMut};
use jackfield_protocol::{
    Decoder, FrameLimit, Framing, HEADER_LEN, Header, Kind, LineDecoder, LineStep, Refusal, Step, Version,
};
use tokio_util::io::poll_read_buf;

use super::{Connection, READ, TurnBuffers};
use crate::clock::Time;
use crate::metrics::ThreadTotal;
use crate::routing::{ExhaustedResource, RequestError, RoutingTable};

/// Frames of one read that are few: with more of them, waking the thread for them is shared by so many that staying
/// awake for the next ones is not worth it.
const FEW: u32 = 4;

/// Frames out of bytes, in whichever framing the listener speaks.
pub(super) enum Framer {
    Binary(Decoder),
    Line(LineDecoder),
}

enum Piece<'a> {
    Frame { version: Version, kind: Kind, payload: &'a [u8], consumed: usize },
    Incomplete { needed: u64 },
    Discard { consumed: usize },
    Refused { refusal: Refusal, fatal: bool, consumed: usize },
}

impl Framer {
    pub(super) fn new(framing: Framing, limit: FrameLimit) -> Self {
        match framing {
            Framing::Binary => Self::Binary(Decoder::new(limit)),
            Framing::Line => Self::Line(LineDecoder::new(limit)),
        }
    }

    fn next<'a>(&mut self, input: &'a [u8]) -> Piece<'a> {
        match self {
            Self::Binary(decoder) => match decoder.step(input) {
                Step::Frame { header, payload, consumed } => {
                    Piece::Frame { version: header.version, kind: header.kind, payload, consumed }
                }
                Step::Incomplete { needed } => Piece::Incomplete { needed },
                Step::Discard { consumed } => Piece::Discard { consumed },
                Step::Refused { refusal, fatal, consumed } => Piece::Refused { refusal, fatal, consumed },
            },
            Self::Line(decoder) => match decoder.step(input) {
                // A line is what a sync frame is in the other framing.
                LineStep::Line { payload, consumed } => {
                    Piece::Frame { version: Version::V1_0, kind: Kind::Sync, payload, consumed }
                }
                // Where a line ends is not known: one that is long already is read on like a large frame.
                LineStep::Incomplete => {
                    let more = if input.len() < READ { 1 } else { READ + 1 };
                    Piece::Incomplete { needed: (input.len() + more) as u64 }
                }
                LineStep::Discard { consumed } => Piece::Discard { consumed },
                LineStep::TooLong { limit, fatal, consumed } => {
                    let length = limit.saturating_add(1);
                    let refusal =
                        Refusal::TooLarge { kind: Kind::Sync, version: Version::V1_0, length, limit };
                    Piece::Refused { refusal, fatal, consumed }
                }
            },
        }
    }

    fn is_discarding(&self) -> bool {
        match self {
            Self::Binary(decoder) => decoder.is_discarding(),
            Self::Line(decoder) => decoder.is_discarding(),
        }
    }
}

impl Connection {
    /// Reads once and decodes what came; `true` when anything did, the end included.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        table: &Guard<Arc<RoutingTable>>,
        buffers: &mut TurnBuffers,
        now: &mut Time,
    ) -> bool {
        let missing = self.needed.saturating_sub(self.inbox.len() as u64);
        // Seven bytes that announce a large frame are given no room of their own: that grows with what came.
        let large = self.inbox.len() >= READ && missing > READ as u64;
        if large && !self.make_room(missing, &mut buffers.out, *now) {
            return true;
        }
        let target = if large { &mut self.inbox } else { &mut buffers.read };
        if !large {
            target.clear();
            target.reserve(READ);
        }
        let count = match poll_read_buf(Pin::new(&mut self.stream), cx, target) {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) => count,
            // Reset by the peer: it reads no reply either.
            Poll::Ready(Err(_)) => {
                self.read_closed = true;
                self.closing = Some(self.lost());
                self.abandon();
                return true;
            }
        };
        if count == 0 {
            self.read_closed = true;
            // A frame cut short by its sender's end is no request: it must not run, and nobody asks for an answer.
            self.frame_begun = None;
            self.inbox = BytesMut::new();
            return true;
        }
        *now = Time::now();
        self.last_active = *now;
        self.thread.cells.add(ThreadTotal::BytesIn, count as u64);
        if let Some((_, bytes)) = &mut self.frame_begun {
            *bytes += count as u64;
        }
        let before = self.quota.frames();
        if self.inbox.is_empty() {
            let read = std::mem::take(&mut buffers.read);
            let consumed = self.decode(table, &read, &mut buffers.out, now);
            self.inbox.extend_from_slice(&read[consumed..]);
            buffers.read = read;
        } else {
            if !large {
                self.inbox.extend_from_slice(&buffers.read);
            }
            self.decode_inbox(table, buffers, now);
        }
        if before - self.quota.frames() <= FEW {
            self.thread.stir.note();
        }
        true
    }

    /// Whether another round would find nothing but an empty socket, as after nearly every request that comes alone. If
    /// so, this task is woken when the peer sends more.
    pub(super) fn awaits_peer(&self, cx: &mut Context<'_>) -> bool {
        // Bytes that are kept may be requests for which there was no room a moment ago.
        self.inbox.is_empty()
            && !self.read_closed
            && !self.quota.is_used_up()
            && !self.mailbox.is_filled()
            && !self.flights.has_turn()
            && self.takes_requests(&[])
            && self.stream.poll_read_ready(cx).is_pending()
    }

    /// Decodes what was left over; `true` when anything of it was used.
    pub(super) fn decode_inbox(
        &mut self,
        table: &Guard<Arc<RoutingTable>>,
        buffers: &mut TurnBuffers,
        now: &mut Time,
    ) -> bool {
        let mut inbox = std::mem::take(&mut self.inbox);
        // A frame that was given its room is not refused for holding it.
        self.share.set(self.held());
        let consumed = self.decode(table, &inbox, &mut buffers.out, now);
        if self.closing.is_some() {
            return true;
        }
        let left = inbox.len() - consumed;
        if left <= consumed {
            // A little that is left must not keep the room of a large frame.
            self.inbox.extend_from_slice(&inbox[consumed..]);
        } else {
            inbox.advance(consumed);
            self.inbox = inbox;
        }
        consumed > 0 || self.waits.is_some()
    }

    /// Takes every whole frame of `input`, as far as requests may be taken and the turn lasts; returns how many bytes that were.
    fn decode(
        &mut self,
        table: &Guard<Arc<RoutingTable>>,
        input: &[u8],
        out: &mut Vec<u8>,
        now: &mut Time,
    ) -> usize {
        let mut at = 0;
        while at < input.len() && self.takes_requests(out) && !self.quota.is_used_up() {
            match self.framer.next(&input[at..]) {
                Piece::Frame { version, kind, payload, consumed } => {
                    self.frame_begun = None;
                    self.frame(table, version, kind, payload, out, now);
                    if self.waits.is_some() {
                        // It stays where it is, and is decoded once more when its plugin can take it.
                        return at;
                    }
                    at += consumed;
                    self.quota.take(*now);
                }
                Piece::Discard { consumed } => {
                    at += consumed;
                    if !self.framer.is_discarding() {
                        self.frame_begun = None;
                    }
                }
                Piece::Refused { refusal, fatal, consumed } => {
                    at += consumed;
                    let version = match refusal {
                        Refusal::TooLarge { version, .. } => version,
                        Refusal::UnsupportedVersion { .. } => Version::V1_0,
                    };
                    let failure = RequestError::Refused(refusal);
                    if fatal {
                        self.refuse_and_close(out, version, &failure, "its framing cannot be followed");
                        return input.len();
                    }
                    self.refuse(out, version, &failure);
                    self.quota.take(*now);
                }
                Piece::Incomplete { needed } => {
                    self.needed = needed;
                    self.begin_frame(*now, input.len() - at);
                    return at;
                }
            }
        }
        if at == input.len() && self.framer.is_discarding() {
            self.begin_frame(*now, 0);
        } else {
            self.frame_begun = None;
        }
        at
    }

    fn begin_frame(&mut self, now: Time, bytes: usize) {
        if self.frame_begun.is_none() {
            self.frame_begun = Some((now, bytes as u64));
        }
    }

    /// Makes room in the inbox for more of a large frame: never more than came already, whatever is announced.
    /// Without room in the budget the frame is refused; `false` then.
    fn make_room(&mut self, missing: u64, out: &mut Vec<u8>, now: Time) -> bool {
        let room = usize::try_from(missing).unwrap_or(usize::MAX).min(self.inbox.len());
        let spare = self.inbox.capacity() - self.inbox.len();
        // A little spare room would make a little read.
        if spare >= room.min(READ) {
            return true;
        }
        let held = self.held() - self.inbox.capacity() as u64;
        if self.share.try_set(held + (self.inbox.len() + room) as u64) {
            self.inbox.reserve(room);
            return true;
        }
        self.skip_frame(out, now);
        false
    }

    /// Throws away a frame for which there is no memory, and says so.
    fn skip_frame(&mut self, out: &mut Vec<u8>, now: Time) {
        let failure = RequestError::Overloaded(ExhaustedResource::Buffers);
        let inbox = std::mem::take(&mut self.inbox);
        let header = inbox.first_chunk::<HEADER_LEN>().map(Header::decode);
        let (Framer::Binary(decoder), Some(Ok(header))) = (&mut self.framer, header) else {
            self.refuse_and_close(out, Version::V1_0, &failure, "there was no memory for its line");
            return;
        };
        decoder.skip_frame(header);
        // What is here of the payload goes with it: the decoder counts it.
        let mut rest = &inbox[HEADER_LEN..];
        while let Step::Discard { consumed } = decoder.step(rest) {
            rest = &rest[consumed..];
        }
        self.frame_begun = decoder.is_discarding().then_some((now, 0));
        self.refuse_unread(out, header, &failure);
    }

    /// Tells the peer what is wrong, and closes once it is told.
    pub(super) fn refuse_and_close(
        &mut self,
        out: &mut Vec<u8>,
        version: Version,
        failure: &RequestError,
        why: &'static str,
    ) {
        self.refuse(out, version, failure);
        self.inbox = BytesMut::new();
        self.frame_begun = None;
        self.closing = Some(self.cut(why));
    }
}
