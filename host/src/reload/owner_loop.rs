//! The thread of the plugin owner: executes commands and scans the directory periodically.

use std::ffi::OsString;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::command::{CommandReply, CommandSender, ReloadCommand};
use super::directory_scan::{CompleteFiles, SCAN_INTERVAL};
use super::directory_watcher::DirectoryWatcher;
use super::owner::PluginOwner;
use crate::clock::Time;
use crate::host_thread::HostThread;
use crate::log::ShortDuration;

/// The time until a scan is repeated that found a file incomplete or missing.
const RESCAN_DELAY: Duration = Duration::from_millis(200);

/// How long after the deadline of a shutdown the thread is waited for. It is longer than the time
/// for which the thread itself waits for the last reports of retirements.
const STOP_GRACE: Duration = Duration::from_millis(1500);

/// A handle of the thread.
pub(crate) struct Reloader {
    commands: CommandSender,
    thread: HostThread,
}

impl Reloader {
    /// Starts the thread with plugins that may serve already.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub(crate) fn start(owner: PluginOwner, commands: Receiver<ReloadCommand>) -> io::Result<Self> {
        let sender = owner.commands.clone();
        // The directory is watched when this returns.
        let owner_loop = OwnerLoop::new(owner, commands);
        let thread = HostThread::spawn("plugins", move || owner_loop.run())?;
        Ok(Self { commands: sender, thread })
    }

    /// Retires every generation within `limit`, then ends the thread. Blocks for at most `limit`
    /// and [`STOP_GRACE`].
    ///
    /// Code of a plugin can keep the thread: the thread loads and closes code itself, and may wait
    /// for the lock of the dynamic loader, which other threads hold while they do the same. The
    /// thread is then left.
    pub(crate) fn stop(self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.commands.send(ReloadCommand::Stop(deadline));

        // A panic of the thread was logged when it happened, and the process still has to end.
        if self.thread.join_before(deadline + STOP_GRACE).is_err() {
            tracing::warn!(
                "the thread that loads and unloads plugins did not end within {}; the host ends without it",
                ShortDuration(limit + STOP_GRACE)
            );
        }
    }
}

struct OwnerLoop {
    owner: PluginOwner,
    commands: Receiver<ReloadCommand>,
    watcher: DirectoryWatcher,
    next_scan: Instant,

    /// A command that was received while scan commands were merged.
    received: Option<ReloadCommand>,
}

impl OwnerLoop {
    fn new(owner: PluginOwner, commands: Receiver<ReloadCommand>) -> Self {
        let mut watcher = DirectoryWatcher::new(owner.commands.clone());
        watcher.follow(owner.watched_directory());

        // The next scan finds files that came into the directory after the first scan and before
        // the watch.
        let next_scan = Instant::now() + RESCAN_DELAY;
        Self { owner, commands, watcher, next_scan, received: None }
    }

    fn run(mut self) {
        loop {
            // A scan that is due comes before the next command, so that no number of commands can
            // put it off.
            let is_ending = self.owner.shutdown.has_begun();
            if self.received.is_none() && Instant::now() >= self.next_scan && !is_ending {
                self.scan_periodically();
            }

            let is_rescan_due = match self.next_command() {
                Ok(ReloadCommand::Stop(deadline)) => {
                    drop(self.watcher);
                    self.owner.retire_all(&self.commands, deadline);
                    return;
                }
                Ok(command) if self.owner.shutdown.has_begun() => self.owner.execute_while_ending(command),
                Ok(ReloadCommand::Scan { complete }) => {
                    let complete = self.merge_scans(complete);
                    self.owner.scan_directory(CompleteFiles::Named(&complete))
                }
                Ok(command) => self.owner.execute(command),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };

            self.owner.report_counts();
            if is_rescan_due {
                self.next_scan = self.next_scan.min(Instant::now() + RESCAN_DELAY);
            }
        }
    }

    fn scan_periodically(&mut self) {
        self.owner.retry_rollbacks();
        self.owner.retry_starts();
        self.owner.dispatcher.metrics.slow_log.remove_expired(Time::now());

        self.owner.scan.open_current();
        self.watcher.follow(self.owner.watched_directory());
        let is_rescan_due = if self.owner.is_watching() {
            self.owner.scan_directory(CompleteFiles::Named(&[]))
        } else {
            self.owner.retry_shortages();
            false
        };

        self.next_scan = Instant::now() + if is_rescan_due { RESCAN_DELAY } else { SCAN_INTERVAL };
    }

    fn next_command(&mut self) -> Result<ReloadCommand, RecvTimeoutError> {
        match self.received.take() {
            Some(command) => Ok(command),
            // Only commands are awaited, because the directory is not scanned any more.
            None if self.owner.shutdown.has_begun() => {
                self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
            }
            None => self.commands.recv_timeout(self.next_scan.saturating_duration_since(Instant::now())),
        }
    }

    /// Merges the scan commands that follow, so that one scan serves them all. Returns the files
    /// that are complete.
    fn merge_scans(&mut self, first: Vec<OsString>) -> Vec<OsString> {
        let mut complete = Vec::new();
        let mut next = Ok(ReloadCommand::Scan { complete: first });
        loop {
            match next {
                Ok(ReloadCommand::Scan { complete: named }) => {
                    if named.is_empty() {
                        self.owner.scan.examine_all();
                    }
                    complete.extend(named);
                    next = self.commands.try_recv();
                }
                other => {
                    self.received = other.ok();
                    return complete;
                }
            }
        }
    }
}

impl PluginOwner {
    /// Executes a command. Returns whether the directory is to be scanned again soon.
    pub(super) fn execute(&mut self, command: ReloadCommand) -> bool {
        match command {
            // The loop handles these itself.
            ReloadCommand::Scan { .. } => false,
            ReloadCommand::ScanAll(reply) => {
                self.retry_refused();
                self.scan.open_current();
                let is_rescan_due = self.scan_directory(CompleteFiles::All);
                answer(reply, ());
                is_rescan_due
            }

            ReloadCommand::Reload { name, allow_incompatible, reply } => {
                answer(reply, self.reload(name.as_deref(), allow_incompatible));
                false
            }
            ReloadCommand::RollBack { plugin, by, reply } => {
                answer(reply, self.roll_back(&plugin, by));
                false
            }
            ReloadCommand::Isolate { plugin, is_off, by, reply } => {
                answer(reply, self.isolate(&plugin, is_off, by));
                false
            }
            ReloadCommand::List(reply) => {
                answer(reply, self.list());
                false
            }
            ReloadCommand::Configure(config, reply) => {
                answer(reply, self.configure(config));
                true
            }

            ReloadCommand::ProbationEnded { plugin, generation, verdict } => {
                self.probation_ended(&plugin, generation, verdict);
                false
            }
            ReloadCommand::Retired { plugin, generation, outcome } => {
                self.retired(&plugin, generation, &outcome)
            }
            // The loop ends before it gets here.
            ReloadCommand::Stop(_) => false,
        }
    }

    /// Executes a command that changes nothing, and drops any other: a host that ends begins no
    /// reload. The sender of a dropped command finds its reply channel closed.
    pub(super) fn execute_while_ending(&mut self, command: ReloadCommand) -> bool {
        match command {
            ReloadCommand::List(_) | ReloadCommand::Retired { .. } => self.execute(command),
            _ => false,
        }
    }
}

fn answer<T>(reply: CommandReply<T>, value: T) {
    // The receiver may have given up waiting.
    let _ = reply.send(value);
}
