//! Signal handlers, which belong to the process, and signal masks, which belong to a thread: read,
//! compared and restored.
#![allow(unsafe_code, reason = "there is no safe interface to sigaction and pthread_sigmask")]

use std::ffi::c_int;
use std::fs;
use std::mem::MaybeUninit;
use std::ptr;

/// The numbers of all signals on x86_64 and aarch64.
const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=64;

/// A flag that glibc adds when it sets a handler. It says nothing about the handler.
const SA_RESTORER: c_int = 0x0400_0000;

/// The signals 32 and 33, which glibc reserves for itself (nptl(7)), as bits of a set.
pub(super) const RESERVED: u64 = 0b11 << 31;

/// The handlers of all signals at one moment.
pub(super) struct SignalHandlers(Vec<(c_int, libc::sigaction)>);

impl SignalHandlers {
    /// Returns the current handlers.
    pub(super) fn current() -> Self {
        Self(SIGNALS.filter_map(|signal| Some((signal, handler_of(signal)?))).collect())
    }

    /// Sets each signal to its handler in `self` if it has another one now. Returns the signals
    /// that had another one.
    pub(super) fn restore(&self) -> Vec<c_int> {
        let changed = self.0.iter().filter(|(signal, expected)| {
            handler_of(*signal).is_some_and(|handler| !is_same(&handler, expected))
        });
        changed.map(|(signal, expected)| restore_handler(*signal, expected)).collect()
    }
}

/// Returns the handler of a signal; `None` for the two signals that glibc reserves.
fn handler_of(signal: c_int) -> Option<libc::sigaction> {
    let mut handler = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: Without a new handler, the call only writes the current one to the memory that it is
    // given. Zeros are a valid value, too.
    unsafe {
        let failed = libc::sigaction(signal, ptr::null(), handler.as_mut_ptr()) != 0;
        (!failed).then(|| handler.assume_init())
    }
}

fn restore_handler(signal: c_int, handler: &libc::sigaction) -> c_int {
    // SAFETY: The handler was set when the reference was taken, before any plugin was loaded. It is
    // therefore code of the program, which is never unloaded.
    unsafe { libc::sigaction(signal, handler, ptr::null_mut()) };
    signal
}

fn is_same(one: &libc::sigaction, other: &libc::sigaction) -> bool {
    one.sa_sigaction == other.sa_sigaction
        && (one.sa_flags ^ other.sa_flags) & !SA_RESTORER == 0
        && SignalMask::of(&one.sa_mask) == SignalMask::of(&other.sa_mask)
}

/// A set of signals; bit 0 is signal 1, as in `/proc/PID/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalMask(u64);

impl SignalMask {
    /// Returns the signals that the current thread blocks.
    pub(super) fn of_current_thread() -> Self {
        let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: Without a new mask, the call only writes the current one to the memory that it is
        // given. If it failed, the zeros would be the empty mask.
        let mask = unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), mask.as_mut_ptr());
            mask.assume_init()
        };
        Self::of(&mask)
    }

    /// Returns the signals that a thread of this process blocks.
    ///
    /// Returns `None` for a thread that has ended, or that starts a thread or ends at this moment.
    /// glibc then blocks its reserved signals, too, which `pthread_sigmask` does not.
    pub(super) fn of_thread(tid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
        (mask & RESERVED == 0).then_some(Self(mask))
    }

    /// Blocks these signals, and no others, on the current thread.
    pub(crate) fn apply(self) {
        let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: `mask` is an empty set before signals are added to it. The calls have no other
        // effect than to change the set, and the mask of this thread.
        unsafe {
            libc::sigemptyset(mask.as_mut_ptr());
            for signal in SIGNALS.filter(|signal| self.0 & (1 << (signal - 1)) != 0) {
                libc::sigaddset(mask.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr(), ptr::null_mut());
        }
    }

    fn of(set: &libc::sigset_t) -> Self {
        // SAFETY: the calls read an initialized set.
        let has = |signal: &c_int| unsafe { libc::sigismember(set, *signal) } == 1;
        Self(SIGNALS.filter(has).fold(0, |mask, signal| mask | 1 << (signal - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restores_only_changed_handlers() {
        let handlers = SignalHandlers::current();
        assert_eq!(handlers.restore(), [0; 0]);

        // SAFETY: No other test uses these signals, whose default is to be ignored.
        unsafe {
            libc::signal(libc::SIGWINCH, libc::SIG_IGN);
            libc::signal(libc::SIGURG, libc::SIG_IGN);
        }
        let changed = handlers.restore();

        assert_eq!(changed, [libc::SIGURG, libc::SIGWINCH]);
        assert_eq!(handlers.restore(), [0; 0]);
    }

    #[test]
    fn restores_the_mask_of_a_thread() {
        std::thread::spawn(|| {
            let before = SignalMask::of_current_thread();
            let other = SignalMask(before.0 | 1 << (libc::SIGTERM - 1) | 1 << 40);
            other.apply();
            assert_eq!(SignalMask::of_current_thread(), other);
            let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
            assert_eq!(SignalMask::of_thread(tid), Some(other));
            before.apply();
            assert_eq!(SignalMask::of_current_thread(), before);
        })
        .join()
        .unwrap();
    }
}
