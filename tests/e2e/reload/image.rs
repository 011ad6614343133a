//! Plugin files in many versions, made from one fixture by overwriting marks.

use std::fs;
use std::sync::OnceLock;

use super::put;
use crate::support::HostProcess;
use crate::support::build::artifacts;

/// The content of a plugin file, in which marks can be overwritten.
#[derive(Clone)]
pub(crate) struct Image(pub(crate) Vec<u8>);

impl Image {
    #[track_caller]
    pub(crate) fn of(fixture: &str) -> Self {
        Self(fs::read(artifacts().library(fixture)).expect("the fixture's file"))
    }

    /// Returns `numbered` with this number.
    #[track_caller]
    pub(crate) fn numbered(number: u32) -> Self {
        // The marks are located only once, because a test makes hundreds of images.
        static FOUND: OnceLock<(Image, Vec<usize>)> = OnceLock::new();
        let (image, positions) = FOUND.get_or_init(|| {
            let image = Self::of("numbered");
            let positions = image.positions("VERSION-", 6);
            (image, positions)
        });
        image.clone().overwritten(positions, format!("{number:06}").as_bytes())
    }

    /// Returns the image with these digits behind each occurrence of the mark.
    #[track_caller]
    pub(crate) fn with(self, mark: &str, digits: &str) -> Self {
        let positions = self.positions(mark, digits.len());
        self.overwritten(&positions, digits.as_bytes())
    }

    /// Returns the image with another name of the same length for a method, in the manifest and in
    /// the code.
    #[track_caller]
    pub(crate) fn with_name_of_method(self, name: &str, other: &str) -> Self {
        assert_eq!(name.len(), other.len());
        let bytes = &self.0;
        let positions: Vec<_> =
            (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name.as_bytes())).collect();
        assert!(!positions.is_empty(), "no method {name}");
        self.overwritten(&positions, other.as_bytes())
    }

    /// Returns the positions of the digits behind the mark.
    #[track_caller]
    pub(crate) fn positions(&self, mark: &str, digits: usize) -> Vec<usize> {
        let (mark, bytes) = (mark.as_bytes(), &self.0);
        let starts = (0..bytes.len().saturating_sub(mark.len() + digits)).filter(|at| bytes[*at] == mark[0]);
        let after_marks = starts.filter(|at| bytes[*at..].starts_with(mark)).map(|at| at + mark.len());
        let positions: Vec<_> =
            after_marks.filter(|at| bytes[*at..][..digits].iter().all(u8::is_ascii_digit)).collect();
        assert!(!positions.is_empty(), "no mark {}", mark.escape_ascii());
        positions
    }

    pub(crate) fn overwritten(mut self, positions: &[usize], bytes: &[u8]) -> Self {
        for at in positions {
            self.0[*at..][..bytes.len()].copy_from_slice(bytes);
        }
        self
    }

    /// Puts the image into the plugin directory by renaming, as `mv` does.
    #[track_caller]
    pub(crate) fn put(&self, host: &HostProcess, file: &str) {
        put(&host.path("plugins"), &self.0, file);
    }
}
