//! One client's connection: reads frames, has them answered, writes the replies; one task on one I/O thread.
//!
//! A turn of the task takes the replies that other threads left, reads once, decodes every whole frame of it,
//! writes all that is ready with one write, and goes on while anything moves. An idle connection holds no buffer:
//! reading and writing go through the thread's own, and only what is left over is kept.

mod activity;
mod deadlines;
mod execution;
mod in_flight;
mod inline_execution;
mod mailbox;
mod migration;
mod outbox;
mod read;
mod refusal;
mod request;
mod request_log;
mod slow_log;
mod submission_batch;
mod thread_context;
mod turn_quota;

use std::future::Future as _;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::Guard;
use bytes::BytesMut;
use jackfield_protocol::{FrameLimit, Framing};
use tokio::net::UnixStream;

use self::in_flight::InFlightTable;
use self::mailbox::Mailbox;
pub(crate) use self::migration::MigratingConnection;
use self::outbox::Outbox;
use self::read::Framer;
pub(crate) use self::thread_context::ThreadContext;
use self::thread_context::TurnBuffers;
use self::turn_quota::TurnQuota;
use crate::clock::Time;
use crate::limits::{BudgetShare, Permit};
use crate::metrics::{ConnectionHandle, PeerIdentity, ThreadTotal};
use crate::routing::{ConnectionRules, GateOpened, RoutingTable};
use crate::timer::TimerEntry;

/// What one read takes at most: 64 KiB holds some 600 small requests, and more would only leave the cache.
const READ: usize = 64 * 1024;

/// How often a turn of a task reads at most before the thread's other connections have theirs; see also [`TurnQuota`].
const ROUNDS: usize = 4;

/// What a listener asks of its connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenerOptions {
    pub(crate) framing: Framing,
    pub(crate) close_after_reply: bool,
    /// Whether it is for operators: other methods are reachable.
    pub(crate) admin: bool,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The peer has gone, or was answered all and asked no more.
    Done,
    /// It did nothing for longer than it may.
    Idle,
    /// A frame or a write did not move on, or the framing cannot be trusted.
    Cut(&'static str),
    /// The peer vanished with requests in flight.
    Vanished,
}

/// How a connection left its thread.
pub(crate) enum ConnectionEnd {
    Closed(CloseReason),
    Moves(Box<MigratingConnection>),
}

/// A connection and everything it owes.
pub(crate) struct Connection {
    number: u64,
    stream: UnixStream,
    thread: Rc<ThreadContext>,
    manner: ListenerOptions,
    /// The configuration's, as they were at the beginning of the turn.
    rules: Arc<ConnectionRules>,
    mailbox: Arc<Mailbox>,
    framer: Framer,
    /// Bytes of a frame that is not whole, or that must wait.
    inbox: BytesMut,
    outbox: Outbox,
    flights: InFlightTable,
    share: BudgetShare,
    alarm: TimerEntry,
    /// Its place among those that are shown.
    caller: ConnectionHandle,
    /// Who that is, at hand for each request; `None` when the kernel would not say.
    peer: Option<PeerIdentity>,
    /// Since when a frame has been begun and not finished, and how many bytes came since.
    frame_begun: Option<(Time, u64)>,
    /// What is left of this turn.
    quota: TurnQuota,
    /// Bytes that the frame at the front of the inbox needs in all, as its peer claims.
    needed: u64,
    last_active: Time,
    /// The peer will send no more.
    read_closed: bool,
    /// Nothing more is read; what is written goes out, then it closes.
    closing: Option<CloseReason>,
    replied: bool,
    /// The request at the front of the inbox waits for this: its plugin hands its state over.
    waits: Option<GateOpened>,
    /// Gone only when the connection has moved on.
    permit: Option<Permit>,
}

impl Connection {
    pub(crate) fn new(
        number: u64,
        stream: UnixStream,
        thread: &Rc<ThreadContext>,
        manner: ListenerOptions,
        caller: ConnectionHandle,
        permit: Permit,
    ) -> Self {
        let dispatcher = &thread.dispatcher;
        let rules = dispatcher.rules.load_full();
        let now = Time::now();
        Self {
            number,
            stream,
            manner,
            mailbox: Mailbox::new(&thread.dispatcher),
            framer: Framer::new(manner.framing, FrameLimit::new(rules.limits.frame)),
            inbox: BytesMut::new(),
            outbox: Outbox::default(),
            flights: InFlightTable::default(),
            share: BudgetShare::new(&dispatcher.budget),
            alarm: TimerEntry::new(&thread.wakes, number),
            peer: caller.peer(),
            caller,
            frame_begun: None,
            quota: TurnQuota::new(now),
            needed: 0,
            last_active: now,
            read_closed: false,
            closing: None,
            replied: false,
            waits: None,
            rules,
            thread: Rc::clone(thread),
            permit: Some(permit),
        }
    }

    /// What wakes this connection from outside.
    pub(crate) fn poker(&self) -> ConnectionNotifier {
        ConnectionNotifier(Arc::clone(&self.mailbox))
    }

    /// Serves the peer to the end, or until the connection moves to another thread.
    pub(crate) async fn serve(mut self) -> ConnectionEnd {
        let left = std::future::poll_fn(|cx| self.turn_or_move(cx)).await;
        if let ConnectionEnd::Closed(farewell) = left {
            tracing::debug!(conn = self.number, ?farewell, "closed");
        }
        left
    }

    fn turn_or_move(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        if self.thread.leaving.get() {
            match self.pack() {
                Ok(packed) => return Poll::Ready(ConnectionEnd::Moves(Box::new(packed))),
                // It stays for as long as it lasts: the thread ends later.
                Err(error) => tracing::error!(conn = self.number, %error, "a connection could not be moved"),
            }
        }
        self.turn(cx).map(ConnectionEnd::Closed)
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.mailbox.waker.register(cx.waker());
        let mut buffers = std::mem::take(&mut *self.thread.buffers.borrow_mut());
        let thread = Rc::clone(&self.thread);
        let routes =
            if self.manner.admin { &thread.dispatcher.admin_table } else { &thread.dispatcher.table };
        let rules = thread.dispatcher.rules.load();
        if !Arc::ptr_eq(&rules, &self.rules) {
            self.rules = Arc::clone(&rules);
        }
        let mut now = Time::now();
        if self.thread.hurrying.get() {
            self.flights.hurry(now);
        }
        self.alarm.clear_if_due(now);
        self.quota = TurnQuota::new(now);
        let mut rounds = 0;
        let farewell = loop {
            if self.waits.as_mut().is_some_and(|opened| Pin::new(opened).poll(cx).is_ready()) {
                self.waits = None;
            }
            if rounds > 0 && self.mailbox.is_filled() {
                // What was answered since the turn began is not as old as the turn.
                now = Time::now();
            }
            // Looked up anew each time: what was sent after a change was told must not find what was before it.
            let table = routes.load();
            self.take_delivered(&mut buffers, now);
            self.expire(&mut buffers.out, now);
            // Behind the one that has just ended, and what the turn before left.
            self.next_turn(&mut buffers.out, now);
            let was_full = !self.takes_requests(&buffers.out);
            let moved = self.advance(cx, &table, &mut buffers, &mut now);
            self.hand_over(&mut buffers.out, now);
            let adds = !self.outbox.is_empty() && !buffers.out.is_empty();
            match self.outbox.flush(&mut self.stream, cx, &mut buffers.out, now) {
                // Memory is short, and this peer lets more and more of it wait.
                Ok(0) if adds && thread.dispatcher.budget.is_spent() => {
                    break Some(
                        self.cut("it does not read, and the bytes that may be buffered are all held"),
                    );
                }
                Ok(sent) => self.wrote(sent, now),
                Err(_) => break Some(self.lost()),
            }
            if let Some(farewell) = self.is_over(now) {
                break Some(farewell);
            }
            // What was full may have room now: nothing else would wake this task for the bytes that wait.
            let has_room = was_full && self.takes_requests(&buffers.out);
            if !moved && !has_room && !self.flights.has_turn() || self.awaits_peer(cx) {
                break None;
            }
            rounds += 1;
            if rounds == ROUNDS || self.quota.is_used_up() {
                // Polled once it wakes this task again, after the thread has looked at its other sockets.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                break None;
            }
        };
        buffers.out.clear();
        // One large reply must not stay with the thread for ever.
        buffers.out.shrink_to(4 * outbox::HIGH_WATER);
        *self.thread.buffers.borrow_mut() = buffers;
        self.caller.set_in_flight(self.flights.len());
        match farewell {
            Some(farewell) => Poll::Ready(farewell),
            None => {
                self.share.set(self.held());
                let next = self.next_instant(now);
                self.alarm.set(next, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Decodes what is there, else reads; `true` when anything moved.
    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        table: &Guard<Arc<RoutingTable>>,
        buffers: &mut TurnBuffers,
        now: &mut Time,
    ) -> bool {
        if self.closing.is_some() || self.quota.is_used_up() {
            return false;
        }
        if !self.inbox.is_empty()
            && self.takes_requests(&buffers.out)
            && self.decode_inbox(table, buffers, now)
        {
            return true;
        }
        !self.read_closed && self.takes_requests(&buffers.out) && self.read(cx, table, buffers, now)
    }

    /// Whether a further request may be taken: else its bytes stay where they are, in the end with the peer.
    fn takes_requests(&self, out: &[u8]) -> bool {
        let limits = &self.rules.limits;
        self.flights.len() < limits.in_flight_per_connection
            && self.outbox.len() + out.len() < outbox::HIGH_WATER
            && self.closing.is_none()
            && self.waits.is_none()
            && !(self.manner.close_after_reply && (self.replied || !self.flights.is_empty()))
    }

    fn wrote(&mut self, sent: usize, now: Time) {
        if sent > 0 {
            self.thread.cells.add(ThreadTotal::BytesOut, sent as u64);
            self.last_active = now;
        }
    }

    /// Bytes of memory that this connection holds for its peer.
    fn held(&self) -> u64 {
        (self.inbox.capacity() + self.outbox.held() + self.flights.held) as u64
    }

    /// Whether anything of the peer's is kept, or in the works. One of which nothing is may ask although the budget is
    /// spent, one request at a time: those who spent it by not reading must not silence those who read.
    fn holds_anything(&self) -> bool {
        self.share.is_held() || !self.flights.is_empty() || !self.outbox.is_empty()
    }

    /// Counts a connection that is ended before its peer ends it.
    fn cut(&self, why: &'static str) -> CloseReason {
        self.thread.dispatcher.metrics.counters.connections_cut.add(1);
        tracing::debug!(conn = self.number, why, "cut");
        CloseReason::Cut(why)
    }

    /// The peer cannot be written to, or read from.
    fn lost(&mut self) -> CloseReason {
        if self.flights.is_empty() { CloseReason::Done } else { CloseReason::Vanished }
    }

    /// Gives up what is in flight: nobody is there to be told.
    fn abandon(&mut self) {
        self.flights.abandon(&self.thread.cells);
    }
}

/// Wakes a connection from elsewhere on its thread.
pub(crate) struct ConnectionNotifier(Arc<Mailbox>);

impl ConnectionNotifier {
    pub(crate) fn poke(&self) {
        self.0.waker.wake();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without its permit it has moved, and lives on elsewhere with its mailbox.
        if self.permit.is_some() {
            self.abandon();
            self.mailbox.close();
        }
    }
}
