//! I/O threads that an `inline` method holds up, noticed while it does: told, spared new connections, and replaced.
//!
//! What nobody can do is to serve the connections that such a thread has: their sockets and what they owe are its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;

use super::io_thread::IoThread;
use super::io_threads::IoThreads;
use crate::crash_record::RunningCall;
use crate::plugin::Generation;
use crate::routing::Dispatcher;

/// Each time that it lasts so many times as long as before, it is told again; the second time the method is moved, and
/// the thread replaced. One call that is so slow is no accident of the machine's.
const AGAIN: u32 = 10;

/// The looks are half as far apart as an `inline` method may take, within these.
const LOOK_LEAST: Duration = Duration::from_millis(5);
const LOOK_MOST: Duration = Duration::from_millis(250);

/// A call that was seen at the last look, too.
struct ObservedCall {
    glance: RunningCall,
    since: Instant,
    /// How long it may last until it is told, or told again.
    next: Duration,
    /// Whose call it is, once it was told.
    generation: Weak<Generation>,
}

/// Looks at the I/O threads now and then.
pub(super) struct StallMonitor {
    threads: Arc<IoThreads>,
    dispatcher: Arc<Dispatcher>,
    /// What runs, by the thread's number.
    seen: BTreeMap<u64, ObservedCall>,
}

/// A call that has lasted too long.
struct StalledCall {
    thread: u64,
    glance: RunningCall,
    length: Duration,
    /// Whether it was told before.
    again: bool,
}

impl StallMonitor {
    pub(super) fn new(threads: &Arc<IoThreads>, dispatcher: &Arc<Dispatcher>) -> Self {
        Self { threads: Arc::clone(threads), dispatcher: Arc::clone(dispatcher), seen: BTreeMap::new() }
    }

    /// Looks for ever.
    pub(super) async fn run(mut self) {
        loop {
            let inline = self.dispatcher.rules.load().timeouts.inline;
            tokio::time::sleep((inline / 2).clamp(LOOK_LEAST, LOOK_MOST)).await;
            self.look(inline);
        }
    }

    fn look(&mut self, inline: Duration) {
        let (mut held, mut here) = (Vec::new(), Vec::new());
        self.threads.look_at(|thread| {
            here.push(thread.number);
            held.extend(look_at(thread, inline, &mut self.seen));
        });
        // Also a thread that has ended holds nothing any more.
        self.seen.retain(|number, seen| {
            let stays = here.contains(number);
            if !stays {
                let_go(seen);
            }
            stays
        });
        held.into_iter().for_each(|held| self.tell(&held));
    }

    #[cold]
    fn tell(&mut self, held: &StalledCall) {
        let StalledCall { thread, glance, length, again } = *held;
        let number = glance.what.generation();
        let (plugin, method) = self.dispatcher.crash_record.names_of(glance.what);
        let table = self.dispatcher.table.load();
        let generation = table.generation(number);
        let run = generation.and_then(|generation| generation.declared_run(glance.what.method()));
        // What else such a thread runs of a plugin's is `inline`.
        let run = run.unwrap_or(Run::Inline).word();
        if !again {
            if let (Some(generation), Some(seen)) = (generation, self.seen.get_mut(&thread)) {
                generation.begin_stall();
                seen.generation = Arc::downgrade(generation);
            }
            tracing::warn!(
                plugin,
                generation = number,
                method,
                thread,
                "{run}, and holds an I/O thread, for {length:?} by now"
            );
            return;
        }
        let elsewhere = generation.and_then(|generation| generation.demote(glance.what.method()));
        if let Some(elsewhere) = elsewhere {
            tracing::error!(
                plugin,
                generation = number,
                method,
                "{run}, and too slow for that: {elsewhere} from now on"
            );
        }
        let replaced = self.threads.replace_held(thread);
        tracing::error!(
            plugin,
            generation = number,
            method,
            thread,
            replaced,
            "{run}, and holds an I/O thread, for {length:?} by now: the thread's connections are not served meanwhile"
        );
    }
}

/// Looks at one thread; what it runs for too long, when that is to be told.
fn look_at(
    thread: &IoThread,
    inline: Duration,
    all: &mut BTreeMap<u64, ObservedCall>,
) -> Option<StalledCall> {
    let glance = thread.watched.as_ref()?.glance();
    let now = Instant::now();
    if let Some(seen) = all.get_mut(&thread.number)
        && seen.glance == glance
    {
        let length = now.duration_since(seen.since);
        if length < seen.next {
            return None;
        }
        let again = thread.orders.is_held();
        thread.orders.set_held(true);
        seen.next = seen.next.saturating_mul(AGAIN);
        return Some(StalledCall { thread: thread.number, glance, length, again });
    }
    if let Some(before) = all.remove(&thread.number) {
        let_go(&before);
        thread.orders.set_held(false);
    }
    if glance.is_running() {
        let seen = ObservedCall { glance, since: now, next: inline, generation: Weak::new() };
        all.insert(thread.number, seen);
    }
    None
}

/// The call has ended.
fn let_go(seen: &ObservedCall) {
    if let Some(generation) = seen.generation.upgrade() {
        generation.end_stall();
    }
}

impl Drop for StallMonitor {
    fn drop(&mut self) {
        self.seen.values().for_each(let_go);
    }
}
