//! A timer of the kernel's that an I/O thread waits for like for a socket.
//!
//! The runtime's own timer would be cheaper to set. But while anything is set, and something always is, it has the
//! clock read around every wait, and the kernel set an alarm for every wait and take it back.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Not registered with a runtime yet: that is done on the thread that waits.
pub(crate) struct KernelTimer(OwnedFd);

impl KernelTimer {
    /// # Errors
    /// There is no descriptor or no memory to be had.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// # Errors
    /// The runtime's reactor does not take it.
    #[expect(
        deprecated,
        reason = "unsound only for types that lie about their descriptor; the other way is unsafe"
    )]
    pub(crate) fn watch(self) -> io::Result<RegisteredTimer> {
        AsyncFd::with_interest(self.0, Interest::READABLE).map(RegisteredTimer)
    }
}

/// A timer, set or not.
pub(crate) struct RegisteredTimer(AsyncFd<OwnedFd>);

impl RegisteredTimer {
    /// Has it fire once after this time, and not at the time that was set before. `None`: not at all.
    pub(crate) fn set(&self, after: Option<Duration>) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // All noughts would stop it; and what is too long for the kernel's clock is for ever.
        let at = after.and_then(|after| Timespec::try_from(after.max(Duration::from_nanos(1))).ok());
        let value = Itimerspec { it_interval: never, it_value: at.unwrap_or(never) };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }

    /// Waits until it fires. Nothing is lost when this is given up.
    pub(crate) async fn fired(&self) -> io::Result<()> {
        let mut count = [0; 8];
        loop {
            let mut ready = self.0.readable().await?;
            match read(&self.0, &mut count) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_fires_once_at_the_time_that_was_set_last() {
        let timer = KernelTimer::new().unwrap().watch().unwrap();
        let hour = Some(Duration::from_secs(3600));
        timer.set(hour).unwrap();
        timer.set(Some(Duration::ZERO)).unwrap();
        timer.fired().await.unwrap();
        timer.set(Some(Duration::from_millis(1))).unwrap();
        timer.fired().await.unwrap();
        for later in [None, hour, Some(Duration::MAX)] {
            timer.set(later).unwrap();
            let fired = tokio::time::timeout(Duration::from_millis(20), timer.fired()).await;
            assert!(fired.is_err(), "it fired, set to {later:?}");
        }
    }
}
