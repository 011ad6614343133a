//! The loop of a load: sends the requests that are due, reads replies, and ends when everything is
//! sent and answered.
//!
//! In a closed loop, each connection keeps its window full: a reply is followed by the next request
//! at once. In an open loop, requests are due at even intervals, and are sent round-robin over the
//! connections that have room.

use std::io;
use std::time::{Duration, Instant};

use super::connection::BenchConnection;
use super::plan::{LoadPlan, StopCondition};
use super::poller::{self, ConnectionPoller};
use super::progress::ProgressLine;
use super::request_template::RequestTemplate;
use super::tally::Tally;

/// Upper bound for the events of one wait. With more connections, the others follow in the next.
const MAX_EVENTS: usize = 1024;

/// The result of a run.
pub(super) struct RunResult {
    pub(super) tally: Tally,

    /// Time from the first request to the last reply, or to the end of the wait for it.
    pub(super) elapsed: Duration,
}

/// A load that is about to run.
pub(super) struct LoadDriver {
    plan: LoadPlan,
    template: RequestTemplate,
    connections: Vec<BenchConnection>,
    poller: ConnectionPoller,
    tally: Tally,
    started_at: Instant,

    /// Number of requests that were due until now, sent or not.
    due: u64,

    /// The connection that was tried last for a request of an open loop.
    last_tried: usize,
}

impl LoadDriver {
    pub(super) fn new(
        plan: LoadPlan,
        template: RequestTemplate,
        connections: Vec<BenchConnection>,
    ) -> io::Result<Self> {
        Ok(Self {
            poller: ConnectionPoller::new(&connections, plan.interval.is_some())?,
            plan,
            template,
            connections,
            tally: Tally::new().map_err(io::Error::other)?,
            started_at: Instant::now(),
            due: 0,
            last_tried: 0,
        })
    }

    pub(super) fn run(mut self) -> io::Result<RunResult> {
        self.started_at = Instant::now();
        let mut progress = ProgressLine::on_terminal(self.started_at);
        let mut events = Vec::with_capacity(self.connections.len().clamp(1, MAX_EVENTS));
        let mut last_sent_at = self.started_at;

        if self.plan.interval.is_none() {
            for number in 0..self.connections.len() {
                self.fill_window(number, self.started_at)?;
            }
        }

        loop {
            let now = Instant::now();
            let is_sending = self.is_sending(now);
            if is_sending {
                last_sent_at = now;
                self.send_due(now)?;
            } else if self.in_flight() == 0 || now >= last_sent_at + self.plan.timeout {
                break;
            }
            if let Some(progress) = &mut progress {
                progress.update(now, self.tally.answered(), || self.in_flight());
            }

            let next = self.next_action_at(now, is_sending, last_sent_at);
            self.poller.wait(next.saturating_duration_since(now), &mut events)?;

            for event in &events {
                if let Some(number) = poller::connection_of(event) {
                    self.serve(number, poller::is_readable(event))?;
                }
            }
        }

        drop(progress);
        self.tally.unanswered = self.in_flight() as u64;
        self.tally.unsent = self.due - self.tally.sent;
        Ok(RunResult { elapsed: self.started_at.elapsed(), tally: self.tally })
    }

    fn in_flight(&self) -> usize {
        self.connections.iter().map(BenchConnection::in_flight).sum()
    }

    /// Returns whether there are more requests to send, now or later.
    fn is_sending(&self, now: Instant) -> bool {
        let has_more = match self.plan.until {
            StopCondition::Elapsed(duration) => now < self.started_at + duration,
            StopCondition::Sent(count) => self.tally.sent < count,
        };
        has_more && self.connections.iter().any(|connection| !connection.is_closed())
    }

    /// Reads the replies of a connection and sends what it has room for.
    fn serve(&mut self, number: usize, is_readable: bool) -> io::Result<()> {
        if is_readable {
            self.connections[number].receive(&self.template, &mut self.tally);
        }

        let now = Instant::now();
        if self.plan.interval.is_none() && self.is_sending(now) {
            self.fill_window(number, now)
        } else {
            self.flush(number)
        }
    }

    /// Sends as many requests of a closed loop as the window of the connection allows.
    fn fill_window(&mut self, number: usize, now: Instant) -> io::Result<()> {
        let most = match self.plan.until {
            StopCondition::Elapsed(_) => u64::MAX,
            StopCondition::Sent(count) => count,
        };

        let connection = &mut self.connections[number];
        while self.tally.sent < most && connection.enqueue(&self.template, self.tally.sent, now) {
            self.tally.sent += 1;
            self.due = self.tally.sent;
        }
        self.flush(number)
    }

    /// Sends the requests of an open loop that are due, round-robin over the connections that have
    /// room.
    fn send_due(&mut self, now: Instant) -> io::Result<()> {
        let Some(interval) = self.plan.interval else { return Ok(()) };

        let due = (now - self.started_at).as_nanos() / interval.as_nanos().max(1) + 1;
        self.due = u64::try_from(due).unwrap_or(u64::MAX);
        if let StopCondition::Sent(count) = self.plan.until {
            self.due = self.due.min(count);
        }

        let mut used = Vec::new();
        while self.tally.sent < self.due {
            let Some(number) = self.enqueue_next(self.next_due_at(interval)) else { break };
            used.push(number);
        }

        used.sort_unstable();
        used.dedup();
        used.into_iter().try_for_each(|number| self.flush(number))
    }

    /// Gives a request to the next connection that has room and returns its number; `None` if no
    /// connection has room.
    fn enqueue_next(&mut self, due_at: Instant) -> Option<usize> {
        for _ in 0..self.connections.len() {
            self.last_tried = (self.last_tried + 1) % self.connections.len();
            let connection = &mut self.connections[self.last_tried];
            if connection.enqueue(&self.template, self.tally.sent, due_at) {
                self.tally.sent += 1;
                return Some(self.last_tried);
            }
        }
        None
    }

    /// Returns when the next request of an open loop is due.
    fn next_due_at(&self, interval: Duration) -> Instant {
        let nanos = interval.as_nanos().saturating_mul(u128::from(self.tally.sent));
        self.started_at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn flush(&mut self, number: usize) -> io::Result<()> {
        let connection = &mut self.connections[number];
        connection.flush(&mut self.tally);
        self.poller.update(number, connection)
    }

    /// Returns when there is something to do even if no event occurs.
    fn next_action_at(&self, now: Instant, is_sending: bool, last_sent_at: Instant) -> Instant {
        let next = now + ProgressLine::INTERVAL;
        if !is_sending {
            return next.min(last_sent_at + self.plan.timeout);
        }

        let end = match self.plan.until {
            StopCondition::Elapsed(duration) => Some(self.started_at + duration),
            StopCondition::Sent(_) => None,
        };
        let due = match self.plan.interval {
            Some(interval) if self.connections.iter().any(BenchConnection::has_room) => {
                Some(self.next_due_at(interval))
            }
            _ => None,
        };
        [end, due].into_iter().flatten().fold(next, Instant::min)
    }
}
