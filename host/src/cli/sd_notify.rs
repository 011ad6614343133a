//! What the one who started this process is told of it: sd_notify(3), in the few lines it takes.
//!
//! Own lines and no crate: the protocol is a datagram, and the crates for it either cannot reach an abstract socket
//! (as that of a container) or bring an interface that needs `unsafe`. The variables stay in the environment, for
//! removing them would need it, too. A process that a plugin starts can do nothing with them: systemd hears this
//! process alone (`NotifyAccess=main`), and `WATCHDOG_PID` names it.

use std::env;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a supervisor may take to make room for what it is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to the supervisor; without one, telling does nothing.
pub(super) struct SdNotify(Option<UnixDatagram>);

impl SdNotify {
    /// The supervisor that the environment names, if any.
    pub(super) fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self(None) };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        let opened = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // A supervisor that does not read must not hold the host up for long.
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.connect_addr(&address)?;
            Ok(socket)
        });
        if let Err(error) = &opened {
            tracing::warn!(socket = ?name, %error, "whoever started this process cannot be told how it is");
        }
        Self(opened.ok())
    }

    /// Whether somebody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Says these assignments at once; `false` when they were not heard.
    pub(super) fn say(&self, assignments: &[&str]) -> bool {
        let Some(socket) = &self.0 else { return false };
        match socket.send(assignments.join("\n").as_bytes()) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, ?assignments, "whoever started this process was not told");
                false
            }
        }
    }

    /// A reload begins. It ends with `READY=1`.
    pub(super) fn reloading(&self) {
        if self.is_heard() {
            // systemd tells by the time whether what ends is the reload that it asked for.
            let now = clock_gettime(ClockId::Monotonic);
            let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
            self.say(&["RELOADING=1", &format!("MONOTONIC_USEC={microseconds}")]);
        }
    }
}

/// How long the host may be silent before it is taken for dead, if anybody watches.
pub(super) fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let ours = env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0).map(Duration::from_micros)
}
