//! The sending end of the channel in a worker process. Lines of the log are dropped when too much
//! is queued; nothing else is.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jackfield_plugin_api::Level;

use crate::log::Counted;
use crate::worker::channel_writer::{ChannelWriter, Flushed, WhenFull};
use crate::worker::message::{CallNumber, WorkerMessage};

/// Bytes in the queue above which lines of the log are dropped.
const MAX_QUEUED: usize = 1 << 20;

/// The sending end of the channel, shared by all threads of the process.
///
/// A thread that sends waits while the socket is full. If the other end is closed, messages are
/// discarded, and `on_closed` is called. The thread that reads the channel does not always notice:
/// if the plugin has closed the descriptor, a read that has begun waits for ever.
pub(super) struct WorkerChannel {
    writer: ChannelWriter,

    on_closed: fn(),

    /// Lines that were dropped since the last report of them.
    dropped_lines: AtomicU64,
}

impl WorkerChannel {
    pub(super) fn new(socket: Arc<OwnedFd>, on_closed: fn()) -> Self {
        let writer = ChannelWriter::new(socket, WhenFull::Wait);
        Self { writer, on_closed, dropped_lines: AtomicU64::new(0) }
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
}
