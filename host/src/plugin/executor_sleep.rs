//! The timer of an async executor as a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::ready_queue::ReadyQueue;
use crate::clock::Time;

/// A future that is ready at an instant. The executor thread wakes it.
pub(super) struct ExecutorSleep<T> {
    queue: Arc<ReadyQueue<T>>,
    until: Time,

    /// The number of its timer, once it has one.
    timer: Option<u64>,
}

impl<T> ExecutorSleep<T> {
    pub(super) fn new(queue: &Arc<ReadyQueue<T>>, until: Time) -> Self {
        Self { queue: Arc::clone(queue), until, timer: None }
    }
}

impl<T> Future for ExecutorSleep<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Time::now() >= self.until {
            return Poll::Ready(());
        }
        self.timer = Some(self.queue.set_timer(self.until, self.timer, cx.waker()));
        Poll::Pending
    }
}

impl<T> Drop for ExecutorSleep<T> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.queue.remove_timer(self.until, timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::pin;
    use std::task::{Wake, Waker};
    use std::time::Duration;

    use super::*;
    use crate::host_thread::HostThread;

    type Queue = ReadyQueue<u32>;

    /// Pushes task 7 when it is woken.
    struct PushesSeven(Arc<Queue>);

    impl Wake for PushesSeven {
        fn wake(self: Arc<Self>) {
            self.0.push(std::iter::once(Arc::new(7)));
        }
    }

    #[test]
    fn is_woken_when_it_is_due() {
        let queue = Arc::<Queue>::default();
        // The test does the work of this thread.
        queue.ensure_thread(|_| HostThread::spawn("a", || ())).unwrap();
        let until = Time::now().after(Duration::from_millis(20));
        let mut sleep = pin!(ExecutorSleep::new(&queue, until));
        let task = Waker::from(Arc::new(PushesSeven(Arc::clone(&queue))));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&task)).is_pending());

        let mut batch = VecDeque::new();
        assert_eq!(queue.next_batch(&mut batch, Waker::wake), Some(()));
        assert_eq!(batch, [Arc::new(7)]);
        assert!(Time::now() >= until);
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&task)).is_ready());
    }

    #[test]
    fn has_one_timer_however_often_it_is_polled_and_none_once_it_is_dropped() {
        let queue = Arc::<Queue>::default();
        {
            let mut sleep = pin!(ExecutorSleep::new(&queue, Time::NEVER));
            for _ in 0..2 {
                assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                assert_eq!(queue.timers(), 1);
            }
        }
        assert_eq!(queue.timers(), 0);
    }
}
