//! One file while it is read: its text, its faults so far, and the way from the one to the other.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::fault::{ConfigNotFound, Fault, Faults};
use super::position::{Place, Positions};
use super::syntax::Source;
use super::units::{MIB, write_size};

/// The longest file read, in bytes: a thousand times a long configuration.
const LONGEST_FILE: u64 = 4 * MIB;
/// The most faults kept. Whoever has more has given the wrong file.
pub(super) const MOST_FAULTS: usize = 1000;
/// Tables can nest about 6,500 deep (80 levels of braces, the parser's limit, times 80 keys with dots
/// between), and are parsed and dropped by recursion: more than a thread's usual 2 MiB. Untouched pages of a
/// stack cost nothing.
const DEEP_STACK: usize = 64 << 20;

/// The text of a file, or the one fault that it cannot be had.
pub(super) fn read(path: &Path) -> Result<String, Faults> {
    let unreadable = |error: std::io::Error| {
        Faults::whole(
            path,
            format!("cannot be read: {error}"),
            "name a file that this user may read".to_owned(),
        )
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST_FILE {
        let what = format!("is longer than {}", write_size(LONGEST_FILE));
        return Err(Faults::whole(path, what, "name a configuration file".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let Place { line, column } = Positions::new(&text).place(valid);
        let what = format!("byte 0x{:02X} is not UTF-8", error.as_bytes()[valid]);
        let instead = "save the file as UTF-8".to_owned();
        Faults(vec![Fault { file: path.to_path_buf(), line, column, what, instead }])
    })
}

/// The first of these paths where there is something.
pub(super) fn first_existing<'p>(
    paths: impl IntoIterator<Item = &'p Path>,
) -> Result<PathBuf, ConfigNotFound> {
    let mut looked = Vec::new();
    for path in paths {
        // What is there and may not be looked at is found: the fault is in reading it.
        if !matches!(path.try_exists(), Ok(false)) {
            return Ok(path.to_path_buf());
        }
        looked.push(path.to_path_buf());
    }
    Err(ConfigNotFound { looked })
}

/// Runs `parse` on a thread with [`DEEP_STACK`] bytes of stack.
pub(super) fn on_deep_stack<T: Send>(
    file: &Path,
    parse: impl FnOnce() -> Result<T, Faults> + Send,
) -> Result<T, Faults> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("config".to_owned()).stack_size(DEEP_STACK);
        match thread.spawn_scoped(scope, parse).map(|thread| thread.join()) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => {
                let what = format!("cannot be parsed: no thread with {DEEP_STACK} bytes of stack: {error}");
                let instead = "allow this process one more thread and 64MiB of address space".to_owned();
                Err(Faults::whole(file, what, instead))
            }
        }
    })
}

/// A file's places, and the faults found in it so far.
pub(super) struct Document<'t> {
    file: &'t Path,
    positions: Positions<'t>,
    /// The lines that are not TOML. What stands there for the parser is a guess, and no faults are made of
    /// guesses.
    broken: HashSet<u32>,
    faults: RefCell<Vec<(Place, String, String)>>,
    /// Whether there were more than [`MOST_FAULTS`].
    overfull: Cell<bool>,
}

impl<'t> Document<'t> {
    pub(super) fn new(source: &'t Source<'_>, file: &'t Path) -> Document<'t> {
        let document = Document {
            file,
            positions: Positions::new(source.text()),
            broken: HashSet::new(),
            faults: RefCell::default(),
            overfull: Cell::new(false),
        };
        for error in source.errors() {
            document.fault(error.offset, error.what.clone(), error.instead.clone());
        }
        let broken = document.faults.borrow().iter().map(|(place, ..)| place.line).collect();
        Document { broken, ..document }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        self.positions.place(offset)
    }

    pub(super) fn fault(&self, offset: usize, what: String, instead: String) {
        let place = self.place(offset);
        if self.broken.contains(&place.line) {
            return;
        }
        let mut faults = self.faults.borrow_mut();
        if faults.len() < MOST_FAULTS {
            faults.push((place, what, instead));
        } else {
            self.overfull.set(true);
        }
    }

    /// Whether any further fault would be left out.
    pub(super) fn is_full(&self) -> bool {
        self.overfull.get()
    }

    /// A fault for something that is not there: not to be had in a file that is not TOML, where it may well
    /// be.
    pub(super) fn missing(&self, offset: usize, what: String, instead: String) {
        if self.broken.is_empty() {
            self.fault(offset, what, instead);
        }
    }

    /// What was read, or everything that is wrong with it.
    pub(super) fn finish<T>(self, read: T) -> Result<T, Faults> {
        let mut faults = self.faults.into_inner();
        let Some((last, ..)) = faults.iter().max() else { return Ok(read) };
        if self.overfull.get() {
            let what = format!("there are more than these {MOST_FAULTS} faults");
            faults.push((*last, what, "correct these first, or name a configuration file".to_owned()));
        }
        faults.sort_by_key(|(place, ..)| *place);
        let fault = |(place, what, instead): (Place, String, String)| Fault {
            file: self.file.to_path_buf(),
            line: place.line,
            column: place.column,
            what,
            instead,
        };
        Err(Faults(faults.into_iter().map(fault).collect()))
    }
}
