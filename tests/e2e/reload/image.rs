//! Plugin files in many versions, made from one fixture by overwriting marks.

use std::fs;
use std::sync::OnceLock;

use super::put;
use crate::support::HostProcess;
use crate::support::build::artifacts;

/// The bytes of a plugin's file, in which marks can be written over.
#[derive(Clone)]
pub(super) struct Image(pub(super) Vec<u8>);

impl Image {
    #[track_caller]
    pub(super) fn of(fixture: &str) -> Self {
        Self(fs::read(artifacts().library(fixture)).expect("the fixture's file"))
    }

    /// `numbered`, with this number.
    #[track_caller]
    pub(super) fn numbered(number: u32) -> Self {
        // Searched once: a test makes hundreds of them.
        static FOUND: OnceLock<(Image, Vec<usize>)> = OnceLock::new();
        let (image, places) = FOUND.get_or_init(|| {
            let image = Self::of("numbered");
            let places = image.places("VERSION-", 6);
            (image, places)
        });
        image.clone().written(places, format!("{number:06}").as_bytes())
    }

    /// With these digits behind the mark, wherever it is.
    #[track_caller]
    pub(super) fn with(self, mark: &str, digits: &str) -> Self {
        let places = self.places(mark, digits.len());
        self.written(&places, digits.as_bytes())
    }

    /// Where `digits` digits stand behind the mark.
    #[track_caller]
    pub(super) fn places(&self, mark: &str, digits: usize) -> Vec<usize> {
        let (mark, bytes) = (mark.as_bytes(), &self.0);
        let starts = (0..bytes.len().saturating_sub(mark.len() + digits)).filter(|at| bytes[*at] == mark[0]);
        let behind = starts.filter(|at| bytes[*at..].starts_with(mark)).map(|at| at + mark.len());
        let places: Vec<_> =
            behind.filter(|at| bytes[*at..][..digits].iter().all(u8::is_ascii_digit)).collect();
        assert!(!places.is_empty(), "no mark {}", mark.escape_ascii());
        places
    }

    pub(super) fn written(mut self, places: &[usize], bytes: &[u8]) -> Self {
        for at in places {
            self.0[*at..][..bytes.len()].copy_from_slice(bytes);
        }
        self
    }

    /// Writes it beside and renames it into place, as `mv` and careful programs do.
    #[track_caller]
    pub(super) fn put(&self, host: &HostProcess, file: &str) {
        put(&host.path("plugins"), &self.0, file);
    }
}
