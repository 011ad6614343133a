//! The loop of a load: sends what is due, waits, counts what came, until all is sent and answered.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::peer::BenchConnection;
use super::tally::Tally;
use super::template::RequestTemplate;
use super::{Plan, StopCondition};

/// How often a terminal is told how it goes.
const PROGRESS: Duration = Duration::from_secs(1);

/// The timer among the connections.
const TIMER: u64 = u64::MAX;
/// A wait that is over before this program could sleep and wake.
const NOT_WORTH_SLEEPING: Duration = Duration::from_micros(20);

fn spec(length: Duration) -> io::Result<Timespec> {
    Timespec::try_from(length).map_err(io::Error::other)
}

/// What a run came to.
pub(super) struct RunResult {
    pub(super) tally: Tally,
    /// From the first request to the last reply, or to the end of the wait for it.
    pub(super) elapsed: Duration,
}

/// A load that is about to run.
pub(super) struct LoadDriver {
    plan: Plan,
    template: RequestTemplate,
    peers: Vec<BenchConnection>,
    epoll: OwnedFd,
    timer: OwnedFd,
    /// The connections that are watched for room to write, too.
    congested: Vec<bool>,
    tally: Tally,
    begun: Instant,
    /// Requests that were due so far, sent or not.
    due: u64,
    /// Whose turn it is among the connections.
    turn: usize,
    progress: Option<Progress>,
}

/// What was told last.
struct Progress {
    at: Instant,
    answered: u64,
}

impl LoadDriver {
    pub(super) fn new(
        plan: Plan,
        template: RequestTemplate,
        peers: Vec<BenchConnection>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        // Setting it anew takes back that it was due: it is never read.
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
        for (number, peer) in peers.iter().enumerate() {
            epoll::add(&epoll, peer, EventData::new_u64(number as u64), EventFlags::IN)?;
        }
        let begun = Instant::now();
        Ok(Self {
            congested: vec![false; peers.len()],
            plan,
            template,
            peers,
            epoll,
            timer,
            tally: Tally::new().map_err(io::Error::other)?,
            begun,
            due: 0,
            turn: 0,
            progress: io::stderr().is_terminal().then_some(Progress { at: begun, answered: 0 }),
        })
    }

    pub(super) fn run(mut self) -> io::Result<RunResult> {
        self.begun = Instant::now();
        let mut events = Vec::with_capacity(self.peers.len().clamp(1, 1024));
        let mut last_sent = self.begun;
        for number in 0..self.peers.len() {
            if self.plan.interval.is_none() {
                self.fill(number, self.begun)?;
            }
        }
        loop {
            let now = Instant::now();
            let sends = self.sends(now);
            if sends {
                last_sent = now;
                self.send_due(now)?;
            }
            let in_flight = self.peers.iter().any(|peer| peer.in_flight() > 0);
            if !sends && (!in_flight || now >= last_sent + self.plan.timeout) {
                break;
            }
            self.tell(now);
            let timeout = self.next_instant(now, sends, last_sent).saturating_duration_since(now);
            self.wait(timeout, &mut events)?;
            for event in &events {
                let number = match usize::try_from(event.data.u64()) {
                    Ok(number) if number < self.peers.len() => number,
                    // The timer.
                    _ => continue,
                };
                let flags = event.flags;
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    self.peers[number].receive(&self.template, &mut self.tally, Instant::now);
                }
                let now = Instant::now();
                if self.plan.interval.is_none() && self.sends(now) {
                    self.fill(number, now)?;
                } else {
                    self.flush(number)?;
                }
            }
        }
        if self.progress.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        self.tally.unanswered = self.peers.iter().map(|peer| peer.in_flight() as u64).sum();
        self.tally.unsent = self.due - self.tally.sent;
        Ok(RunResult { elapsed: self.begun.elapsed(), tally: self.tally })
    }

    /// Waits for something to read, or so long. A wait of epoll is counted in milliseconds, which a timer's is not.
    fn wait(&self, timeout: Duration, events: &mut Vec<Event>) -> io::Result<()> {
        let exact = self.plan.interval.is_some() && timeout > NOT_WORTH_SLEEPING;
        if exact {
            let once = Itimerspec { it_interval: spec(Duration::ZERO)?, it_value: spec(timeout)? };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        let timeout = match self.plan.interval {
            None => Some(spec(timeout)?),
            Some(_) if exact => None,
            Some(_) => Some(spec(Duration::ZERO)?),
        };
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is more to send, now or later.
    fn sends(&self, now: Instant) -> bool {
        let more = match self.plan.until {
            StopCondition::Elapsed(length) => now < self.begun + length,
            StopCondition::Sent(count) => self.tally.sent < count,
        };
        more && self.peers.iter().any(|peer| !peer.is_gone)
    }

    /// As many requests as one connection has room for: what is answered is followed at once.
    fn fill(&mut self, number: usize, now: Instant) -> io::Result<()> {
        let most = match self.plan.until {
            StopCondition::Elapsed(_) => u64::MAX,
            StopCondition::Sent(count) => count,
        };
        let peer = &mut self.peers[number];
        while self.tally.sent < most && peer.ask(&self.template, self.tally.sent, now) {
            self.tally.sent += 1;
            self.due = self.tally.sent;
        }
        self.flush(number)
    }

    /// The requests of an open loop whose time has come, over the connections in turn.
    fn send_due(&mut self, now: Instant) -> io::Result<()> {
        let Some(interval) = self.plan.interval else { return Ok(()) };
        let passed = (now - self.begun).as_nanos() / interval.as_nanos().max(1) + 1;
        self.due = u64::try_from(passed).unwrap_or(u64::MAX);
        if let StopCondition::Sent(count) = self.plan.until {
            self.due = self.due.min(count);
        }
        let mut touched = Vec::new();
        'due: while self.tally.sent < self.due {
            let due = self.next_due(interval);
            for _ in 0..self.peers.len() {
                self.turn = (self.turn + 1) % self.peers.len();
                let peer = &mut self.peers[self.turn];
                if peer.has_room() && peer.ask(&self.template, self.tally.sent, due) {
                    self.tally.sent += 1;
                    touched.push(self.turn);
                    continue 'due;
                }
            }
            break;
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().try_for_each(|number| self.flush(number))
    }

    /// When the next request of an open loop is due.
    fn next_due(&self, interval: Duration) -> Instant {
        let nanos = interval.as_nanos().saturating_mul(u128::from(self.tally.sent));
        self.begun + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn flush(&mut self, number: usize) -> io::Result<()> {
        let (peer, congested) = (&mut self.peers[number], &mut self.congested[number]);
        peer.flush(&mut self.tally);
        if peer.is_gone {
            // It may be gone already.
            let _ = epoll::delete(&self.epoll, &*peer);
        } else if peer.has_unsent() != *congested {
            *congested = peer.has_unsent();
            let room = if *congested { EventFlags::OUT } else { EventFlags::empty() };
            epoll::modify(&self.epoll, &*peer, EventData::new_u64(number as u64), EventFlags::IN | room)?;
        }
        Ok(())
    }

    /// When there is something to do even if nothing comes.
    fn next_instant(&self, now: Instant, sends: bool, last_sent: Instant) -> Instant {
        let mut next = now + PROGRESS;
        if !sends {
            return next.min(last_sent + self.plan.timeout);
        }
        if let StopCondition::Elapsed(length) = self.plan.until {
            next = next.min(self.begun + length);
        }
        if let Some(interval) = self.plan.interval
            && self.peers.iter().any(BenchConnection::has_room)
        {
            next = next.min(self.next_due(interval));
        }
        next
    }

    /// Tells a terminal how it goes.
    fn tell(&mut self, now: Instant) {
        let Some(told) = &mut self.progress else { return };
        let since = now - told.at;
        if since < PROGRESS {
            return;
        }
        let answered = self.tally.answered();
        let rate = (answered - told.answered) as f64 / since.as_secs_f64();
        let in_flight: usize = self.peers.iter().map(BenchConnection::in_flight).sum();
        let elapsed = (now - self.begun).as_secs();
        let _ = write!(
            io::stderr(),
            "\r\x1b[K{elapsed} s: {rate:.0} requests/s, {answered} answered, {in_flight} in flight"
        );
        *told = Progress { at: now, answered };
    }
}
