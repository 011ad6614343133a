//! The live screen: asks, draws, hears the keys; and leaves the terminal as it found it, however it ends.

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};

use super::screen::Screen;
use super::{ObservedHost, TopArgs};
use crate::cli::command_error::CommandError;
use crate::cli::stats_types::HostRates;

/// How often signals are looked at while nothing else happens.
const HEED: Duration = Duration::from_millis(50);

/// The terminal as it was, once this goes.
struct TerminalGuard;

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        // A terminal that has gone needs no restoring.
        let _ = ratatui::try_restore();
    }
}

/// Ends that come from outside: signals that would otherwise end the process with the terminal as it is now.
fn ends() -> io::Result<Receiver<()>> {
    let (ended, ends) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
                signal(SignalKind::hangup()),
            ) else {
                return;
            };
            // The screen may have gone by itself.
            let _ = ended.send(());
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
            let _ = ended.send(());
        });
    })?;
    // Heard from here on.
    ends.recv().map_err(|_| io::Error::other("signals cannot be heard"))?;
    Ok(ends)
}

/// Shows the host until a key or a signal ends it.
///
/// # Errors
/// There is no host at the start; the terminal cannot be had. A host that goes later is waited for.
pub(super) fn show(watched: &ObservedHost, words: &TopArgs) -> Result<(), CommandError> {
    let mut before = watched.look()?;
    let ends = ends().map_err(CommandError::Output)?;
    let mut screen = Screen { look: before.clone(), ..Screen::default() };
    screen.pace = HostRates::between(&before.figures, &before.figures);
    // From here on, whatever happens, and also what happens inside the next line: a panic restores it, too.
    let _restored = TerminalGuard;
    let mut terminal = ratatui::try_init().map_err(CommandError::Output)?;
    let mut next = Instant::now() + words.interval;
    let mut seen = 0;
    loop {
        terminal.draw(|frame| frame.render_widget(&screen, frame.area())).map_err(CommandError::Output)?;
        if words.count.is_some_and(|count| seen >= count) {
            return Ok(());
        }
        if hear(&mut screen, next, &ends).map_err(CommandError::Output)? {
            return Ok(());
        }
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + words.interval;
        if screen.paused {
            continue;
        }
        match watched.look() {
            Ok(now) => {
                screen.pace = HostRates::between(&before.figures, &now.figures);
                screen.look = now.clone();
                screen.trouble = None;
                before = now;
            }
            Err(failure) => screen.trouble = Some(failure.to_string()),
        }
        seen += 1;
    }
}

/// Waits until something is to be drawn anew; `true` when it is to end.
fn hear(screen: &mut Screen, until: Instant, ends: &Receiver<()>) -> io::Result<bool> {
    loop {
        match ends.try_recv() {
            Ok(()) => return Ok(true),
            Err(TryRecvError::Empty) => {}
            // Without signals there are still keys.
            Err(TryRecvError::Disconnected) => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        if !event::poll(left.min(HEED))? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => return Ok(pressed(screen, key)),
            Event::Resize(..) => return Ok(false),
            _ => {}
        }
    }
}

/// Does what a key says; `true` when it ends the screen.
fn pressed(screen: &mut Screen, key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('p') => screen.paused = !screen.paused,
        KeyCode::Char('s') => screen.sort = screen.sort.next(),
        _ => {}
    }
    false
}
