//! Futures and wakers across the ABI, the same in both directions.
//!
//! A waker that the other side keeps is a boxed clone that this side has made. Only functions of
//! this side clone, wake and release it. A future is polled and dropped only by functions of the
//! side that has created it.

use std::ffi::c_void;
use std::future::Future;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use super::call_context::CallOutput;
use super::call_end::{CallEnd, read_reply};
use super::sink::{Out, Written, lend};
use super::types::{RawForeignFuture, RawForeignWaker, RawOutcome, Sink, Status};
use super::unwind::panic_text;

unsafe extern "C" fn waker_clone(task: *const c_void) -> RawForeignWaker {
    // SAFETY: `task` is a `Waker`, either borrowed by `lend_waker` or boxed by this function.
    let waker = unsafe { &*task.cast::<Waker>() };
    let task = Box::into_raw(Box::new(waker.clone())).cast_const().cast::<c_void>();
    RawForeignWaker { task, clone: waker_clone, wake: waker_wake, release: waker_release }
}

unsafe extern "C" fn waker_wake(task: *const c_void) {
    // SAFETY: as in `waker_clone`.
    let waker = unsafe { &*task.cast::<Waker>() };
    // The waker may run any code, and a panic must not cross the ABI.
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake_by_ref()));
}

unsafe extern "C" fn waker_release(task: *const c_void) {
    // SAFETY: only clones are released, each once, so `task` is the box of `waker_clone`.
    let waker = unsafe { Box::from_raw(task.cast::<Waker>().cast_mut()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
}

/// Lends a waker for one poll. It is not owned by the other side, so it is never released.
fn lend_waker(waker: &Waker) -> RawForeignWaker {
    let task = std::ptr::from_ref(waker).cast::<c_void>();
    RawForeignWaker { task, clone: waker_clone, wake: waker_wake, release: waker_release }
}

/// A waker of the other side, kept by this side.
struct KeptWaker(RawForeignWaker);

// SAFETY: it is a `Waker` of the other side, which is `Send` and `Sync`.
unsafe impl Send for KeptWaker {}
// SAFETY: as above.
unsafe impl Sync for KeptWaker {}

impl Wake for KeptWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // SAFETY: the function and the task belong to the other side, and this value holds the
        // task.
        unsafe { (self.0.wake)(self.0.task) }
    }
}

impl Drop for KeptWaker {
    fn drop(&mut self) {
        // SAFETY: the task was created by `clone` of the other side, and is released once.
        unsafe { (self.0.release)(self.0.task) }
    }
}

/// The functions of a lent waker during one poll. It is cloned only if the future keeps it, so a
/// future that is ready at its first poll does not pay for a clone.
static LENT_WAKER: RawWakerVTable = RawWakerVTable::new(keep_lent, wake_lent, wake_lent, |_| ());

unsafe fn keep_lent(lent: *const ()) -> RawWaker {
    // SAFETY: the lent waker is valid during the poll, and this side releases the clone.
    let kept = unsafe {
        let lent = &*lent.cast::<RawForeignWaker>();
        (lent.clone)(lent.task)
    };
    let waker = ManuallyDrop::new(Waker::from(Arc::new(KeptWaker(kept))));
    RawWaker::new(waker.data(), waker.vtable())
}

unsafe fn wake_lent(lent: *const ()) {
    // SAFETY: as in `keep_lent`.
    unsafe {
        let lent = &*lent.cast::<RawForeignWaker>();
        (lent.wake)(lent.task);
    }
}

/// A future that one side polls for the other, and that writes its output when it is ready.
pub(super) trait PollInto: Send {
    /// Polls once. Returns `None` if it is not ready. It may panic.
    fn poll_into(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut Out<'_>) -> Option<RawOutcome>;
}

type Boxed = Pin<Box<dyn PollInto>>;

unsafe extern "C" fn future_poll(
    state: *mut c_void,
    waker: *const RawForeignWaker,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: `state` is the box of `export`, and the caller has exclusive access to all pointers.
    let (future, waker, mut out, outcome) =
        unsafe { (&mut *state.cast::<Option<Boxed>>(), &*waker, Out::borrow(out), &mut *outcome) };
    let start = out.len();

    let polled = catch_unwind(AssertUnwindSafe(|| {
        let lent = RawWaker::new(std::ptr::from_ref(waker).cast(), &LENT_WAKER);
        // SAFETY: the lent waker is valid during this poll, and `LENT_WAKER` only clones or wakes
        // it.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(lent) });
        let mut cx = Context::from_waker(&waker);
        future.as_mut().map(|future| future.as_mut().poll_into(&mut cx, &mut out))
    }));

    *outcome = match polled {
        Ok(Some(None)) => RawOutcome::PENDING,
        Ok(Some(Some(ended))) => {
            drop_contents(future);
            ended
        }
        // A fault of the caller, reported like a panic.
        Ok(None) => out.panicked(start, "a future was polled after its end"),
        Err(payload) => {
            let text = panic_text(payload);
            drop_contents(future);
            out.panicked(start, &text)
        }
    };
}

unsafe extern "C" fn future_drop(state: *mut c_void) {
    // SAFETY: `state` is the box of `export`, and is dropped once.
    let mut future = unsafe { Box::from_raw(state.cast::<Option<Boxed>>()) };
    drop_contents(&mut future);
}

/// Drops the contents of a future, and catches a panic of its `Drop`.
fn drop_contents(future: &mut Option<Boxed>) {
    let taken = future.take();
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(taken))) {
        drop(panic_text(payload));
    }
}

/// Passes a future to the other side.
pub(super) fn export(future: Boxed) -> RawForeignFuture {
    let state = Box::into_raw(Box::new(Some(future))).cast::<c_void>();
    RawForeignFuture { state, poll: future_poll, drop: future_drop }
}

unsafe extern "C" fn missing_poll(
    _state: *mut c_void,
    _waker: *const RawForeignWaker,
    out: *mut Sink,
    outcome: *mut RawOutcome,
) {
    // SAFETY: the caller has exclusive access to both pointers.
    let (mut out, outcome) = unsafe { (Out::borrow(out), &mut *outcome) };
    *outcome = out.panicked(out.len(), "the method has written no future");
}

unsafe extern "C" fn missing_drop(_state: *mut c_void) {}

/// Returns a future in place of one that the other side has not written.
pub(super) fn missing_future() -> RawForeignFuture {
    RawForeignFuture { state: std::ptr::null_mut(), poll: missing_poll, drop: missing_drop }
}

/// Returns a future that the other side has written, or [`missing_future`] if one of its functions
/// is null.
///
/// # Safety
///
/// It was initialized with [`missing_future`].
pub(super) unsafe fn complete_future(written: MaybeUninit<RawForeignFuture>) -> RawForeignFuture {
    let future = written.as_ptr();
    // SAFETY: guaranteed by the caller; both addresses are read as numbers, which may be zero.
    let (poll, drop) = unsafe {
        (
            (&raw const (*future).poll).cast::<usize>().read(),
            (&raw const (*future).drop).cast::<usize>().read(),
        )
    };
    if poll == 0 || drop == 0 {
        return missing_future();
    }
    // SAFETY: no function is null.
    unsafe { written.assume_init() }
}

/// A future of the other side, held by this side. Dropping it cancels it.
pub(super) struct Imported(RawForeignFuture);

// SAFETY: it is a `PollInto`, which is `Send`, and is polled through `&mut` only.
unsafe impl Send for Imported {}

impl Imported {
    /// Takes a future of the other side.
    ///
    /// # Safety
    ///
    /// `raw` must be the result of `export` of the other side, and nobody else may hold it.
    pub(super) unsafe fn new(raw: RawForeignFuture) -> Self {
        Self(raw)
    }

    /// Polls once. Unless the status is `Pending`, the output is in `buffer`.
    pub(super) fn poll(&mut self, waker: &Waker, buffer: &mut Vec<u8>, limit: usize) -> Written {
        let waker = lend_waker(waker);
        lend(buffer, limit, |out, outcome| {
            // SAFETY: the function and the state belong to the other side; waker, sink and outcome
            // are valid during the call.
            unsafe { (self.0.poll)(self.0.state, &raw const waker, out, outcome) }
        })
    }
}

impl Drop for Imported {
    fn drop(&mut self) {
        // SAFETY: the function and the state belong to the other side, and it is dropped once.
        unsafe { (self.0.drop)(self.0.state) }
    }
}

/// The future of an `async` call in a plugin, as the host sees it.
pub struct PluginFuture {
    pub(super) future: Imported,

    /// Whether results are checked, as those of plugins in C.
    pub(super) is_c: bool,
}

impl PluginFuture {
    /// Polls once. The result is appended to `out`, at most `limit` bytes.
    pub fn poll(&mut self, waker: &Waker, out: &mut Vec<u8>, limit: usize) -> Poll<CallEnd> {
        let written = self.future.poll(waker, out, limit);
        match written.status {
            Status::Pending => Poll::Pending,
            _ => {
                let end = CallEnd::read(&written, out);
                Poll::Ready(if self.is_c { end.with_checked_json(&written, out) } else { end })
            }
        }
    }
}

/// The future of a host service, as a plugin awaits it. Its output is what the host wrote, or the
/// error.
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
    type Output = Result<CallOutput, crate::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut buffer = Vec::new();
        let limit = self.limit;
        let written = self.future.poll(cx.waker(), &mut buffer, limit);
        match written.status {
            Status::Pending => Poll::Pending,
            _ => Poll::Ready(read_reply(&written, buffer)),
        }
    }
}
