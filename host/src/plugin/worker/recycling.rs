//! Graceful replacement of workers that have grown old: after a number of calls, after a time, or
//! above a size.
//!
//! One worker of a plugin is recycled at a time, so that the others serve meanwhile.

use std::fmt;
use std::time::Duration;

use super::line_id::LineId;
use crate::clock::Time;
use crate::config::WorkerConfig;
use crate::log::ShortDuration;

/// Least time between two samples of the resident memory of a worker that runs calls.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

/// Least time between two samples of a worker that has run no call since the last one.
const IDLE_SAMPLE_PERIOD: Duration = Duration::from_secs(10);

/// Why a worker is recycled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecycleReason {
    /// It has run this many calls.
    Calls(u64),

    /// It has run for so long.
    Age(Duration),

    /// Its resident memory has this many bytes.
    Memory(u64),
}

impl fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls(calls) => write!(f, "it has run {calls} calls"),
            Self::Age(age) => write!(f, "it has run for {}", ShortDuration(*age)),
            Self::Memory(bytes) => write!(f, "it uses {} MiB of memory", bytes >> 20),
        }
    }
}

/// The calls, the age and the memory of one worker process.
#[derive(Debug)]
pub(super) struct WorkerUsage {
    started: Time,
    calls: u64,

    /// The last sample; 0 before the first one.
    resident: u64,

    sampled: Time,

    /// The number of calls at the last sample.
    calls_when_sampled: u64,
}

impl WorkerUsage {
    /// Begins with a process that has become ready.
    pub(super) fn new(now: Time) -> Self {
        Self { started: now, calls: 0, resident: 0, sampled: now, calls_when_sampled: 0 }
    }

    /// Counts a call that the worker has ended.
    pub(super) fn count_call(&mut self) {
        self.calls += 1;
    }

    /// Returns the number of calls that the worker has ended.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns when the resident memory is to be sampled next.
    pub(super) fn next_sample(&self) -> Time {
        let is_idle = self.calls == self.calls_when_sampled;
        self.sampled.after(if is_idle { IDLE_SAMPLE_PERIOD } else { SAMPLE_PERIOD })
    }

    /// Records a sample of the resident memory, in bytes.
    pub(super) fn record_sample(&mut self, now: Time, resident: u64) {
        self.resident = resident;
        self.sampled = now;
        self.calls_when_sampled = self.calls;
    }
}

/// Decides which worker of a plugin is recycled.
#[derive(Debug)]
pub(super) struct Recycling {
    /// Zero for never, as the other two.
    max_calls: u64,
    max_age: Duration,
    max_memory: u64,

    /// The worker that is being replaced.
    current: Option<LineId>,
}

impl Recycling {
    pub(super) fn new(config: &WorkerConfig) -> Self {
        Self {
            max_calls: config.recycle_calls,
            max_age: config.recycle_age,
            max_memory: config.recycle_memory,
            current: None,
        }
    }

    /// Begins to recycle the worker with this id, and returns why; `None` if it is not due, or
    /// another one is being recycled.
    pub(super) fn begin(&mut self, worker: LineId, usage: &WorkerUsage, now: Time) -> Option<RecycleReason> {
        if self.current.is_some() {
            return None;
        }

        let reason = self.reason(usage, now)?;
        self.current = Some(worker);
        Some(reason)
    }

    /// Ends what [`Recycling::begin`] has begun: the worker with this id has been replaced, or
    /// has ended. Nothing happens if it was not being recycled.
    pub(super) fn end(&mut self, worker: LineId) {
        if self.current == Some(worker) {
            self.current = None;
        }
    }

    /// Returns when a worker must be looked at next, for its age or a sample of its memory. Its
    /// calls are looked at when one ends.
    pub(super) fn next_look(&self, usage: &WorkerUsage) -> Time {
        let sample = if self.max_memory > 0 { usage.next_sample() } else { Time::NEVER };
        let has_turn = self.max_age > Duration::ZERO && self.current.is_none();
        let age = if has_turn { usage.started.after(self.max_age) } else { Time::NEVER };
        sample.min(age)
    }

    fn reason(&self, usage: &WorkerUsage, now: Time) -> Option<RecycleReason> {
        let age = now.since(usage.started);
        if self.max_calls > 0 && usage.calls >= self.max_calls {
            return Some(RecycleReason::Calls(usage.calls));
        }
        if self.max_memory > 0 && usage.resident > self.max_memory {
            return Some(RecycleReason::Memory(usage.resident));
        }
        (self.max_age > Duration::ZERO && age >= self.max_age).then_some(RecycleReason::Age(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time(7_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn recycling(calls: u64, age: Duration, memory: u64) -> Recycling {
        Recycling::new(&WorkerConfig {
            recycle_calls: calls,
            recycle_age: age,
            recycle_memory: memory,
            ..WorkerConfig::default()
        })
    }

    fn usage(calls: u64, resident: u64) -> WorkerUsage {
        let mut usage = WorkerUsage::new(START);
        (0..calls).for_each(|_| usage.count_call());
        usage.record_sample(START, resident);
        usage
    }

    #[test]
    fn recycles_at_each_of_the_three_limits() {
        let limits = || recycling(3, MINUTE, 1 << 20);
        let later = START.after(MINUTE);
        let begin = |calls, resident, now| limits().begin(LineId(0), &usage(calls, resident), now);

        assert_eq!(begin(2, 1 << 20, START), None);
        assert_eq!(begin(3, 0, START), Some(RecycleReason::Calls(3)));
        assert_eq!(begin(0, (1 << 20) + 1, START), Some(RecycleReason::Memory((1 << 20) + 1)));
        assert_eq!(begin(0, 0, later), Some(RecycleReason::Age(MINUTE)));
    }

    #[test]
    fn never_recycles_at_a_limit_of_zero() {
        let mut recycling = recycling(0, Duration::ZERO, 0);
        let usage = usage(1000, u64::MAX);

        assert_eq!(recycling.begin(LineId(0), &usage, Time::NEVER), None);
        assert_eq!(recycling.next_look(&usage), Time::NEVER);
    }

    #[test]
    fn recycles_one_worker_at_a_time() {
        let mut recycling = recycling(1, Duration::ZERO, 0);
        let usage = usage(1, 0);
        assert!(recycling.begin(LineId(0), &usage, START).is_some());
        assert_eq!(recycling.begin(LineId(1), &usage, START), None);

        recycling.end(LineId(1));
        assert_eq!(recycling.begin(LineId(1), &usage, START), None, "worker 0 is still being replaced");
        recycling.end(LineId(0));
        assert!(recycling.begin(LineId(1), &usage, START).is_some());
    }

    #[test]
    fn samples_idle_workers_less_often() {
        let mut usage = usage(0, 0);
        assert_eq!(usage.next_sample(), START.after(IDLE_SAMPLE_PERIOD));

        usage.count_call();
        assert_eq!(usage.next_sample(), START.after(SAMPLE_PERIOD));
    }

    #[test]
    fn looks_next_at_the_earlier_of_age_and_sample() {
        let usage = usage(0, 0);
        let sample = usage.next_sample();
        assert_eq!(recycling(0, Duration::ZERO, 1).next_look(&usage), sample);
        assert_eq!(recycling(0, Duration::from_secs(3), 1).next_look(&usage).since(START).as_secs(), 3);

        let mut busy = recycling(0, MINUTE, 0);
        assert_eq!(busy.next_look(&usage), START.after(MINUTE));
        busy.begin(LineId(4), &usage, START.after(MINUTE));
        assert_eq!(busy.next_look(&usage), Time::NEVER, "it has no turn until the other one ends");
    }
}
