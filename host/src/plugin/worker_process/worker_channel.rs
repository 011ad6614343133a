//! The sending end of the channel in a worker process. Lines of the log are dropped when too much
//! is queued; nothing else is.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use jackfield_plugin_api::Level;

use crate::host_thread::HostThread;
use crate::log::Counted;
use crate::worker::channel_writer::{ChannelWriter, Flushed, WhenFull};
use crate::worker::message::{CallNumber, WorkerMessage};

/// Bytes in the queue above which lines of the log are dropped.
const MAX_QUEUED: usize = 1 << 20;

/// Interval at which an ending process checks whether all messages are sent.
const FINISH_POLL: Duration = Duration::from_micros(100);

/// The sending end of the channel, shared by all threads of the process.
///
/// A thread that sends waits while the socket is full. If the other end is closed, messages are
/// discarded, and `on_closed` is called. The thread that reads the channel does not always notice:
/// if the plugin has closed the descriptor, a read that has begun waits for ever.
pub(super) struct WorkerChannel {
    writer: ChannelWriter,

    on_closed: fn(),

    /// The thread that sends what [`WorkerChannel::send_soon`] has queued.
    flusher: OnceLock<Thread>,
    is_flush_due: AtomicBool,

    /// Lines that were dropped since the last report of them.
    dropped_lines: AtomicU64,
}

impl WorkerChannel {
    pub(super) fn new(socket: Arc<OwnedFd>, on_closed: fn()) -> Self {
        let writer = ChannelWriter::new(socket, WhenFull::Wait);
        let (flusher, is_flush_due) = (OnceLock::new(), AtomicBool::new(false));
        Self { writer, on_closed, flusher, is_flush_due, dropped_lines: AtomicU64::new(0) }
    }

    /// Starts the thread that sends what [`WorkerChannel::send_soon`] queues.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub(super) fn start_flusher(self: &Arc<Self>) -> io::Result<()> {
        let channel = Arc::downgrade(self);
        let flusher = HostThread::spawn("flusher", move || {
            // It is unparked for a flush, and when the channel is dropped.
            while let Some(channel) = channel.upgrade() {
                channel.flusher.get_or_init(thread::current);
                channel.flush_if_due();
                drop(channel);
                thread::park();
            }
        });
        flusher.map(drop)
    }

    fn flush_if_due(&self) {
        if self.is_flush_due.swap(false, Ordering::AcqRel) && self.writer.flush() == Flushed::Closed {
            (self.on_closed)();
        }
    }

    /// Sends a message, and reports lines of the log that were dropped before.
    pub(super) fn send(&self, message: &WorkerMessage<'_>) {
        if self.dropped_lines.load(Ordering::Relaxed) > 0 && self.writer.queued() <= MAX_QUEUED {
            self.report_dropped_lines();
        }
        if self.writer.send_worker(message) == Flushed::Closed {
            (self.on_closed)();
        }
    }

    /// Queues a message that the flusher sends, together with those that are queued until it runs.
    /// It is for threads that have more to do: a message that they send costs as much as a short
    /// call. Without a flusher, the message is sent at once.
    pub(super) fn send_soon(&self, message: &WorkerMessage<'_>) {
        let Some(flusher) = self.flusher.get() else {
            self.send(message);
            return;
        };
        self.writer.queue(|out| out.push_worker(message));
        if !self.is_flush_due.swap(true, Ordering::AcqRel) {
            flusher.unpark();
        }
    }

    /// Waits until all messages are sent, because the process is about to end.
    pub(super) fn finish(&self) {
        while !self.writer.is_idle() {
            // Another thread writes, unless it has just begun to queue.
            self.writer.flush();
            thread::sleep(FINISH_POLL);
        }
    }

    /// Sends a line for the log, or drops it.
    pub(super) fn log(&self, level: Level, call: CallNumber, line: &str) {
        if self.writer.queued() > MAX_QUEUED {
            self.dropped_lines.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.send(&WorkerMessage::Log { level: level as u8, call, line });
    }

    #[cold]
    fn report_dropped_lines(&self) {
        let dropped = self.dropped_lines.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let lines = Counted(dropped, "log line");
            let line = format!("{lines} dropped: the worker process logged faster than the host writes");
            let message = WorkerMessage::Log { level: Level::Warn as u8, call: 0, line: &line };
            self.writer.queue(|out| out.push_worker(&message));
        }
    }
}

impl Drop for WorkerChannel {
    fn drop(&mut self) {
        if let Some(flusher) = self.flusher.get() {
            flusher.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::worker::channel_reader::{ChannelReader, Received};

    /// The last message of the test.
    const LAST: u64 = 9;

    /// Reads all messages and returns the number of lines, the number of lines that were dropped,
    /// and the number of other messages.
    fn read_all(reader: &mut ChannelReader) -> (usize, usize, usize) {
        let (mut lines, mut dropped, mut others) = (0, 0, 0);
        loop {
            while let Some((kind, body)) = reader.next_frame().unwrap() {
                match WorkerMessage::decode(kind, body).unwrap() {
                    WorkerMessage::Log { level: 2, call: 0, line } => {
                        assert!(line.contains("dropped: "), "{line}");
                        dropped += line.split(' ').next().unwrap().parse::<usize>().unwrap();
                    }
                    WorkerMessage::Log { .. } => lines += 1,
                    WorkerMessage::NestedCancelled(LAST) => return (lines, dropped, others),
                    _ => others += 1,
                }
            }
            assert_eq!(reader.receive(true).unwrap(), Received::Bytes);
        }
    }

    #[test]
    fn drops_and_counts_lines_while_too_much_is_queued_but_no_other_message() {
        let (near, far) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let channel = WorkerChannel::new(Arc::new(near), || ());
        let line = "x".repeat(8000);
        let (done, is_done) = mpsc::channel();
        // One of two threads waits for the socket, so the other one never does.
        let flood = || {
            (0..400).for_each(|_| channel.log(Level::Info, 1, &line));
            channel.send(&WorkerMessage::NestedCancelled(1));
            done.send(()).unwrap();
        };

        let (lines, dropped, others) = thread::scope(|scope| {
            let threads = [scope.spawn(flood), scope.spawn(flood)];
            is_done.recv().unwrap();
            scope.spawn(|| {
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                channel.send(&WorkerMessage::NestedCancelled(LAST));
            });
            read_all(&mut ChannelReader::new(Arc::new(far), 1 << 20))
        });
        assert!(dropped > 0 && lines > 0);
        assert_eq!((lines + dropped, others), (800, 2));
    }

    #[test]
    fn sends_queued_messages_together_and_finishes_before_the_end() {
        static CLOSED: AtomicU64 = AtomicU64::new(0);
        let (near, far) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let on_closed = || {
            CLOSED.fetch_add(1, Ordering::Relaxed);
        };
        let channel = Arc::new(WorkerChannel::new(Arc::new(near), on_closed));
        channel.start_flusher().unwrap();
        let messages = 1000;
        // The socket does not hold them all if each is sent by itself, before the flusher runs.
        let reading = thread::spawn(|| read_all(&mut ChannelReader::new(Arc::new(far), 1 << 20)));

        (1..messages).for_each(|_| channel.send_soon(&WorkerMessage::NestedCancelled(1)));
        channel.send_soon(&WorkerMessage::NestedCancelled(LAST));
        channel.finish();
        assert_eq!(channel.writer.queued(), 0);
        assert_eq!(reading.join().unwrap(), (0, 0, messages - 1));

        // The other end is closed.
        while CLOSED.load(Ordering::Relaxed) == 0 {
            channel.send_soon(&WorkerMessage::NestedCancelled(1));
            thread::yield_now();
        }
    }
}
