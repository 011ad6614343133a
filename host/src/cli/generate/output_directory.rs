//! Generated files in their directory: what is missing, stale or surplus there, and writing it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::generated_file::{GeneratedFile, MARK};

/// A generated file has its mark within this many bytes.
const MARK_WITHIN: usize = 256;

/// The differences between a directory and the files that belong there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// Files that do not exist.
    pub(super) missing: Vec<PathBuf>,
    /// Files with another content.
    pub(super) stale: Vec<PathBuf>,
    /// Generated files that no longer belong there.
    pub(super) surplus: Vec<PathBuf>,
}

/// The reason why a directory cannot be compared or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("{}: cannot read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: cannot write: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "{}: this file was not generated, and a generated one has the same path; move it away, or pass another --out",
        path.display()
    )]
    Foreign { path: PathBuf },
}

impl Differences {
    /// Compares the directory with the files. Only files with the mark count as generated; they are
    /// looked for in the directory and directly below.
    ///
    /// # Errors
    ///
    /// The directory cannot be read, or a file without the mark is in the way.
    pub(super) fn find(directory: &Path, files: &[GeneratedFile]) -> Result<Self, OutputError> {
        let mut differences = Self::default();
        for file in files {
            let path = directory.join(&file.path);
            match fs::read(&path) {
                Ok(content) if content == file.text.as_bytes() => {}
                Ok(content) if has_mark(&content) => differences.stale.push(path),
                Ok(_) => return Err(OutputError::Foreign { path }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => differences.missing.push(path),
                Err(source) => return Err(OutputError::Read { path, source }),
            }
        }

        let expected: BTreeSet<_> = files.iter().map(|file| directory.join(&file.path)).collect();
        let mut found = generated_files(directory, true)?;
        found.retain(|path| !expected.contains(path));
        found.sort();
        differences.surplus = found;
        Ok(differences)
    }

    /// Returns whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.stale.is_empty() && self.surplus.is_empty()
    }

    /// Writes the missing and the stale files, and removes the surplus ones.
    ///
    /// # Errors
    ///
    /// A file cannot be written or removed.
    pub(super) fn resolve(&self, directory: &Path, files: &[GeneratedFile]) -> Result<(), OutputError> {
        for file in files {
            let path = directory.join(&file.path);
            if self.missing.contains(&path) || self.stale.contains(&path) {
                let parent = path.parent().unwrap_or(directory);
                let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, &file.text));
                written.map_err(|source| OutputError::Write { path: path.clone(), source })?;
            }
        }

        for path in &self.surplus {
            fs::remove_file(path).map_err(|source| OutputError::Write { path: path.clone(), source })?;
            // It stays if it has other files.
            if let Some(parent) = path.parent().filter(|parent| *parent != directory) {
                let _ = fs::remove_dir(parent);
            }
        }
        Ok(())
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("missing", &self.missing), ("stale", &self.stale), ("surplus", &self.surplus)];
        for (name, paths) in named {
            for path in paths {
                writeln!(f, "{name}: {}", path.display())?;
            }
        }
        Ok(())
    }
}

/// Returns the files with the mark in a directory, which may be missing.
fn generated_files(directory: &Path, has_depth: bool) -> Result<Vec<PathBuf>, OutputError> {
    let unreadable = |source| OutputError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };

    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let kind = entry.file_type().map_err(unreadable)?;
        let path = entry.path();
        if kind.is_dir() && has_depth {
            found.extend(generated_files(&path, false)?);
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "php") {
            let mut begin = Vec::new();
            let file = File::open(&path);
            let read = file.and_then(|file| file.take(MARK_WITHIN as u64).read_to_end(&mut begin));
            read.map_err(|source| OutputError::Read { path: path.clone(), source })?;
            found.extend(has_mark(&begin).then_some(path));
        }
    }
    Ok(found)
}

fn has_mark(content: &[u8]) -> bool {
    let begin = &content[..content.len().min(MARK_WITHIN)];
    begin.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> GeneratedFile {
        GeneratedFile { path: path.to_owned(), text: format!("<?php\n// {MARK}\n{content}") }
    }

    #[test]
    fn writes_what_differs_and_removes_what_no_longer_belongs_there() {
        let directory = std::env::temp_dir().join(format!("jackfield-generate-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let old = [file("A.php", "1"), file("A/Enum.php", "2"), file("B/Enum.php", "3")];
        let new = [file("A.php", "changed"), file("A/Other.php", "4")];

        let differences = Differences::find(&directory, &old).unwrap();
        assert_eq!(differences.missing.len(), 3);
        differences.resolve(&directory, &old).unwrap();
        assert!(Differences::find(&directory, &old).unwrap().is_empty());
        fs::write(directory.join("A/Own.php"), "<?php // by hand").unwrap();

        let differences = Differences::find(&directory, &new).unwrap();
        let at = |path: &str| directory.join(path).display().to_string();
        assert_eq!(
            differences.to_string(),
            format!(
                "missing: {}\nstale: {}\nsurplus: {}\nsurplus: {}\n",
                at("A/Other.php"),
                at("A.php"),
                at("A/Enum.php"),
                at("B/Enum.php")
            )
        );
        differences.resolve(&directory, &new).unwrap();
        assert!(Differences::find(&directory, &new).unwrap().is_empty());
        assert!(directory.join("A/Own.php").exists() && !directory.join("B").exists());

        let foreign = Differences::find(&directory, &[file("A/Own.php", "5")]);
        assert!(matches!(foreign, Err(OutputError::Foreign { .. })), "{foreign:?}");
        fs::remove_dir_all(&directory).unwrap();
    }
}
