//! Work that a test has done beside what it looks at, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A thread of the test's own that works until this is dropped.
pub(crate) struct UntilDropped<T> {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> UntilDropped<T> {
    /// `work` ends once what it is given is true.
    pub(crate) fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopped);
        Self { stopped, thread: Some(thread::spawn(move || work(&told))) }
    }
}

impl<T> UntilDropped<T> {
    /// Ends it; gives back what it came to, the first time.
    pub(crate) fn end(&mut self) -> Option<T> {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.take().map(|thread| thread.join().expect("the work beside the test was done"))
    }
}

impl<T> Drop for UntilDropped<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            // One panic is enough to say what is wrong.
            self.stopped.store(true, Ordering::Relaxed);
            drop(self.thread.take().map(JoinHandle::join));
        } else {
            self.end();
        }
    }
}
