//! Work on a background thread for the duration of a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A thread that works until this value is dropped.
pub(crate) struct BackgroundThread<T> {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> BackgroundThread<T> {
    /// Starts a thread that runs `work`, which must return once its argument is true.
    pub(crate) fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop_requested = Arc::clone(&stopped);
        Self { stopped, thread: Some(thread::spawn(move || work(&stop_requested))) }
    }
}

impl<T> BackgroundThread<T> {
    /// Stops the thread and returns the result of its work; `None` if it was stopped before.
    pub(crate) fn stop(&mut self) -> Option<T> {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.take().map(|thread| thread.join().expect("the background work does not panic"))
    }
}

impl<T> Drop for BackgroundThread<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            // The test already reports a panic; a second one would abort the process.
            self.stopped.store(true, Ordering::Relaxed);
            drop(self.thread.take().map(JoinHandle::join));
        } else {
            self.stop();
        }
    }
}

/// Sets a flag when it is dropped, also by a panic, so that no thread waits for the flag forever.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
