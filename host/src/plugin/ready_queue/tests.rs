//! Tests of the queue of an async executor.

use std::task::Wake;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::wake_count::WakeCount;

type Queue = ReadyQueue<u32>;

/// Starts a thread that ends at once. The test does its work.
fn start(_thread: ExecutorThread) -> io::Result<HostThread> {
    HostThread::spawn("a", || ())
}

/// A queue that has a thread.
fn queue() -> Arc<Queue> {
    let queue = Arc::<Queue>::default();
    queue.ensure_thread(start).unwrap();
    queue
}

fn push(queue: &Queue, tasks: impl IntoIterator<Item = u32>) {
    queue.push(tasks.into_iter().map(Arc::new));
}

fn next(queue: &Queue) -> Option<Vec<u32>> {
    let mut batch = VecDeque::new();
    queue.next_batch(&mut batch, Waker::wake).map(|()| batch.iter().map(|task| **task).collect())
}

#[test]
fn returns_all_ready_tasks_in_order() {
    let queue = queue();
    push(&queue, [1, 2]);
    push(&queue, [3]);
    assert_eq!(next(&queue), Some(vec![1, 2, 3]));
}

#[test]
fn wakes_the_waiting_thread_for_a_task() {
    let queue = queue();
    let waits = thread::spawn({
        let queue = Arc::clone(&queue);
        move || next(&queue)
    });
    while !lock(&queue.state).is_waiting {
        thread::yield_now();
    }
    push(&queue, [1]);
    assert_eq!(waits.join().unwrap(), Some(vec![1]));
}

#[test]
fn ends_when_closed_and_keeps_the_remaining_tasks_for_the_caller() {
    let queue = queue();
    push(&queue, [1]);
    assert_eq!(queue.close().len(), 1);
    push(&queue, [2]);
    assert_eq!(next(&queue), None);
    assert_eq!(queue.take_remaining().0.iter().map(|task| **task).collect::<Vec<_>>(), [1]);
}

#[test]
fn starts_one_thread_and_none_once_closed() {
    let queue = Queue::default();
    let no_thread = |_| Err(io::Error::other("no thread"));
    assert_eq!(queue.ensure_thread(no_thread), Err(SubmitError::QueueFull));
    assert_eq!(queue.ensure_thread(start), Ok(()));
    assert_eq!(queue.ensure_thread(|_| panic!("a thread was started already")), Ok(()));
    assert_eq!(queue.close().len(), 1);
    assert_eq!(queue.ensure_thread(|_| panic!("the queue is closed")), Err(SubmitError::QueueFull));
}

/// Looks at the queue twice while its thread polls, and returns what the second look found.
fn observe(queue: &Queue, spare: usize) -> Observation<u32> {
    let overdue = |task: &u32| Some(*task);
    let first = queue.observe(spare, overdue, |_| panic!("nothing was observed before"));
    assert!(matches!(first, Observation::Nothing));
    queue.observe(spare, overdue, start)
}

#[test]
fn lets_another_thread_poll_the_tasks_behind_a_poll_that_does_not_return() {
    let queue = queue();
    push(&queue, [1, 2]);
    assert_eq!(next(&queue), Some(vec![1, 2]));
    push(&queue, [3]);

    let found = observe(&queue, 1);
    let Observation::Lost { found: 1, replacement: Replacement::Replaced, lost: 1 } = found else { panic!() };
    assert_eq!(queue.health(), ExecutorHealth { lost_threads: 1, has_thread: true });
    assert_eq!(next(&queue), Some(vec![2, 3]));

    // No spare thread is left for the second one.
    let found = observe(&queue, 1);
    let Observation::Lost { found: 2, replacement: Replacement::NoSpareThread, lost: 2 } = found else {
        panic!()
    };
    assert_eq!(queue.health(), ExecutorHealth { lost_threads: 2, has_thread: false });
    assert_eq!(queue.ensure_thread(start), Err(SubmitError::ThreadsLost));

    // Both return: the first one ends, the second one continues.
    assert_eq!(queue.end_lost(), (1, false));
    let thread = lock(&queue.state).in_charge.as_ref().unwrap().thread();
    assert!(thread.advance() && thread.advance());
    push(&queue, [4]);
    assert_eq!(next(&queue), Some(vec![4]));
    let returned = queue.observe(1, |_| None::<u32>, start);
    assert!(matches!(returned, Observation::Returned { lost: 0 }));
    assert_eq!(queue.ensure_thread(start), Ok(()));
    assert_eq!(queue.close().len(), 2);
}

#[test]
fn starts_a_thread_for_the_next_task_if_a_lost_one_could_not_be_replaced() {
    let queue = queue();
    push(&queue, [1, 2]);
    assert_eq!(next(&queue), Some(vec![1, 2]));
    queue.observe(1, |task| Some(*task), start);
    let found = queue.observe(1, |task| Some(*task), |_| Err(io::Error::other("no thread")));
    assert!(matches!(found, Observation::Lost { replacement: Replacement::Failed(_), .. }));

    assert_eq!(queue.ensure_thread(start), Ok(()));
    assert_eq!(next(&queue), Some(vec![2]));
}

#[test]
fn returns_the_wakers_that_other_threads_want_to_wake() {
    let queue = queue();
    let count = Arc::<WakeCount>::default();
    queue.push_waker(&mut Some(Waker::from(Arc::clone(&count))));
    assert_eq!(count.get(), 0);
    push(&queue, [1]);
    assert_eq!(next(&queue), Some(vec![1]));
    assert_eq!(count.get(), 1);

    queue.push_waker(&mut Some(Waker::from(Arc::clone(&count))));
    queue.close();
    let mut late = Some(Waker::noop().clone());
    queue.push_waker(&mut late);
    assert!(late.is_some(), "a closed queue took a waker");
    assert_eq!((queue.take_remaining().1.len(), count.get()), (1, 1));
}

/// A waker that uses the queue when it is dropped, as one of a plugin may.
struct UsesQueue(Arc<Queue>);

impl Wake for UsesQueue {
    fn wake(self: Arc<Self>) {}
}

impl Drop for UsesQueue {
    fn drop(&mut self) {
        self.0.remove_timer(Time::NEVER, 0);
    }
}

#[test]
fn ends_when_it_is_closed_while_it_wakes_timers() {
    struct ClosesQueue(Arc<Queue>);
    impl Wake for ClosesQueue {
        fn wake(self: Arc<Self>) {
            self.0.close();
        }
    }
    let queue = queue();
    let due = Time::now().after(Duration::from_millis(20));
    queue.set_timer(due, None, &Waker::from(Arc::new(ClosesQueue(Arc::clone(&queue)))));

    let waits = HostThread::spawn("a", {
        let queue = Arc::clone(&queue);
        move || next(&queue)
    });
    let ended = waits.unwrap().join_before(Instant::now() + Duration::from_secs(30));
    assert!(matches!(ended, Ok(Ok(None))), "the thread waits for a closed queue");
}

#[test]
fn drops_a_replaced_waker_without_its_lock() {
    let queue = queue();
    let waker = || Waker::from(Arc::new(UsesQueue(Arc::clone(&queue))));
    let timer = queue.set_timer(Time::NEVER, None, &waker());
    queue.set_timer(Time::NEVER, Some(timer), &waker());
    queue.remove_timer(Time::NEVER, timer);
    assert_eq!(queue.timers(), 0);
}
