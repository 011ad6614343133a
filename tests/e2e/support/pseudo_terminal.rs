//! A program in a pseudo-terminal: tests read its screen, press keys, and check the state that it
//! leaves.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::program::command;
use super::wait::{wait_for, wait_until};

/// A pseudo-terminal of 100 columns and 30 rows, and the program in it.
pub(crate) struct PseudoTerminal {
    child: Child,
    keys: File,
    /// Kept open, so that the terminal outlives the program.
    line: File,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    before: Termios,
}

impl PseudoTerminal {
    /// Starts `program` with these arguments in this directory, in a new pseudo-terminal.
    pub(crate) fn start(program: &Path, args: &[&str], directory: &Path) -> Self {
        let ours =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("its other side");
        let name = ptsname(&ours, Vec::new()).expect("its name").into_string().expect("UTF-8");

        let flags = OFlags::NOCTTY.bits().cast_signed();
        let line =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(name).expect("its line");

        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&line, size).expect("its size");
        let before = tcgetattr(&line).expect("its attributes");

        let side = || line.try_clone().expect("another descriptor");
        let child = command(program)
            .args(args)
            .current_dir(directory)
            .env("TERM", "xterm")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("the program starts");

        let keys = File::from(ours);
        let mut screen = keys.try_clone().expect("another descriptor");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&shown);

        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // Reading fails once the other side is closed everywhere.
            while let Ok(count @ 1..) = screen.read(&mut chunk) {
                read.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..count]);
            }
        });

        Self { child, keys, line, shown, reader: Some(reader), before }
    }

    /// Returns everything that was written so far, including escape sequences.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        wait_until(format!("{text:?} is shown"), || self.shown().contains(text));
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the keys are taken");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// Waits for the end of the program and asserts that the terminal is in its original state.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = wait_for("the program ends", || self.child.try_wait().expect("our child"));

        // The alternate screen is left, the cursor is visible, and every attribute is restored.
        self.wait_for("\u{1b}[?1049l");

        let shown = self.shown();
        let last = |sequence: &str| shown.rfind(sequence);
        assert!(last("\u{1b}[?1049l") > last("\u{1b}[?1049h"), "{shown:?}");
        assert!(last("\u{1b}[?25h") > last("\u{1b}[?25l"), "{shown:?}");

        let after = tcgetattr(&self.line).expect("its attributes");
        assert_eq!(
            (after.local_modes, after.input_modes),
            (self.before.local_modes, self.before.input_modes)
        );
        assert_eq!(
            (after.output_modes, after.control_modes),
            (self.before.output_modes, self.before.control_modes)
        );
        status
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reader ends when no process has the terminal open any more.
        if let Ok(nothing) = File::open("/dev/null") {
            self.line = nothing;
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
