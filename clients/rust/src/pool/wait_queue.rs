//! Calls that wait for a connection, in the order in which they came.

use std::collections::VecDeque;
use std::task::Waker;

use crate::options::Mode;

/// A queue of calls.
///
/// A call that is woken leaves the queue. If it finds no connection after all, it re-enters with
/// its ticket and gets its old position back.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    calls: VecDeque<(u64, Waker)>,
    last_ticket: u64,
}

impl WaitQueue {
    /// Returns a ticket for the end of the queue.
    pub(super) fn take_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Enters the queue, or updates the waker of a call that is in it.
    pub(super) fn enter(&mut self, ticket: u64, waker: &Waker) {
        match self.calls.binary_search_by_key(&ticket, |(other, _)| *other) {
            Ok(at) => {
                if let Some((_, known)) = self.calls.get_mut(at).filter(|(_, known)| !known.will_wake(waker))
                {
                    known.clone_from(waker);
                }
            }
            Err(at) => self.calls.insert(at, (ticket, waker.clone())),
        }
    }

    /// Leaves the queue, and returns whether the call was in it, that is, was not woken.
    pub(super) fn leave(&mut self, ticket: u64) -> bool {
        match self.calls.binary_search_by_key(&ticket, |(other, _)| *other) {
            Ok(at) => self.calls.remove(at).is_some(),
            Err(_) => false,
        }
    }

    /// Wakes the first call. If it finds a connection, it wakes the next.
    pub(super) fn wake_next(&mut self) {
        if let Some((_, waker)) = self.calls.pop_front() {
            waker.wake();
        }
    }

    fn wake_all(&mut self) {
        for (_, waker) in self.calls.drain(..) {
            waker.wake();
        }
    }

    fn len(&self) -> usize {
        self.calls.len()
    }
}

/// One queue for each mode: a connection that is useless for one may be usable for the other.
#[derive(Debug, Default)]
pub(super) struct WaitQueues {
    exclusive: WaitQueue,
    multiplexed: WaitQueue,
}

impl WaitQueues {
    pub(super) fn of(&mut self, mode: Mode) -> &mut WaitQueue {
        match mode {
            Mode::Exclusive => &mut self.exclusive,
            Mode::Multiplexed => &mut self.multiplexed,
        }
    }

    pub(super) fn has_waiting(&self, mode: Mode) -> bool {
        match mode {
            Mode::Exclusive => self.exclusive.len() > 0,
            Mode::Multiplexed => self.multiplexed.len() > 0,
        }
    }

    /// Wakes the first call of each mode.
    pub(super) fn wake_next(&mut self) {
        self.exclusive.wake_next();
        self.multiplexed.wake_next();
    }

    pub(super) fn wake_all(&mut self) {
        self.exclusive.wake_all();
        self.multiplexed.wake_all();
    }

    /// Returns the number of waiting calls of both modes.
    pub(super) fn len(&self) -> usize {
        self.exclusive.len() + self.multiplexed.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    use super::*;

    /// A waker that writes its number into a shared list.
    struct Recorder(u64, Arc<Mutex<Vec<u64>>>);

    impl Wake for Recorder {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    fn waker(number: u64, woken: &Arc<Mutex<Vec<u64>>>) -> Waker {
        Arc::new(Recorder(number, Arc::clone(woken))).into()
    }

    #[test]
    fn wakes_calls_in_the_order_in_which_they_came() {
        let (mut queue, woken) = (WaitQueue::default(), Arc::default());
        for number in 1..=3 {
            let ticket = queue.take_ticket();
            queue.enter(ticket, &waker(number, &woken));
        }
        queue.wake_next();
        queue.wake_all();
        queue.wake_next();
        assert_eq!(*woken.lock().unwrap(), [1, 2, 3]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn gives_a_woken_call_its_old_position_back() {
        let (mut queue, woken) = (WaitQueue::default(), Arc::default());
        let (first, second) = (queue.take_ticket(), queue.take_ticket());
        queue.enter(first, &waker(1, &woken));
        queue.enter(second, &waker(2, &woken));

        queue.wake_next();
        queue.enter(first, &waker(1, &woken));
        queue.wake_all();
        assert_eq!(*woken.lock().unwrap(), [1, 1, 2]);
    }

    #[test]
    fn replaces_the_waker_of_a_call_that_enters_twice() {
        let (mut queue, woken) = (WaitQueue::default(), Arc::default());
        let ticket = queue.take_ticket();
        queue.enter(ticket, &waker(1, &woken));
        queue.enter(ticket, &waker(2, &woken));
        assert_eq!(queue.len(), 1);
        queue.wake_next();
        assert_eq!(*woken.lock().unwrap(), [2]);
    }

    #[test]
    fn reports_whether_a_leaving_call_was_woken() {
        let (mut queue, woken) = (WaitQueue::default(), Arc::default());
        let (first, second) = (queue.take_ticket(), queue.take_ticket());
        queue.enter(first, &waker(1, &woken));
        queue.enter(second, &waker(2, &woken));

        queue.wake_next();
        assert!(!queue.leave(first));
        assert!(queue.leave(second));
        assert_eq!(*woken.lock().unwrap(), [1]);
    }

    #[test]
    fn keeps_the_modes_apart() {
        let (mut queues, woken) = (WaitQueues::default(), Arc::default());
        let ticket = queues.of(Mode::Exclusive).take_ticket();
        queues.of(Mode::Exclusive).enter(ticket, &waker(1, &woken));
        assert!(queues.has_waiting(Mode::Exclusive) && !queues.has_waiting(Mode::Multiplexed));
        assert_eq!(queues.len(), 1);

        queues.wake_next();
        assert_eq!((queues.len(), woken.lock().unwrap().len()), (0, 1));
    }
}
