//! The live screen: polls the host, draws, reads keys, and restores the terminal however it ends.

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};

use super::screen::Screen;
use super::{ObservedHost, TopArgs};
use crate::cli::command_error::CommandError;
use crate::cli::rates::HostRates;

/// How often signals are polled while no key is pressed.
const SIGNAL_POLL: Duration = Duration::from_millis(50);

/// Restores the terminal when dropped.
struct TerminalGuard;

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        // A terminal that was closed needs no restoring.
        let _ = ratatui::try_restore();
    }
}

/// Returns a receiver of the signals that would otherwise end the process and leave the terminal in
/// raw mode. They are caught from the return on.
fn termination_signals() -> io::Result<Receiver<()>> {
    let (sender, signals) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;

    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let terminate = signal(SignalKind::terminate());
            let interrupt = signal(SignalKind::interrupt());
            let hangup = signal(SignalKind::hangup());
            let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (terminate, interrupt, hangup)
            else {
                return;
            };

            // The first message reports that the signals are caught.
            let _ = sender.send(());
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
            // The screen may have ended already.
            let _ = sender.send(());
        });
    })?;

    signals.recv().map_err(|_| io::Error::other("cannot watch signals"))?;
    Ok(signals)
}

/// Shows the host until a key or a signal ends it.
///
/// # Errors
///
/// The host cannot be reached at the start, or the terminal cannot be used. A host that cannot be
/// reached later is polled until it can be again.
pub(super) fn show(host: &ObservedHost, args: &TopArgs) -> Result<(), CommandError> {
    let mut before = host.sample()?;
    let signals = termination_signals().map_err(CommandError::Signals)?;
    let mut screen = Screen { sample: before.clone(), ..Screen::default() };
    screen.rates = HostRates::between(&before.stats, &before.stats);

    // Before the terminal is changed, so that it is also restored if `try_init` panics.
    let _guard = TerminalGuard;
    let mut terminal = ratatui::try_init().map_err(CommandError::Output)?;

    let mut next = Instant::now() + args.interval;
    let mut intervals = 0;
    loop {
        terminal.draw(|frame| frame.render_widget(&screen, frame.area())).map_err(CommandError::Output)?;
        if args.count.is_some_and(|count| intervals >= count) {
            return Ok(());
        }
        if wait_for_input(&mut screen, next, &signals).map_err(CommandError::Output)? {
            return Ok(());
        }
        if Instant::now() < next {
            continue;
        }

        next = Instant::now() + args.interval;
        if screen.is_paused {
            continue;
        }
        match host.sample() {
            Ok(now) => {
                screen.rates = HostRates::between(&before.stats, &now.stats);
                screen.sample = now.clone();
                screen.error = None;
                before = now;
            }
            Err(failure) => screen.error = Some(failure.to_string()),
        }
        intervals += 1;
    }
}

/// Waits until the screen is to be drawn again. Returns whether it is to end.
fn wait_for_input(screen: &mut Screen, until: Instant, signals: &Receiver<()>) -> io::Result<bool> {
    loop {
        match signals.try_recv() {
            Ok(()) => return Ok(true),
            // Without signals, there are still keys.
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }

        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        if !event::poll(left.min(SIGNAL_POLL))? {
            continue;
        }

        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => return Ok(press(screen, key)),
            Event::Resize(..) => return Ok(false),
            _ => {}
        }
    }
}

/// Handles a key. Returns whether it ends the screen.
fn press(screen: &mut Screen, key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('p') => screen.is_paused = !screen.is_paused,
        KeyCode::Char('s') => screen.sort = screen.sort.next(),
        _ => {}
    }
    false
}
