//! A program that embeds a host: a turnstile whose own methods are answered on a socket, next to
//! the methods of plugins.
//!
//! ```sh
//! cargo run --example embedded -- run/turnstile.sock plugins
//! jackfield call --socket run/turnstile.sock turnstile.enter
//! ```
//!
//! The program ends when stdin does (Ctrl-D), after every request in flight has been answered.

use std::io::{Read as _, stdin};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jackfield::config::{Config, Listener, Pattern, PluginsConfig, Route};
use jackfield::{Builder, Context, Error, Methods, StartError};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// The state that the methods of the program share.
#[derive(Default)]
struct Turnstile {
    entered: AtomicU64,
}

#[derive(Deserialize)]
struct Visitor {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Welcome {
    greeting: String,
    number: u64,
}

impl Turnstile {
    /// Counts a visitor. Takes microseconds, so it is `inline`.
    fn enter(&self, (): ()) -> Result<u64, Error> {
        Ok(self.entered.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Calls a plugin and waits for its result, so it is `blocking`. Errors are passed on with `?`.
    fn welcome(&self, visitor: Visitor, cx: &Context<'_>) -> Result<Welcome, Error> {
        let greeting = cx.call_wait("hello.greet", &serde_json::json!({ "name": visitor.name }))?;
        Ok(Welcome { greeting, number: self.enter(())? })
    }
}

/// Waits until stdin has ended.
async fn stdin_ended() {
    let (ended, waiting) = oneshot::channel::<()>();
    // On a thread of its own, because a read of stdin cannot be cancelled. Nobody joins the thread.
    thread::spawn(move || {
        // An error is an end as well.
        let _ = stdin().read_to_end(&mut Vec::new());
        drop(ended);
    });
    let _ = waiting.await;
}

fn main() -> ExitCode {
    // First in `main`: to try a plugin out, the host starts this very program once more.
    let entry = jackfield::enter();
    let words: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [socket, plugins] = &words[..] else {
        eprintln!("usage: embedded SOCKET PLUGIN_DIRECTORY");
        return ExitCode::from(64);
    };
    // Everything that a configuration file can say is a value.
    let mut slow = Route::to(Pattern::Prefix("turnstile".into()), "turnstile");
    slow.timeout = Some(Duration::from_secs(2));
    let config = Config {
        listeners: vec![Listener::at(socket)],
        plugins: PluginsConfig { directory: plugins.clone(), ..PluginsConfig::default() },
        routes: vec![slow],
        ..Config::default()
    };
    if let Err(error) = jackfield::log::start(&config.log) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let methods = Methods::new()
        .inline("turnstile.enter", Turnstile::enter)
        .blocking("turnstile.welcome", Turnstile::welcome);
    let host = Builder::new(config, &entry).plugin("turnstile", Turnstile::default(), methods);
    // Any runtime will do: requests are served by threads of the host's own.
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let ended = match (host, runtime) {
        (Ok(host), Ok(runtime)) => runtime.block_on(host.run(stdin_ended())),
        (Err(error), _) => Err(error),
        (_, Err(source)) => Err(StartError::System { what: "start a runtime", source }),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
