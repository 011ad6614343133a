//! Failures of the system, in words that name the cause and what to do about it.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::io::Errno;

/// The texts of the system if it has run out of something, and the remedies. Other programs and
/// libraries pass on these texts without the number of the error.
const SHORTAGES: [(&str, &str); 4] = [
    ("Too many open files in system", "; raise fs.file-max"),
    ("Too many open files", "; raise LimitNOFILE="),
    ("Resource temporarily unavailable", "; raise TasksMax="),
    ("Cannot allocate memory", "; raise MemoryMax="),
];

/// Displays an error of the system, with the remedy if there is a usual one.
#[derive(Debug)]
pub struct WithRemedy<'e>(pub &'e io::Error);

impl fmt::Display for WithRemedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        write!(f, "{error}")?;
        match Errno::from_io_error(error) {
            Some(Errno::MFILE) => f.write_str("; raise LimitNOFILE="),
            Some(Errno::NFILE) => f.write_str("; raise fs.file-max"),
            Some(Errno::AGAIN) => f.write_str("; raise TasksMax="),
            Some(Errno::NOMEM) => f.write_str("; raise MemoryMax="),
            Some(Errno::NOSPC | Errno::DQUOT) => f.write_str("; free space on its file system"),
            Some(Errno::ROFS) => f.write_str("; use a path on a file system that can be written"),
            Some(Errno::ADDRINUSE) => f.write_str("; stop the process that uses it, or set another address"),
            Some(Errno::ACCESS | Errno::PERM) => {
                let user = rustix::process::geteuid().as_raw();
                write!(f, "; grant it to the user of the host ({user})")
            }
            _ => Ok(()),
        }
    }
}

/// Displays why files cannot be watched, with the remedy if there is a usual one (inotify(7)).
#[derive(Debug)]
pub struct WatchFailure<'e>(pub &'e notify::Error);

impl fmt::Display for WatchFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        match &error.kind {
            notify::ErrorKind::MaxFilesWatch => {
                f.write_str("no inotify watch is left for its user; raise fs.inotify.max_user_watches")
            }
            // The error is the same if the process has no descriptor left or the user no instance.
            notify::ErrorKind::Io(error)
                if Errno::from_io_error(error) == Some(Errno::MFILE) && !has_free_instance() =>
            {
                write!(
                    f,
                    "no inotify instance is left for its user ({error}); raise fs.inotify.max_user_instances"
                )
            }
            notify::ErrorKind::Io(error) => WithRemedy(error).fmt(f),
            _ => error.fmt(f),
        }
    }
}

/// Returns whether the user has an inotify instance left, or it cannot be found out because the
/// process has no descriptor left.
fn has_free_instance() -> bool {
    inotify::init(inotify::CreateFlags::CLOEXEC).is_ok() || eventfd(0, EventfdFlags::CLOEXEC).is_err()
}

/// Returns whether the system has run out of something that may be available again later.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM))
}

/// Returns the remedy if a text passes on that the system has run out of something.
pub(crate) fn remedy_of_text(text: &str) -> Option<&'static str> {
    SHORTAGES.iter().find(|(shortage, _)| text.contains(shortage)).map(|(_, remedy)| *remedy)
}

/// Creates a directory and those above it that are missing.
///
/// # Errors
///
/// If a file has the name of one of the directories, the error names that file.
pub(crate) fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    let created = DirBuilder::new().recursive(true).mode(mode).create(path);
    created.map_err(|error| {
        let is_file = |path: &&Path| fs::metadata(path).is_ok_and(|metadata| !metadata.is_dir());
        match path.ancestors().find(is_file) {
            Some(file) => io::Error::other(format!(
                "the file {} is in the way; remove it, or set another path",
                file.display()
            )),
            None => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_the_remedy_of_a_shortage() {
        let shown = |errno: Errno| WithRemedy(&errno.into()).to_string();
        assert_eq!(shown(Errno::MFILE), "Too many open files (os error 24); raise LimitNOFILE=");
        assert!(shown(Errno::ACCESS).contains("grant it to the user of the host ("));
        assert_eq!(shown(Errno::NOENT), "No such file or directory (os error 2)");
    }

    #[test]
    fn distinguishes_inotify_watches_from_descriptors() {
        let shown = |error| WatchFailure(&error).to_string();
        // The user of the test has instances left.
        let descriptors = shown(notify::Error::io(Errno::MFILE.into()));
        assert!(descriptors.ends_with("; raise LimitNOFILE="), "{descriptors}");
        let watches = shown(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
        assert!(watches.contains("raise fs.inotify.max_user_watches"), "{watches}");
        let missing = shown(notify::Error::io(Errno::NOENT.into()));
        assert_eq!(missing, "No such file or directory (os error 2)");
    }

    #[test]
    fn finds_a_shortage_in_the_text_of_another_program() {
        let texts = [
            ("x.so: failed to map segment: Cannot allocate memory", Some("; raise MemoryMax=")),
            (
                "libssl.so.3: cannot open shared object file: Too many open files",
                Some("; raise LimitNOFILE="),
            ),
            ("Too many open files in system (os error 23)", Some("; raise fs.file-max")),
            ("undefined symbol: x", None),
        ];
        for (text, remedy) in texts {
            assert_eq!(remedy_of_text(text), remedy, "{text}");
        }
    }

    #[test]
    fn names_a_file_where_a_directory_should_be() {
        let file = std::env::temp_dir().join(format!("jackfield-in-the-way-{}", std::process::id()));
        fs::write(&file, "").unwrap();

        let error = create_directory(&file.join("a/b"), 0o700).unwrap_err();

        fs::remove_file(&file).unwrap();
        let expected = format!("the file {} is in the way; remove it, or set another path", file.display());
        assert_eq!(error.to_string(), expected);
    }
}
