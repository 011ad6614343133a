//! The record directory: opened, locked for one host, and its files.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FallocateFlags, OFlags, RenameFlags, fallocate, renameat_with};
use rustix::io::Errno;

use super::layout::{RECORD_SIZE, RECORD_WORDS};
use super::mapping::MappedWords;
use crate::system_failure::create_directory;

/// A file of the record directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordFile {
    /// The mapped record.
    Running,
    /// The names of plugins and methods.
    Names,
    /// The output of the process.
    Output,
    /// The crash log, which survives a regular end.
    CrashLog,
}

impl RecordFile {
    /// Returns the path of this file in a record directory.
    pub(super) fn path_in(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Self::Running => "running",
            Self::Names => "names.json",
            Self::Output => "output",
            Self::CrashLog => "deaths.json",
        })
    }
}

/// A record directory that belongs to this host for as long as the value lives.
pub(super) struct RecordDirectory {
    path: PathBuf,

    /// The file `running`. It holds the lock.
    running: File,
}

impl RecordDirectory {
    /// Opens the directory and creates it if it is missing.
    ///
    /// # Errors
    ///
    /// The directory cannot be created or others may write to it, or another host has locked it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        create_directory(path, 0o700)?;
        let mode = fs::metadata(path)?.mode() & 0o7777;
        if mode & 0o022 != 0 {
            let problem = format!("its group or others can write to it (mode {mode:04o}); run chmod go-w");
            return Err(io::Error::other(problem));
        }

        // NONBLOCK: opening a FIFO must not wait for another process.
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
        let running = options.open(RecordFile::Running.path_in(path))?;

        if !running.metadata()?.is_file() {
            return Err(io::Error::other("the file \"running\" in it is not a regular file; remove it"));
        }
        running
            .try_lock()
            .map_err(|_| io::Error::other("another host uses it; set a directory for each host"))?;
        Ok(Self { path: path.to_owned(), running })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn path_of(&self, file: RecordFile) -> PathBuf {
        file.path_in(&self.path)
    }

    /// Returns the record of the previous host. A file that is longer than a record is cut to one
    /// byte more, which shows that it is not one.
    pub(super) fn read_record(&mut self) -> io::Result<Vec<u8>> {
        let mut record = Vec::new();
        (&mut self.running).take(RECORD_SIZE as u64 + 1).read_to_end(&mut record)?;
        Ok(record)
    }

    /// Replaces the record and the names of the previous host by empty ones, and maps the record.
    ///
    /// # Errors
    ///
    /// There is no room for them. The record is empty then, as after a regular end.
    pub(super) fn create_record(&mut self) -> io::Result<MappedWords> {
        self.try_create_record().inspect_err(|_| {
            // If this fails, too, the next host reports an unreadable record.
            let _ = self.running.set_len(0);
        })
    }

    fn try_create_record(&self) -> io::Result<MappedWords> {
        let size = RECORD_SIZE as u64;
        self.running.set_len(0)?;
        self.running.set_len(size)?;
        match fallocate(&self.running, FallocateFlags::empty(), 0, size) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(&self.running)?,
            allocated => allocated?,
        }

        replace_file(&self.path_of(RecordFile::Names), b"{}")?;
        MappedWords::of_file(&self.running, RECORD_WORDS)
    }

    /// Creates an empty file for the output of the process.
    pub(super) fn create_output(&self) -> io::Result<File> {
        let path = self.path_of(RecordFile::Output);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::options().read(true).append(true).create_new(true).mode(0o600).open(path)
    }

    /// Removes all files but the crash log, after a regular end.
    pub(super) fn remove_record(&self) {
        for file in [RecordFile::Running, RecordFile::Names, RecordFile::Output] {
            // A record that cannot be removed itself says that the end was regular.
            self.remove(file);
        }
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&self, file: RecordFile) {
        let _ = fs::remove_file(self.path_of(file));
    }
}

/// Writes each byte of the record, where room cannot be reserved in another way. A store into a
/// page for which a full disk has no room would raise SIGBUS during a call.
fn fill(running: &File) -> io::Result<()> {
    // Not at the position of the descriptor, which is behind the record of the previous host.
    running.write_all_at(&vec![0; RECORD_SIZE], 0)
}

/// Replaces a file as a whole, so that no reader finds an incomplete one.
///
/// The two files exchange their names, and the old one is removed. A plain `rename(2)` onto an
/// existing file makes ext4 write the new content to disk first (`auto_da_alloc`, ext4(5)). On a
/// busy disk that takes seconds, during which the plugin owner could carry out no command. The
/// record has to outlive the process, not the machine, so it needs no write to disk.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    if let Err(error) = fs::write(&new, content) {
        // Part of a file would take room that may be wanted elsewhere.
        let _ = fs::remove_file(&new);
        return Err(error);
    }

    match renameat_with(CWD, &new, CWD, path, RenameFlags::EXCHANGE) {
        Ok(()) => fs::remove_file(&new),
        // There is no file to replace yet, or the file system cannot exchange names.
        Err(_) => fs::rename(&new, path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::Ordering;

    use super::*;

    /// Runs `test` with the path of a record directory that does not exist yet.
    fn in_scratch(name: &str, test: impl FnOnce(&Path)) {
        let scratch = std::env::temp_dir().join(format!("jackfield-record-{name}-{}", std::process::id()));
        fs::create_dir(&scratch).unwrap();
        test(&scratch.join("a/record"));
        fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn replaces_a_file_and_leaves_no_other() {
        in_scratch("replace", |path| {
            fs::create_dir_all(path).unwrap();
            let file = path.join("names.json");

            for content in ["first", "second", "a third one"] {
                replace_file(&file, content.as_bytes()).unwrap();

                assert_eq!(fs::read_to_string(&file).unwrap(), content);
                assert_eq!(fs::read_dir(path).unwrap().count(), 1);
            }
        });
    }

    fn open_error(path: &Path) -> String {
        RecordDirectory::open(path).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn creates_a_directory_that_only_its_owner_may_use() {
        in_scratch("create", |path| {
            RecordDirectory::open(path).unwrap();
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        });
    }

    #[test]
    fn names_a_file_that_is_in_the_way() {
        in_scratch("blocked", |path| {
            let file = path.parent().unwrap();
            fs::write(file, "").unwrap();
            assert!(open_error(path).starts_with(&format!("the file {} is in the way; ", file.display())));
        });
    }

    #[test]
    fn belongs_to_one_host_at_a_time() {
        in_scratch("lock", |path| {
            let first = RecordDirectory::open(path).unwrap();
            assert!(open_error(path).starts_with("another host uses it; "));
            drop(first);
            RecordDirectory::open(path).unwrap();
        });
    }

    #[test]
    fn refuses_a_directory_that_others_may_write_to_and_a_record_that_is_no_file() {
        in_scratch("refuse", |path| {
            fs::create_dir_all(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o770)).unwrap();
            assert_eq!(open_error(path), "its group or others can write to it (mode 0770); run chmod go-w");
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::symlink("/dev/zero", path.join("running")).unwrap();
            assert!(RecordDirectory::open(path).is_err(), "a symbolic link");
            fs::remove_file(path.join("running")).unwrap();
            let socket = std::os::unix::net::UnixListener::bind(path.join("running")).unwrap();
            assert!(RecordDirectory::open(path).is_err(), "a socket");
            drop(socket);
        });
    }

    #[test]
    fn reads_the_previous_record_and_replaces_it_by_an_empty_one() {
        in_scratch("replace", |path| {
            let mut directory = RecordDirectory::open(path).unwrap();
            assert_eq!(directory.read_record().unwrap(), b"");
            let words = directory.create_record().unwrap();
            words[1].store(7, Ordering::Relaxed);
            drop((words, directory));

            let mut directory = RecordDirectory::open(path).unwrap();
            let record = directory.read_record().unwrap();
            assert_eq!((record.len(), &record[8..16]), (RECORD_SIZE, &7_u64.to_ne_bytes()[..]));
            let words = directory.create_record().unwrap();
            assert!(
                words.len() == RECORD_WORDS && words.iter().all(|word| word.load(Ordering::Relaxed) == 0)
            );
            assert_eq!(fs::read(directory.path_of(RecordFile::Names)).unwrap(), b"{}");
        });
    }

    #[test]
    fn fills_the_record_from_its_start_if_room_cannot_be_reserved() {
        in_scratch("fill", |path| {
            let mut directory = RecordDirectory::open(path).unwrap();
            directory.create_record().unwrap();
            assert_eq!(directory.read_record().unwrap().len(), RECORD_SIZE);
            directory.running.set_len(0).unwrap();

            fill(&directory.running).unwrap();

            let filled = directory.running.metadata().unwrap();
            assert_eq!(filled.len(), RECORD_SIZE as u64);
            assert!(filled.blocks() * 512 >= filled.len(), "no page is missing");
        });
    }

    #[test]
    fn leaves_an_empty_record_if_there_is_no_room_for_its_names() {
        in_scratch("no-room", |path| {
            let mut directory = RecordDirectory::open(path).unwrap();
            let blocked = directory.path_of(RecordFile::Names).with_extension("new");
            fs::create_dir(&blocked).unwrap();

            assert!(directory.create_record().is_err());
            assert_eq!(directory.running.metadata().unwrap().len(), 0, "the next host finds no crash");
        });
    }

    #[test]
    fn keeps_only_the_crash_log_after_a_regular_end() {
        in_scratch("end", |path| {
            let mut directory = RecordDirectory::open(path).unwrap();
            directory.create_record().unwrap();
            directory.create_output().unwrap();
            directory.create_output().unwrap();
            fs::write(directory.path_of(RecordFile::CrashLog), "{}").unwrap();
            directory.remove_record();
            let left: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, ["deaths.json"]);
        });
    }
}
