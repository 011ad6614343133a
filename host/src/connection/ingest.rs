//! Ingest: reads bytes, decodes every whole frame of them, and passes the requests on.

use std::pin::Pin;
use std::task::Poll;

use jackfield_protocol::{
    EnvelopeError, FrameError, Framing, Header, InvalidRequest, Kind, Request, Version,
};
use tokio::net::UnixStream;
use tokio_util::io::poll_read_buf;

use super::admission::{Admission, Admitted};
use super::execution::AdmittedRequest;
use super::extended_request::{RequestFrame, extended_reply_kind};
use super::framing::{Frame, FrameEvent, READ_SIZE};
use super::phase::Phase;
use super::span;
use super::state::ConnectionState;
use super::turn::Turn;
use crate::clock::Time;
use crate::metrics::ThreadTotal;
use crate::routing::{CountedError, ExhaustedResource, LineError, RequestError};

/// Maximum number of frames in a read that counts as activity for busy polling. Larger reads share
/// the cost of waking the thread among more frames, so that staying awake does not pay off.
const FEW_FRAMES: u32 = 4;

impl ConnectionState {
    /// Decodes what is in the inbox, or else reads. Returns whether there was progress.
    pub(super) fn ingest(&mut self, stream: &mut UnixStream, turn: &mut Turn<'_>) -> bool {
        if self.phase.is_closing() || turn.quota.is_used_up() {
            return false;
        }
        if !self.reader.inbox.is_empty() && self.accepts_requests(turn) && self.decode_inbox(turn) {
            return true;
        }
        self.phase.is_open() && self.accepts_requests(turn) && self.read(stream, turn)
    }

    /// Reads once and decodes what has arrived. Returns whether anything has, the end included.
    fn read(&mut self, stream: &mut UnixStream, turn: &mut Turn<'_>) -> bool {
        let missing = self.reader.missing();
        // An announced length allocates nothing. The inbox grows only with bytes that have arrived.
        let is_large = self.reader.inbox.len() >= READ_SIZE && missing > READ_SIZE as u64;
        if is_large && !self.reserve_inbox(turn, missing) {
            return true;
        }

        let mut cx = turn.context();
        let target = if is_large { &mut self.reader.inbox } else { &mut turn.buffers.input };
        if !is_large {
            target.clear();
            target.reserve(READ_SIZE);
        }
        let count = match poll_read_buf(Pin::new(&mut *stream), &mut cx, target) {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) => count,
            // The peer has reset the connection. It reads no reply either.
            Poll::Ready(Err(_)) => {
                self.phase = Phase::Closing(self.reason_after_io_error());
                self.requests.abandon(turn.thread);
                return true;
            }
        };

        if count == 0 {
            self.take_end(stream, turn);
            return true;
        }
        self.take_read(turn, count, is_large);
        true
    }

    /// Decodes `count` bytes that have just been read.
    fn take_read(&mut self, turn: &mut Turn<'_>, count: usize, is_in_inbox: bool) {
        turn.now = Time::now();
        self.last_active = turn.now;
        turn.thread.cells.add(ThreadTotal::BytesIn, count as u64);
        self.reader.count_received(count);

        let frames_before = turn.quota.frames_left();
        if self.reader.inbox.is_empty() {
            let input = std::mem::take(&mut turn.buffers.input);
            let consumed = self.decode(turn, &input);
            self.reader.inbox.extend_from_slice(&input[consumed..]);
            turn.buffers.input = input;
        } else {
            if !is_in_inbox {
                self.reader.inbox.extend_from_slice(&turn.buffers.input);
            }
            self.decode_inbox(turn);
        }

        if frames_before - turn.quota.frames_left() <= FEW_FRAMES {
            turn.thread.activity.note();
        }
    }

    /// Returns whether another round would find nothing but an empty socket, as after nearly every
    /// request that arrives alone. The task is then woken when the peer sends more.
    pub(super) fn awaits_peer(&self, stream: &UnixStream, turn: &Turn<'_>) -> bool {
        // Bytes in the inbox may be requests for which there is room now.
        self.reader.inbox.is_empty()
            && self.phase.is_open()
            && !turn.quota.is_used_up()
            && !self.requests.mailbox.is_filled()
            && !self.requests.in_flight.has_next_queued()
            && self.accepts_requests(turn)
            && stream.poll_read_ready(&mut turn.context()).is_pending()
    }

    /// Decodes what is in the inbox. Returns whether there was progress.
    pub(super) fn decode_inbox(&mut self, turn: &mut Turn<'_>) -> bool {
        let inbox = std::mem::take(&mut self.reader.inbox);
        // The memory of the frame is released here, so that its request is not rejected for holding
        // it.
        self.buffer_share.set(self.buffered_bytes());

        let consumed = self.decode(turn, &inbox);
        if self.phase.is_closing() {
            return true;
        }
        self.reader.keep_rest(inbox, consumed);
        consumed > 0 || self.reader.is_gated()
    }

    /// Takes every whole frame of `input`, as far as requests are accepted and the quota lasts.
    /// Returns how many bytes were consumed.
    fn decode(&mut self, turn: &mut Turn<'_>, input: &[u8]) -> usize {
        let dispatcher = &turn.thread.dispatcher;
        let routes = if self.identity().options.admin { &dispatcher.admin_table } else { &dispatcher.table };
        // Loaded after the read: a request that was sent after a reload was acknowledged must never
        // see the previous table.
        let table = routes.load();
        let admission = Admission::new(&table, self.buffer_share.is_held() || !self.outbox.is_empty());

        let mut at = 0;
        while at < input.len() && self.accepts_requests(turn) && !turn.quota.is_used_up() {
            match self.reader.framer.next(&input[at..]) {
                FrameEvent::Frame { frame, consumed } => {
                    self.reader.clear_partial_frame();
                    self.handle_frame(turn, &admission, frame);
                    if self.reader.is_gated() {
                        // The frame is decoded again when the gate of its plugin opens.
                        return at;
                    }
                    at += consumed;
                    turn.quota.take(turn.now);
                }
                FrameEvent::Line { line, consumed } => {
                    self.reader.clear_partial_frame();
                    self.handle_line(turn, &admission, line);
                    if self.reader.is_gated() {
                        return at;
                    }
                    at += consumed;
                    turn.quota.take(turn.now);
                }
                FrameEvent::BinaryFrame => {
                    let why = "it sent a binary frame to a listener with line framing";
                    self.close_with_error(
                        turn,
                        Version::V1_0,
                        RequestError::Line(LineError::BinaryFrame),
                        why,
                    );
                    return input.len();
                }
                FrameEvent::Discard { consumed } => {
                    at += consumed;
                    if !self.reader.framer.is_discarding() {
                        self.reader.clear_partial_frame();
                    }
                }
                FrameEvent::Rejected { error, is_fatal, consumed } => {
                    at += consumed;
                    self.reject_frame(turn, error, is_fatal);
                    if is_fatal {
                        return input.len();
                    }
                    turn.quota.take(turn.now);
                }
                FrameEvent::Incomplete { needed } => {
                    self.reader.set_partial_frame(turn.now, input.len() - at, needed);
                    return at;
                }
            }
        }

        if at == input.len() && self.reader.framer.is_discarding() {
            self.reader.set_partial_frame(turn.now, 0, 0);
        } else {
            self.reader.clear_partial_frame();
        }
        at
    }

    fn handle_frame(&mut self, turn: &mut Turn<'_>, admission: &Admission<'_>, frame: Frame<'_>) {
        let Frame { version, kind, payload } = frame;
        match kind {
            Kind::Sync => {
                self.handle_request(turn, admission, RequestFrame::plain(version, Kind::Sync, payload));
            }
            Kind::AsyncRequest => {
                let kind = Kind::AsyncResponse;
                self.handle_request(turn, admission, RequestFrame::plain(version, kind, payload));
            }
            _ => match extended_reply_kind(version, kind) {
                Some(kind) => self.handle_extended_request(turn, admission, version, kind, payload),
                None => self.handle_control_frame(turn, version, kind, payload),
            },
        }
    }

    /// Handles a frame that contains a request.
    pub(super) fn handle_request(
        &mut self,
        turn: &mut Turn<'_>,
        admission: &Admission<'_>,
        frame: RequestFrame<'_>,
    ) {
        let RequestFrame { version, kind, envelope, bytes } = frame;
        // Borrowed, because moving a request out of the result copies all of it.
        let parsed = Request::parse(envelope);
        let request = match &parsed {
            Ok(request) => request,
            Err(InvalidRequest { id, error }) => {
                return self.requests.reject_envelope(turn, version, kind, *id, *error);
            }
        };
        if bytes.is_some() && request.params.is_some() {
            let error = EnvelopeError::ParamsBesideBytes;
            return self.requests.reject_envelope(turn, version, kind, request.id, error);
        }
        let reply = self.requests.reply_context(version, kind, request.id.map(|id| id.as_json()));
        let arrived = self.reader.take_arrival().unwrap_or(turn.now);

        match admission.admit(turn, &self.requests, request, arrived, kind) {
            Ok(Admitted::Execute { target, limits, permits }) => {
                let trial = permits.trial_number();
                let admitted = AdmittedRequest {
                    target,
                    request,
                    bytes,
                    accepted: turn.now,
                    limits,
                    reply,
                    trial,
                    // Requests of operators are not what operators look for.
                    tracer: turn.tracer.filter(|_| !self.requests.identity.options.admin),
                };
                self.requests.execute(turn, &admitted, permits);
            }
            Ok(Admitted::Wait(gate)) => self.reader.wait_at(gate, arrived),
            Err(rejection) => {
                span::record_rejected(turn, &self.requests.identity, request, &rejection.error);
                self.requests.reject(turn, reply, &request.method, &rejection);
            }
        }
    }

    /// Answers a frame that the framer rejects.
    fn reject_frame(&mut self, turn: &mut Turn<'_>, error: FrameError, is_fatal: bool) {
        let version = match error {
            FrameError::TooLarge { version, .. } => version,
            FrameError::UnsupportedVersion { .. } => Version::V1_0,
        };
        let error = match error {
            FrameError::TooLarge { limit, .. } if self.identity().options.framing == Framing::Line => {
                RequestError::Line(if is_fatal {
                    LineError::Endless(limit)
                } else {
                    LineError::TooLong(limit)
                })
            }
            error => RequestError::Rejected(error),
        };

        if is_fatal {
            self.close_with_error(turn, version, error, "its framing cannot be followed");
        } else {
            self.requests.report_error(turn, version, error);
        }
    }

    /// Makes room in the inbox for more of a large frame: never more than what has already arrived,
    /// whatever the peer announces. Returns `false` if the buffer budget has no room and the frame
    /// is rejected.
    fn reserve_inbox(&mut self, turn: &mut Turn<'_>, missing: u64) -> bool {
        let inbox = &self.reader.inbox;
        let (len, capacity) = (inbox.len(), inbox.capacity());
        let room = usize::try_from(missing).unwrap_or(usize::MAX).min(len);
        // With little spare capacity, the next read would be small.
        if capacity - len >= room.min(READ_SIZE) {
            return true;
        }

        let others = self.buffered_bytes() - capacity as u64;
        if self.buffer_share.try_set(others + (len + room) as u64) {
            self.reader.inbox.reserve(room);
            return true;
        }
        self.skip_frame(turn);
        false
    }

    /// Skips the frame in the inbox, because there is no memory for it, and answers it.
    fn skip_frame(&mut self, turn: &mut Turn<'_>) {
        let error = RequestError::Overloaded(ExhaustedResource::Buffers);
        let inbox = std::mem::take(&mut self.reader.inbox);
        let Some(header) = self.reader.framer.skip_frame(&inbox) else {
            return self.close_with_error(turn, Version::V1_0, error, "there was no memory for its line");
        };

        self.reader.clear_partial_frame();
        if self.reader.framer.is_discarding() {
            self.reader.set_partial_frame(turn.now, 0, 0);
        }
        self.reject_unread(turn, header, error);
    }

    /// Answers a frame whose payload is not read. The reply has no id, because it is unknown.
    fn reject_unread(&mut self, turn: &mut Turn<'_>, header: Header, error: RequestError) {
        let kind = match header.kind {
            Kind::Sync => Kind::Sync,
            Kind::AsyncRequest => Kind::AsyncResponse,
            kind => match extended_reply_kind(header.version, kind) {
                Some(kind) => kind,
                None => return self.handle_control_frame(turn, header.version, kind, b""),
            },
        };
        let reply = self.requests.reply_context(header.version, kind, None);
        self.requests.reject(turn, reply, "", &CountedError::of_unreadable(error));
    }

    /// Reports an error to the peer, and closes the connection once it is written.
    pub(super) fn close_with_error(
        &mut self,
        turn: &mut Turn<'_>,
        version: Version,
        error: RequestError,
        why: &'static str,
    ) {
        self.requests.report_error(turn, version, error);
        self.reader.clear();
        self.phase = Phase::Closing(self.close_by_host(turn, why));
    }
}
