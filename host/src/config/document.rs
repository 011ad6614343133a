//! A configuration file while it is read: its places, its faults and its deprecated keys so far.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::path::Path;

use super::alias::{Alias, DeprecatedKey};
use super::fault::{FAULTS_MAX, Fault, Faults};
use super::position::{Place, Positions};
use super::syntax::Source;

/// The places of a file, and the faults and deprecated keys that were found in it so far.
pub(super) struct Document<'t> {
    file: &'t Path,
    positions: Positions<'t>,

    /// The lines with syntax errors. The parser guesses their content, and a guess must not cause
    /// further faults.
    broken_lines: HashSet<u32>,

    faults: RefCell<Vec<(Place, String, String)>>,

    /// Whether there were more than [`FAULTS_MAX`] faults.
    is_full: Cell<bool>,

    deprecated: RefCell<Vec<DeprecatedKey>>,
}

impl<'t> Document<'t> {
    /// Starts with the syntax errors of `source` as faults.
    pub(super) fn new(source: &'t Source<'_>, file: &'t Path) -> Document<'t> {
        let document = Document {
            file,
            positions: Positions::new(source.text()),
            broken_lines: HashSet::new(),
            faults: RefCell::default(),
            is_full: Cell::new(false),
            deprecated: RefCell::default(),
        };
        for error in source.errors() {
            document.fault(error.offset, error.problem.clone(), error.remedy.clone());
        }

        let broken_lines = document.faults.borrow().iter().map(|(place, ..)| place.line).collect();
        Document { broken_lines, ..document }
    }

    /// Returns the place of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        self.positions.place(offset)
    }

    /// Adds a fault.
    pub(super) fn fault(&self, offset: usize, problem: String, remedy: String) {
        let place = self.place(offset);
        if self.broken_lines.contains(&place.line) {
            return;
        }

        let mut faults = self.faults.borrow_mut();
        if faults.len() < FAULTS_MAX {
            faults.push((place, problem, remedy));
        } else {
            self.is_full.set(true);
        }
    }

    /// Returns whether further faults would be dropped.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.get()
    }

    /// Adds a fault for a missing key, unless the file has syntax errors: a line that cannot be
    /// parsed may contain the key.
    pub(super) fn missing(&self, offset: usize, problem: String, remedy: String) {
        if self.broken_lines.is_empty() {
            self.fault(offset, problem, remedy);
        }
    }

    /// Adds a key that the file sets by its deprecated name.
    pub(super) fn deprecated(&self, offset: usize, alias: &Alias) {
        let key = DeprecatedKey { deprecated: alias.deprecated, name: alias.name, place: self.place(offset) };
        self.deprecated.borrow_mut().push(key);
    }

    /// Returns the deprecated keys, sorted by place.
    pub(super) fn take_deprecated(&self) -> Vec<DeprecatedKey> {
        let mut deprecated = self.deprecated.take();
        deprecated.sort_by_key(|key| key.place);
        deprecated
    }

    /// Returns the configuration, or all faults.
    pub(super) fn finish<T>(self, config: T) -> Result<T, Faults> {
        let mut faults = self.faults.into_inner();
        let Some((last, ..)) = faults.iter().max() else { return Ok(config) };

        if self.is_full.get() {
            let problem = format!("there are more than {FAULTS_MAX} faults");
            faults.push((*last, problem, "correct these first, or pass a configuration file".to_owned()));
        }
        faults.sort_by_key(|(place, ..)| *place);

        let fault = |(place, problem, remedy): (Place, String, String)| Fault {
            file: self.file.to_path_buf(),
            line: place.line,
            column: place.column,
            problem,
            remedy,
        };
        Err(Faults(faults.into_iter().map(fault).collect()))
    }
}
