//! Plugins replaced while they serve: one thread that owns every generation, and does one thing at a time.
//!
//! Whatever wants a change sends an order: the watcher a hint, an operator a word, a retired generation its end. The
//! thread looks at the directory, makes the change as a transaction, and publishes it with one swap.

mod admin_plugin;
mod command;
mod command_loop;
mod directory_scan;
mod directory_watcher;
mod owner;
mod plugin_counts;
mod plugin_slot;
mod refused_file;
mod restart_required;
mod retire;
mod transaction;

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

pub use admin_plugin::ReloadRequest;
pub(crate) use admin_plugin::{ADMIN, AdminPlugin};
pub(crate) use command::{CommandReply, ReloadCommand};
pub(crate) use owner::PluginOwner;

use self::directory_watcher::DirectoryWatcher;
use crate::clock::Time;

/// How often the whole directory is looked at, whatever the watcher says: it may lose events, and healing may take
/// 5 s at most.
const LOOK: Duration = Duration::from_secs(2);

/// How soon a file that is being written, or has gone, is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Where orders are sent to.
#[derive(Clone)]
pub(crate) struct CommandSender(Sender<ReloadCommand>);

impl CommandSender {
    /// The two ends.
    pub(crate) fn channel() -> (Self, Receiver<ReloadCommand>) {
        let (orders, received) = mpsc::channel();
        (Self(orders), received)
    }

    /// Asks; the answer comes to the receiver, or its sender goes away when the host ends.
    pub(crate) fn ask<T>(
        &self,
        order: impl FnOnce(CommandReply<T>) -> ReloadCommand,
    ) -> tokio::sync::oneshot::Receiver<T> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(order(reply));
        answer
    }

    /// Says.
    pub(crate) fn send(&self, order: ReloadCommand) {
        // When the thread has gone, there is nothing left to change.
        let _ = self.0.send(order);
    }
}

/// The thread that owns the plugins, seen from outside.
pub(crate) struct Reloader {
    orders: CommandSender,
    thread: JoinHandle<()>,
}

impl Reloader {
    /// Takes over plugins that serve already.
    pub(crate) fn start(plugins: PluginOwner, received: Receiver<ReloadCommand>) -> io::Result<Self> {
        let orders = plugins.orders.clone();
        let thread = Builder::new().name("plugins".into()).spawn(move || run(plugins, &received))?;
        Ok(Self { orders, thread })
    }

    /// Ends every generation, within `limit`, and the thread. Blocks.
    pub(crate) fn stop(self, limit: Duration) {
        self.orders.send(ReloadCommand::Stop(Instant::now() + limit));
        // Nothing in it panics; if it did, the process ends all the same.
        let _ = self.thread.join();
    }
}

fn run(mut plugins: PluginOwner, orders: &Receiver<ReloadCommand>) {
    let mut watcher = DirectoryWatcher::new(plugins.orders.clone());
    watcher.follow(plugins.watched());
    // What was put there between the first look and the watch.
    let mut next_look = Instant::now() + LOOK_AGAIN;
    let mut next_order = None;
    loop {
        // Before any order: however many there are, the look is not put off.
        if next_order.is_none() && Instant::now() >= next_look {
            plugins.go_back();
            plugins.dispatcher.metrics.slow_log.remove_expired(Time::now());
            plugins.open_directory();
            watcher.follow(plugins.watched());
            let again = plugins.watches() && plugins.look(&[], false);
            next_look = Instant::now() + if again { LOOK_AGAIN } else { LOOK };
        }
        let wait = next_look.saturating_duration_since(Instant::now());
        let order = next_order.take().map_or_else(|| orders.recv_timeout(wait), Ok);
        let again = match order {
            Ok(ReloadCommand::Stop(until)) => {
                drop(watcher);
                plugins.retire_all(orders, until);
                return;
            }
            Ok(ReloadCommand::Look(mut whole)) => {
                // One look for all hints that are there.
                next_order = loop {
                    match orders.try_recv() {
                        Ok(ReloadCommand::Look(more)) => whole.extend(more),
                        other => break other.ok(),
                    }
                };
                plugins.look(&whole, false)
            }
            Ok(order) => plugins.obey(order),
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        plugins.tell_numbers();
        if again {
            next_look = next_look.min(Instant::now() + LOOK_AGAIN);
        }
    }
}
