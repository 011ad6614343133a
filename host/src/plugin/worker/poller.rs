//! The descriptors that the supervisor waits for: channels, ends and output of its workers, and its
//! own signal.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use super::line_id::LineId;
use super::live_worker::LiveWorker;
use crate::clock::Time;

/// Events that one wait returns.
const EVENTS: usize = 64;

/// A descriptor of a worker that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerSource {
    /// The channel can be read, or written if the supervisor waits for that.
    Channel,
    /// The process has ended.
    Process,
    /// The plugin has printed something.
    Output,
}

const SOURCES: [WorkerSource; 3] = [WorkerSource::Channel, WorkerSource::Process, WorkerSource::Output];

/// The data of the signal's events.
const SIGNAL: u64 = u64::MAX;

/// The descriptors that the supervisor waits for.
pub(super) struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub(super) fn new(signal: impl AsFd) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, signal, EventData::new_u64(SIGNAL), EventFlags::IN)?;
        Ok(Self { epoll })
    }

    /// Watches a worker.
    ///
    /// # Errors
    ///
    /// The kernel has no memory for it.
    pub(super) fn add(&self, worker: &LiveWorker) -> io::Result<()> {
        let data = |source| data(worker.id, source);
        epoll::add(&self.epoll, &worker.process.socket, data(WorkerSource::Channel), EventFlags::IN)?;
        epoll::add(&self.epoll, worker.process.pidfd(), data(WorkerSource::Process), EventFlags::IN)?;
        if let Some(output) = worker.process.output_fd() {
            epoll::add(&self.epoll, output, data(WorkerSource::Output), EventFlags::IN)?;
        }
        Ok(())
    }

    /// Stops watching a worker. Its socket may stay open for as long as another thread writes to
    /// it.
    pub(super) fn remove(&self, worker: &LiveWorker) {
        let _ = epoll::delete(&self.epoll, &worker.process.socket);
        let _ = epoll::delete(&self.epoll, worker.process.pidfd());
        self.remove_output(worker);
    }

    pub(super) fn remove_output(&self, worker: &LiveWorker) {
        if let Some(output) = worker.process.output_fd() {
            let _ = epoll::delete(&self.epoll, output);
        }
    }

    /// Sets whether to wait until the channel of a worker can be written.
    pub(super) fn watch_writable(&self, worker: &mut LiveWorker, waits: bool) {
        if worker.waits_to_write == waits {
            return;
        }
        worker.waits_to_write = waits;
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, waits);
        // It is watched, so this cannot fail.
        let _ =
            epoll::modify(&self.epoll, &worker.process.socket, data(worker.id, WorkerSource::Channel), flags);
    }

    /// Waits until something is ready, or until `until`, and returns what is.
    ///
    /// # Errors
    ///
    /// The system call failed.
    pub(super) fn wait(&self, until: Time) -> io::Result<Vec<(LineId, WorkerSource)>> {
        let limit = (until != Time::NEVER).then(|| until.since(Time::now()));
        // A wait that ends just before the time would be followed by several more.
        let limit =
            limit.map(|limit| if limit.is_zero() { limit } else { limit + Duration::from_micros(50) });
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());

        let mut events = [MaybeUninit::<Event>::uninit(); EVENTS];
        match epoll::wait(&self.epoll, &mut events, limit.as_ref()) {
            Ok((events, _)) => Ok(events.iter().filter_map(|event| source_of(event.data.u64())).collect()),
            Err(Errno::INTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

fn data(id: LineId, source: WorkerSource) -> EventData {
    EventData::new_u64(u64::from(id.0) << 2 | source as u64)
}

fn source_of(data: u64) -> Option<(LineId, WorkerSource)> {
    let id = u32::try_from(data >> 2).ok()?;
    SOURCES.iter().find(|source| **source as u64 == data & 0b11).map(|source| (LineId(id), *source))
}
