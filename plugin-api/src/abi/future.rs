//! Futures and wakers across the boundary, the same in both directions.
//!
//! A waker that the other side keeps is a boxed clone that this side made; it is cloned, woken and released only
//! by this side's functions. A future is polled and dropped only by the functions of the side that made it.

use std::ffi::c_void;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use super::sink::{Out, Written, lend};
use super::types::{RawForeignFuture, RawForeignWaker, RawOutcome, Sink, Status};

unsafe extern "C" fn waker_clone(task: *const c_void) -> RawForeignWaker {
    // SAFETY: `task` is a `Waker`, borrowed (in `lend_waker`) or boxed (here).
    let waker = unsafe { &*task.cast::<Waker>() };
    let task = Box::into_raw(Box::new(waker.clone())).cast_const().cast::<c_void>();
    RawForeignWaker { task, clone: waker_clone, wake: waker_wake, release: waker_release }
}

unsafe extern "C" fn waker_wake(task: *const c_void) {
    // SAFETY: as in `waker_clone`.
    let waker = unsafe { &*task.cast::<Waker>() };
    // A waker from elsewhere may be anything; a panic must not cross the boundary.
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake_by_ref()));
}

unsafe extern "C" fn waker_release(task: *const c_void) {
    // SAFETY: only clones are released, and each once: `task` came from the box in `waker_clone`.
    let waker = unsafe { Box::from_raw(task.cast::<Waker>().cast_mut()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
}

/// A waker lent for one poll: not owned, so never released.
fn lend_waker(waker: &Waker) -> RawForeignWaker {
    let task = std::ptr::from_ref(waker).cast::<c_void>();
    RawForeignWaker { task, clone: waker_clone, wake: waker_wake, release: waker_release }
}

/// A waker of the other side, kept here.
struct Kept(RawForeignWaker);

// SAFETY: what is behind is a `Waker` of the other side, which is `Send` and `Sync`.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

impl Wake for Kept {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // SAFETY: the other side's function on the other side's task, which this holds.
        unsafe { (self.0.wake)(self.0.task) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: made by the other side's `clone`, released once.
        unsafe { (self.0.release)(self.0.task) }
    }
}

/// A lent waker as a `Waker` for the length of one poll: a future that is ready at once never pays for a clone.
static BORROWED: RawWakerVTable = RawWakerVTable::new(keep, wake_borrowed, wake_borrowed, |_| ());

unsafe fn keep(lent: *const ()) -> RawWaker {
    // SAFETY: the lent waker, whole for the length of the poll; the clone is ours to release.
    let kept = unsafe {
        let lent = &*lent.cast::<RawForeignWaker>();
        (lent.clone)(lent.task)
    };
    let waker = ManuallyDrop::new(Waker::from(Arc::new(Kept(kept))));
    RawWaker::new(waker.data(), waker.vtable())
}

unsafe fn wake_borrowed(lent: *const ()) {
    // SAFETY: as in `keep`.
    unsafe {
        let lent = &*lent.cast::<RawForeignWaker>();
        (lent.wake)(lent.task);
    }
}

/// Something that one side polls for the other: it writes its answer when it is ready.
pub(super) trait PollInto: Send {
    /// `None` while it is not ready. May panic.
    fn poll_into(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut Out<'_>) -> Option<RawOutcome>;
}

type Boxed = Pin<Box<dyn PollInto>>;

unsafe extern "C" fn future_poll(
    state: *mut c_void,
    waker: *const RawForeignWaker,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: `state` is the box of `export`; the poller has it to itself for the call, as it has the rest.
    let (future, waker, mut out, outcome) =
        unsafe { (&mut *state.cast::<Option<Boxed>>(), &*waker, Out::borrow(out), &mut *outcome) };
    let start = out.len();
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let borrowed = RawWaker::new(std::ptr::from_ref(waker).cast(), &BORROWED);
        // SAFETY: the lent waker is whole for the length of this poll, and `BORROWED` only clones or wakes it.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(borrowed) });
        let mut cx = Context::from_waker(&waker);
        future.as_mut().map(|future| future.as_mut().poll_into(&mut cx, &mut out))
    }));
    *outcome = match polled {
        Ok(Some(None)) => RawOutcome::PENDING,
        Ok(Some(Some(ended))) => {
            drop_caught(future);
            ended
        }
        // Polled after its end: a fault of the poller, told like a panic.
        Ok(None) => out.panicked(start, "a future was polled after its end"),
        Err(payload) => {
            let text = super::guest::panic_text(payload);
            drop_caught(future);
            out.panicked(start, &text)
        }
    };
}

unsafe extern "C" fn future_drop(state: *mut c_void) {
    // SAFETY: the box of `export`, dropped once.
    let mut future = unsafe { Box::from_raw(state.cast::<Option<Boxed>>()) };
    drop_caught(&mut future);
}

/// Drops a future's contents; a `Drop` that panics is cut off here.
fn drop_caught(future: &mut Option<Boxed>) {
    let taken = future.take();
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(taken))) {
        drop(super::guest::panic_text(payload));
    }
}

/// Hands a future to the other side.
pub(super) fn export(future: Boxed) -> RawForeignFuture {
    let state = Box::into_raw(Box::new(Some(future))).cast::<c_void>();
    RawForeignFuture { state, poll: future_poll, drop: future_drop }
}

/// A future of the other side, held here; dropping it cancels it there.
pub(super) struct Imported(RawForeignFuture);

// SAFETY: what is behind is a `PollInto`, which is `Send`; it is polled through `&mut` only.
unsafe impl Send for Imported {}

impl Imported {
    /// # Safety
    /// `raw` must have been made by the other side's `export`, and nobody else may hold it.
    pub(super) unsafe fn new(raw: RawForeignFuture) -> Self {
        Self(raw)
    }

    /// Polls once; the answer is in `buffer` when the status is not `Pending`.
    pub(super) fn poll(&mut self, waker: &Waker, buffer: &mut Vec<u8>, limit: usize) -> Written {
        let waker = lend_waker(waker);
        lend(buffer, limit, |out, outcome| {
            // SAFETY: the other side's function on its own state; waker, sink and outcome live for the call.
            unsafe { (self.0.poll)(self.0.state, &raw const waker, out, outcome) }
        })
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        // SAFETY: the other side's function on its own state, once.
        unsafe { (self.0.drop)(self.0.state) }
    }
}

/// A call's future in a plugin, as the host sees it.
pub struct PluginFuture(pub(super) Imported);

impl PluginFuture {
    /// Polls once. `out` gets the result's JSON, at most `limit` bytes of it.
    pub fn poll(&mut self, waker: &Waker, out: &mut Vec<u8>, limit: usize) -> Poll<super::load::CallEnd> {
        let written = self.0.poll(waker, out, limit);
        match written.status {
            Status::Pending => Poll::Pending,
            _ => Poll::Ready(super::load::CallEnd::read(&written, out)),
        }
    }
}

/// A host service's future, as a plugin awaits it: ready with the bytes the host wrote, or its error.
pub struct Fetch {
    future: Imported,
    limit: usize,
}

impl Fetch {
    pub(super) fn new(future: Imported, limit: usize) -> Self {
        Self { future, limit }
    }
}

impl Future for Fetch {
    type Output = Result<Vec<u8>, crate::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut buffer = Vec::new();
        let limit = self.limit;
        let written = self.future.poll(cx.waker(), &mut buffer, limit);
        match written.status {
            Status::Pending => Poll::Pending,
            _ => Poll::Ready(super::handle::read_reply(&written, buffer)),
        }
    }
}
