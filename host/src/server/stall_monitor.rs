//! Detects I/O threads that a plugin's code blocks, while it does.
//!
//! ```text
//! running ──(timeouts.inline)──► reported, gets no new connections
//!                                   └──(10 × as long)──► method demoted, thread replaced
//! ```
//!
//! The connections of a stalled thread cannot be served by anybody else: their sockets and states
//! belong to the thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;

use super::io_thread::IoThread;
use super::io_threads::IoThreads;
use crate::crash_record::RunningCall;
use crate::log::ShortDuration;
use crate::plugin::Generation;
use crate::routing::Dispatcher;

/// Factor between two reports of the same call. At the second report the method is demoted and the
/// thread replaced: a call that takes ten times the limit is not an accident of a busy machine.
const REPORT_FACTOR: u32 = 10;

/// Bounds of the sampling interval, which is half of `timeouts.inline` within them.
const MIN_INTERVAL: Duration = Duration::from_millis(5);
const MAX_INTERVAL: Duration = Duration::from_millis(250);

/// A call that ran on a thread at the last sample.
struct ObservedCall {
    call: RunningCall,
    since: Instant,
    /// Age of the call at which it is reported next.
    report_at: Duration,
    /// The generation that runs it, set by the first report.
    generation: Weak<Generation>,
}

impl ObservedCall {
    /// Marks the generation as healthy again, because the call has ended.
    fn end(&self) {
        if let Some(generation) = self.generation.upgrade() {
            generation.end_stall();
        }
    }
}

/// A call that is to be reported.
struct StalledCall {
    thread: u64,
    call: RunningCall,
    age: Duration,
    was_reported: bool,
}

/// Samples the I/O threads in intervals.
pub(super) struct StallMonitor {
    threads: Arc<IoThreads>,
    dispatcher: Arc<Dispatcher>,
    /// The call of each thread, by the thread's number.
    observed: BTreeMap<u64, ObservedCall>,
}

impl StallMonitor {
    pub(super) fn new(threads: &Arc<IoThreads>, dispatcher: &Arc<Dispatcher>) -> Self {
        let observed = BTreeMap::new();
        Self { threads: Arc::clone(threads), dispatcher: Arc::clone(dispatcher), observed }
    }

    /// Monitors and never returns.
    pub(super) async fn run(mut self) {
        loop {
            let limit = self.dispatcher.rules.load().timeouts.inline;
            tokio::time::sleep((limit / 2).clamp(MIN_INTERVAL, MAX_INTERVAL)).await;
            self.sample(limit);
        }
    }

    fn sample(&mut self, limit: Duration) {
        let mut stalled = Vec::new();
        let mut existing = Vec::new();
        self.threads.for_each(|thread| {
            existing.push(thread.number);
            stalled.extend(sample_thread(thread, limit, &mut self.observed));
        });

        // A thread that has ended blocks nobody.
        self.observed.retain(|number, observed| {
            let exists = existing.contains(number);
            if !exists {
                observed.end();
            }
            exists
        });
        stalled.into_iter().for_each(|stalled| self.report(&stalled));
    }

    #[cold]
    fn report(&mut self, stalled: &StalledCall) {
        let StalledCall { thread, call, age, was_reported } = *stalled;
        let age = ShortDuration(age);
        let number = call.code.generation();
        let (plugin, method) = self.dispatcher.crash_record.names_of(call.code);
        let table = self.dispatcher.table.load();
        let generation = table.generation(number);
        // Code that no method declares, such as a callback, runs like an `inline` method.
        let declared = generation.and_then(|generation| generation.declared_run(call.code.method()));
        let declared = declared.unwrap_or(Run::Inline);
        let run = declared.word();

        if !was_reported {
            if let (Some(generation), Some(observed)) = (generation, self.observed.get_mut(&thread)) {
                generation.begin_stall();
                observed.generation = Arc::downgrade(generation);
            }
            tracing::warn!(
                plugin,
                generation = number,
                method,
                thread,
                "{method} ({run}, plugin {plugin}) has blocked I/O thread {thread} for {age}; \
                 clients of that thread get no answers"
            );
            return;
        }

        let is_demoted = generation.is_some_and(|generation| generation.demote(call.code.method()));
        let demotion = match declared {
            _ if !is_demoted => String::new(),
            Run::Async => "; it is no longer polled on I/O threads".to_owned(),
            Run::Inline | Run::Blocking => format!("; later calls run on the threads of plugin {plugin}"),
        };
        let replaced = self.threads.replace_stalled(thread);
        let replacement =
            if replaced { "another thread takes its place" } else { "no thread could take its place" };
        tracing::error!(
            plugin,
            generation = number,
            method,
            thread,
            replaced,
            "{method} ({run}, plugin {plugin}) has blocked I/O thread {thread} for {age}{demotion}; {replacement}; \
             clients of the blocked thread get no answers"
        );
    }
}

impl Drop for StallMonitor {
    fn drop(&mut self) {
        self.observed.values().for_each(ObservedCall::end);
    }
}

/// Samples one thread and returns its call if that is to be reported now.
fn sample_thread(
    thread: &IoThread,
    limit: Duration,
    observed: &mut BTreeMap<u64, ObservedCall>,
) -> Option<StalledCall> {
    let call = thread.sampler.as_ref()?.sample();
    let now = Instant::now();

    if let Some(known) = observed.get_mut(&thread.number).filter(|known| known.call == call) {
        let age = now.duration_since(known.since);
        if age < known.report_at {
            return None;
        }
        let was_reported = thread.commands.is_stalled();
        thread.commands.set_stalled(true);
        known.report_at = known.report_at.saturating_mul(REPORT_FACTOR);
        return Some(StalledCall { thread: thread.number, call, age, was_reported });
    }

    if let Some(previous) = observed.remove(&thread.number) {
        previous.end();
        thread.commands.set_stalled(false);
    }
    if call.is_running() {
        let new = ObservedCall { call, since: now, report_at: limit, generation: Weak::new() };
        observed.insert(thread.number, new);
    }
    None
}
