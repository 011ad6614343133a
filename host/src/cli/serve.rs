//! `jackfield serve`: runs the host until a signal ends it.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use jackfield::log::Logging;
use jackfield::{Builder, Entry, Host};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::follow::Follower;
use super::{CONFIGURATION, SYSTEM, failed, load};

/// Runs the host. SIGTERM and SIGINT drain it; a second one cuts.
pub(crate) fn serve(file: Option<&Path>, entry: &Entry) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(unusable) => return failed(CONFIGURATION, &unusable),
    };
    let logging = match jackfield::log::start(&config.log) {
        Ok(logging) => logging,
        Err(error) => return failed(CONFIGURATION, &error),
    };
    // The runtime waits for signals and nothing else; requests have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(SYSTEM, &error),
    };
    // Signals are watched before there is anything to drain.
    let _inside = runtime.enter();
    let signals = match Signals::watch() {
        Ok(signals) => signals,
        Err(error) => return failed(SYSTEM, &error),
    };
    let sockets: Vec<_> =
        config.listeners.iter().map(|listener| listener.socket.display().to_string()).collect();
    let follower = Follower::start(&config);
    let host = match Builder::new(config, entry).start() {
        Ok(host) => host,
        Err(error) => return failed(SYSTEM, &error),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "ready on {}",
        sockets.join(", ")
    );
    match runtime.block_on(until_ended(host, signals, follower, &logging)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(SYSTEM, &error),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::End("SIGTERM"),
            _ = self.interrupt.recv() => Heard::End("SIGINT"),
            _ = self.hang_up.recv() => Heard::HangUp,
        }
    }
}

/// What a signal asks for.
enum Heard {
    End(&'static str),
    HangUp,
}

async fn until_ended(
    mut host: Host,
    mut signals: Signals,
    mut follower: Follower,
    logging: &Logging,
) -> io::Result<()> {
    loop {
        tokio::select! {
            ended = host.ended() => return ended,
            heard = signals.next() => match heard {
                Heard::End(name) => {
                    tracing::info!("{name}: answering what is in flight; once more ends at once");
                    break;
                }
                Heard::HangUp => {
                    tracing::info!("SIGHUP: reading the configuration and the plugin directory anew");
                    follower.read(&host);
                    host.look();
                }
            },
            step = follower.next() => follower.go_on(step, &host, logging),
        }
    }
    host.begin_stop();
    loop {
        tokio::select! {
            ended = host.ended() => return ended,
            // A hang-up is nothing to a host that ends.
            heard = signals.next() => if let Heard::End(name) = heard {
                tracing::warn!("{name}: ending at once");
                break;
            },
        }
    }
    host.cut();
    host.ended().await
}
