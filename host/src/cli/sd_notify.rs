//! Notifications to the service manager, as in sd_notify(3).
//!
//! This is implemented here because the protocol is a datagram, and the crates for it either cannot
//! send to an abstract socket (as in a container) or need `unsafe`. The variables stay in the
//! environment, because removing them would need `unsafe`, too. A process that a plugin starts
//! cannot misuse them: systemd accepts notifications from this process alone (`NotifyAccess=main`),
//! and `WATCHDOG_PID` names it.

use std::env;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time-out of a notification. A service manager that does not read must not block the host for
/// long.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The notify socket. Without one, no notification is sent.
pub(super) struct SdNotify(Option<UnixDatagram>);

impl SdNotify {
    /// Connects to the socket that `NOTIFY_SOCKET` names, if it is set.
    pub(super) fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self(None) };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };

        let connected = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(SEND_TIMEOUT))?;
            socket.connect_addr(&address)?;
            Ok(socket)
        });
        if let Err(error) = &connected {
            tracing::warn!(
                socket = ?name,
                %error,
                "cannot reach the systemd notify socket NOTIFY_SOCKET={}: {error}; \
                 readiness and status are not reported",
                name.display()
            );
        }
        Self(connected.ok())
    }

    /// Returns whether notifications are sent.
    pub(super) fn is_connected(&self) -> bool {
        self.0.is_some()
    }

    /// Sends these assignments in one notification. Returns whether the service manager has
    /// received it.
    pub(super) fn notify(&self, assignments: &[&str]) -> bool {
        let Some(socket) = &self.0 else { return false };
        match socket.send(assignments.join("\n").as_bytes()) {
            Ok(_) => true,
            Err(error) => {
                let shown = assignments.join(" ");
                tracing::warn!(%error, ?assignments, "cannot send {shown} to the systemd notify socket: {error}");
                false
            }
        }
    }

    /// Notifies that a reload begins. It ends with `READY=1`.
    pub(super) fn notify_reloading(&self) {
        if self.is_connected() {
            // systemd compares this time with that of its own request, to know whether the reload
            // that ends is the requested one.
            let now = clock_gettime(ClockId::Monotonic);
            let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
            self.notify(&["RELOADING=1", &format!("MONOTONIC_USEC={micros}")]);
        }
    }
}

/// Returns the time-out of the service manager's watchdog, if it watches this process.
pub(super) fn watchdog_timeout() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_for_this_process = env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));

    let micros = number("WATCHDOG_USEC").filter(|limit| is_for_this_process && *limit > 0);
    micros.map(Duration::from_micros)
}
