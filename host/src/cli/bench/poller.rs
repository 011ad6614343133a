//! Waits for events on the connections of a load, with a time-out finer than a millisecond.

use std::io;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::connection::BenchConnection;

/// The event data of the timer. Those of a connection are its number.
const TIMER: u64 = u64::MAX;

/// Time-outs up to this poll without sleeping: to sleep and wake up takes longer.
const MIN_SLEEP: Duration = Duration::from_micros(20);

/// An epoll instance with the connections of a load, and a timer.
pub(super) struct ConnectionPoller {
    epoll: OwnedFd,
    timer: OwnedFd,

    /// Whether time-outs use the timer, whose unit is a nanosecond. The unit of epoll is a
    /// millisecond.
    is_precise: bool,

    /// Whether the connection of this number is also polled for room to write.
    polls_writable: Vec<bool>,
}

impl ConnectionPoller {
    pub(super) fn new(connections: &[BenchConnection], is_precise: bool) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;

        // The timer is never read: setting it again clears its expiration.
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
        for (number, connection) in connections.iter().enumerate() {
            epoll::add(&epoll, connection, EventData::new_u64(number as u64), EventFlags::IN)?;
        }
        Ok(Self { epoll, timer, is_precise, polls_writable: vec![false; connections.len()] })
    }

    /// Replaces `events` by those that have occurred. If there are none, waits for at most
    /// `timeout`.
    pub(super) fn wait(&self, timeout: Duration, events: &mut Vec<Event>) -> io::Result<()> {
        let uses_timer = self.is_precise && timeout > MIN_SLEEP;
        if uses_timer {
            let once = Itimerspec { it_interval: timespec(Duration::ZERO)?, it_value: timespec(timeout)? };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        let epoll_timeout = match (self.is_precise, uses_timer) {
            (false, _) => Some(timespec(timeout)?),
            (true, true) => None,
            (true, false) => Some(timespec(Duration::ZERO)?),
        };

        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), epoll_timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Polls a connection for room to write exactly while it has unsent bytes, and not at all once
    /// it is closed.
    pub(super) fn update(&mut self, number: usize, connection: &BenchConnection) -> io::Result<()> {
        if connection.is_closed() {
            // It may already be removed.
            let _ = epoll::delete(&self.epoll, connection);
            return Ok(());
        }

        let polls_writable = &mut self.polls_writable[number];
        if connection.has_unsent() != *polls_writable {
            *polls_writable = connection.has_unsent();
            let writable = if *polls_writable { EventFlags::OUT } else { EventFlags::empty() };
            let data = EventData::new_u64(number as u64);
            epoll::modify(&self.epoll, connection, data, EventFlags::IN | writable)?;
        }
        Ok(())
    }
}

/// Returns the number of the connection that an event is about; `None` for the timer.
pub(super) fn connection_of(event: &Event) -> Option<usize> {
    let data = event.data.u64();
    if data == TIMER { None } else { usize::try_from(data).ok() }
}

/// Returns whether the connection can be read, which includes that it was closed or failed.
pub(super) fn is_readable(event: &Event) -> bool {
    let flags = event.flags;
    flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR)
}

fn timespec(duration: Duration) -> io::Result<Timespec> {
    Timespec::try_from(duration).map_err(io::Error::other)
}
