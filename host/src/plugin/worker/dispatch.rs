//! The queue before the workers of a generation, and which worker gets which call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use jackfield_plugin_api::Run;

use super::super::generation::PluginCall;
use super::super::pool_state::SubmitError;
use super::dispatch_window::choose_worker;
use super::line::{Line, is_large};
use super::line_id::LineId;
use super::signal::Signal;
use crate::clock::Time;
use crate::sync::lock;
use crate::timer::TICK;
use crate::worker::channel_writer::{ChannelWriter, Flushed};
use crate::worker::message::CallNumber;
use crate::worker::payload_file::PayloadFile;

/// A large call, and its params in a memory file. There is none if the system cannot make one.
struct PreparedCall {
    call: Arc<PluginCall>,
    params: Option<PayloadFile>,
}

/// The calls of a generation that have not ended.
pub(super) struct Dispatch {
    state: Mutex<DispatchState>,
    signal: Arc<Signal>,
}

/// The state of a [`Dispatch`].
pub(super) struct DispatchState {
    /// Calls that wait for a thread of a worker.
    blocking: VecDeque<Arc<PluginCall>>,

    /// Calls that wait for a worker.
    asynchronous: VecDeque<Arc<PluginCall>>,

    /// Upper bound for the length of each queue.
    capacity: usize,

    /// Threads that may run `blocking` calls at a time, of all workers.
    threads: usize,

    /// When cancelled calls were last removed from a full queue.
    swept: Time,

    pub(super) lines: Vec<Line>,

    /// Whether no worker will ever take calls again.
    is_closed: bool,
}

/// The channels that messages were queued for.
type Touched = Vec<Arc<ChannelWriter>>;

impl Dispatch {
    pub(super) fn new(capacity: usize, threads: usize, signal: Arc<Signal>) -> Self {
        let (blocking, asynchronous) = (VecDeque::new(), VecDeque::new());
        let (swept, lines) = (Time::now(), Vec::new());
        let is_closed = false;
        let state = DispatchState { blocking, asynchronous, capacity, threads, swept, lines, is_closed };
        Self { state: Mutex::new(state), signal }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, DispatchState> {
        lock(&self.state)
    }

    /// Sends calls to workers, or puts them into the queue. Never blocks.
    ///
    /// # Errors
    ///
    /// Why the first call that is left in `calls` was not accepted.
    pub(super) fn submit(
        &self,
        run: Run,
        calls: &mut impl ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        let now = Time::now();
        let mut touched = Touched::new();
        let mut state = self.lock();
        let mut submitted = Ok(());

        while calls.len() > 0 {
            let room = state.room(run, now);
            state.queue(run).extend(calls.take(room));
            state.send_queued(None, now, &self.signal, &mut touched);
            if room == 0 {
                submitted = Err(SubmitError::QueueFull);
                break;
            }
        }
        let needs_supervisor = state.large_first(now).is_some();
        drop(state);

        let is_blocked = touched.iter().any(|writer| writer.flush() == Flushed::Blocked);
        if needs_supervisor || is_blocked {
            self.signal.wake();
        }
        submitted
    }

    /// Sends what can be sent now, and makes the memory files of large calls, which it does under
    /// no lock. Called by the supervisor.
    pub(super) fn send_queued(&self) {
        let mut prepared = None;
        loop {
            let mut touched = Touched::new();
            let mut state = self.lock();
            state.send_queued(prepared, Time::now(), &self.signal, &mut touched);
            let large = state.large_first(Time::now());
            drop(state);

            // The supervisor looks at blocked channels by itself.
            touched.iter().for_each(|writer| {
                writer.flush();
            });
            let Some(call) = large else { return };
            let params = PayloadFile::of(&call.params);
            prepared = Some(PreparedCall { call, params });
        }
    }

    /// Removes a call that a worker has ended; `None` if the worker does not have it.
    pub(super) fn end(&self, line: LineId, call: CallNumber) -> Option<Arc<PluginCall>> {
        self.lock().line(line)?.end(call, Time::now())
    }

    /// Returns a call that a worker has; `None` if it does not have it.
    pub(super) fn open_call(&self, line: LineId, call: CallNumber) -> Option<Arc<PluginCall>> {
        self.lock().line(line)?.get(call).cloned()
    }

    /// Accepts no further calls, and returns those that wait.
    pub(super) fn close(&self) -> Vec<Arc<PluginCall>> {
        let mut state = self.lock();
        state.is_closed = true;
        let blocking = std::mem::take(&mut state.blocking);
        let asynchronous = std::mem::take(&mut state.asynchronous);
        drop(state);
        blocking.into_iter().chain(asynchronous).collect()
    }
}

impl DispatchState {
    pub(super) fn line(&mut self, id: LineId) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.id == id)
    }

    /// Removes the line of a worker that has ended, and returns its calls.
    pub(super) fn remove_line(&mut self, id: LineId) -> Option<Line> {
        let index = self.lines.iter().position(|line| line.id == id)?;
        Some(self.lines.swap_remove(index))
    }

    fn queue(&mut self, run: Run) -> &mut VecDeque<Arc<PluginCall>> {
        if run == Run::Async { &mut self.asynchronous } else { &mut self.blocking }
    }

    /// Returns how many calls the queue for `run` can take.
    fn room(&mut self, run: Run, now: Time) -> usize {
        if self.is_closed {
            return 0;
        }
        let capacity = self.capacity;
        if self.queue(run).len() >= capacity && now.since(self.swept) >= TICK {
            self.swept = now;
            self.queue(run).retain(|call| !call.is_over());
        }
        capacity - self.queue(run).len().min(capacity)
    }

    fn may_run(&self) -> bool {
        self.lines.iter().map(Line::busy_threads).sum::<usize>() < self.threads
    }

    /// Returns the line for the next call of a kind: of those that take it, the one with the fewest
    /// open calls.
    fn choose(&self, run: Run, now: Time) -> Option<usize> {
        let accepting = self.lines.iter().enumerate().filter(|(_, line)| line.takes_calls());
        if run == Run::Async {
            return accepting.min_by_key(|(_, line)| line.open_calls()).map(|(index, _)| index);
        }
        choose_worker(accepting.map(|(index, line)| (index, line.window())), now, self.may_run())
    }

    /// Returns the next call of a queue, if it can be sent, but only with a memory file.
    fn large_first(&self, now: Time) -> Option<Arc<PluginCall>> {
        let queues = [(&self.blocking, Run::Blocking), (&self.asynchronous, Run::Async)];
        queues.into_iter().find_map(|(queue, run)| {
            let first = queue.front().filter(|call| is_large(call))?;
            self.choose(run, now).map(|_| Arc::clone(first))
        })
    }

    fn send_queued(
        &mut self,
        mut prepared: Option<PreparedCall>,
        now: Time,
        signal: &Arc<Signal>,
        touched: &mut Touched,
    ) {
        for run in [Run::Blocking, Run::Async] {
            while let Some(first) = self.queue(run).front() {
                let is_prepared =
                    prepared.as_ref().is_some_and(|prepared| Arc::ptr_eq(&prepared.call, first));
                if is_large(first) && !is_prepared {
                    break;
                }
                let Some(index) = self.choose(run, now) else { break };
                let Some(call) = self.queue(run).pop_front() else { break };

                let params = if is_prepared { prepared.take().and_then(|call| call.params) } else { None };
                let line = &mut self.lines[index];
                let is_known = |writer: &Arc<_>| touched.iter().any(|known| Arc::ptr_eq(known, writer));
                if line.send(call, params, now, signal) && !is_known(&line.writer) {
                    touched.push(Arc::clone(&line.writer));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
