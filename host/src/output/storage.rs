//! Where captured output is kept: in the record directory while its file system has room, and
//! otherwise in memory.
//!
//! ```text
//!                ┌──(little room, or none can be reserved)──┐
//!                │                                          ▼
//!         record directory                                memory
//!                ▲                                          │
//!                └──────────(room again)────────────────────┘
//! ```
//!
//! `println!` panics if it cannot write. A full disk would therefore make every method fail that
//! prints. So room is reserved behind the end of the file, and when the file system has little
//! left, the output goes to a memory file, to which writing does not fail. Only a plugin that
//! writes more than [`RESERVE`] bytes within milliseconds, just when another process uses up the
//! disk, can still find no room.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, MemfdFlags, OFlags, fallocate, fcntl_setfl, memfd_create, statvfs};
use rustix::io::Errno;

use crate::crash_record::CrashRecord;
use crate::log::printable;

/// Bytes that are reserved behind the end of the file. A plugin can write as many before the thread
/// `output` runs next, also if the file system has become full meanwhile.
const RESERVE: u64 = 512 * 1024;

/// The file system has little room if it has less than this, or less than [`MIN_SHARE`] of its
/// size.
const MIN_ROOM: u64 = 64 << 20;
const MIN_SHARE: u64 = 8;

/// The place of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoragePlace {
    RecordDirectory,
    Memory,
}

/// The room of a file system, in bytes.
#[derive(Debug, Clone, Copy)]
struct Room {
    free: u64,
    size: u64,
}

impl Room {
    /// Returns where output is to be kept that is in `place` now. It returns to the directory only
    /// if there is twice the minimum, so that it does not alternate.
    fn next_place(self, place: StoragePlace) -> StoragePlace {
        let factor = if place == StoragePlace::Memory { 2 } else { 1 };
        let enough = factor * MIN_ROOM.min(self.size / MIN_SHARE);
        if self.free < enough { StoragePlace::Memory } else { StoragePlace::RecordDirectory }
    }
}

/// Chooses the file of the output.
pub(super) struct OutputStorage {
    record: Arc<CrashRecord>,
    place: StoragePlace,
    /// Position in the file up to which its file system has reserved room.
    reserved_to: u64,
}

impl OutputStorage {
    /// Returns the storage and its first file.
    ///
    /// # Errors
    ///
    /// The system provides no memory file.
    pub(super) fn open(record: &Arc<CrashRecord>) -> io::Result<(Self, File)> {
        let mut storage =
            Self { record: Arc::clone(record), place: StoragePlace::RecordDirectory, reserved_to: 0 };
        let in_directory = storage.create_in_directory(StoragePlace::RecordDirectory);
        let file = match in_directory {
            Some(file) => file,
            None => {
                let file = storage.move_to_memory()?;
                storage.report_place();
                file
            }
        };
        Ok((storage, file))
    }

    /// Returns whether the file is in the record directory.
    pub(super) fn is_in_directory(&self) -> bool {
        self.place == StoragePlace::RecordDirectory
    }

    /// Returns whether the place can change.
    pub(super) fn can_move(&self) -> bool {
        self.record.is_persistent()
    }

    /// Ensures that there is room behind the end of `current`. Returns the file that the output has
    /// to go to from now on, if it is another one.
    pub(super) fn next_file(&mut self, current: &File) -> Option<File> {
        match self.place {
            StoragePlace::Memory => {
                let file = self.create_in_directory(StoragePlace::Memory)?;
                self.place = StoragePlace::RecordDirectory;
                Some(file)
            }
            StoragePlace::RecordDirectory => {
                let room = self.room();
                let has_room = room.is_some_and(|room| room.next_place(self.place) == self.place);
                if has_room && self.reserve(current).is_ok() {
                    return None;
                }
                self.move_to_memory().ok()
            }
        }
    }

    /// Creates a file in the record directory, if that has room for output that is in `place` now.
    fn create_in_directory(&mut self, place: StoragePlace) -> Option<File> {
        let room = self.room()?;
        if room.next_place(place) == StoragePlace::Memory {
            return None;
        }

        let file = self.record.create_output().ok()??;
        self.reserved_to = 0;
        self.reserve(&file).ok()?;
        Some(file)
    }

    fn move_to_memory(&mut self) -> io::Result<File> {
        let file = memfd_create("jackfield:output", MemfdFlags::CLOEXEC)?;
        fcntl_setfl(&file, OFlags::APPEND)?;
        self.place = StoragePlace::Memory;
        Ok(File::from(file))
    }

    /// Logs where the output goes from now on, and removes the file to which it does not go any
    /// more.
    pub(super) fn report_place(&self) {
        let Some(directory) = self.record.directory() else { return };
        if self.is_in_directory() {
            tracing::info!(
                target: "jackfield::output",
                "the output of plugins is kept in the record directory again"
            );
        } else {
            // Its rest is read through the open descriptor. The next host must not take it for the
            // last output.
            self.record.remove_output();
            let free_kib = self.room().map_or(0, |room| room.free / 1024);
            let directory = directory.display().to_string();
            let shown = printable(&directory);
            tracing::warn!(
                target: "jackfield::output",
                %directory,
                free_kib,
                "cannot keep the output of plugins in {shown}: its file system has {free_kib} KiB left; the output \
                 stays in memory, and after a crash the next host cannot log the last of it"
            );
        }
    }

    /// Returns the room of the record directory; `None` if there is no directory, or the system
    /// cannot tell.
    fn room(&self) -> Option<Room> {
        let found = statvfs(self.record.directory()?).ok()?;
        Some(Room { free: found.f_bavail * found.f_frsize, size: found.f_blocks * found.f_frsize })
    }

    /// Reserves [`RESERVE`] bytes behind the end of `file`, once half of them are used.
    ///
    /// # Errors
    ///
    /// The file system has no room for them.
    fn reserve(&mut self, file: &File) -> io::Result<()> {
        let end = file.metadata()?.len();
        if self.reserved_to >= end + RESERVE / 2 {
            return Ok(());
        }
        match fallocate(file.as_fd(), FallocateFlags::KEEP_SIZE, end, RESERVE) {
            // Without this operation, only the free room can be watched.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        self.reserved_to = end + RESERVE;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::StoragePlace::{Memory, RecordDirectory};
    use super::*;
    use crate::config::CrashConfig;

    const GIB: u64 = 1 << 30;

    #[test]
    fn moves_to_memory_before_the_file_system_is_full_and_returns_later() {
        let next = |free, size, place| Room { free, size }.next_place(place);
        assert_eq!(next(MIN_ROOM, 100 * GIB, RecordDirectory), RecordDirectory);
        assert_eq!(next(MIN_ROOM - 1, 100 * GIB, RecordDirectory), Memory);
        assert_eq!(next(2 * MIN_ROOM - 1, 100 * GIB, Memory), Memory);
        assert_eq!(next(2 * MIN_ROOM, 100 * GIB, Memory), RecordDirectory);
        // A small file system that is mostly empty has room.
        assert_eq!(next(1000, 1600, Memory), RecordDirectory);
        assert_eq!(next(200, 1600, RecordDirectory), RecordDirectory);
        assert_eq!(next(199, 1600, RecordDirectory), Memory);
        assert_eq!(next(0, 0, RecordDirectory), RecordDirectory, "the system reports no sizes");
    }

    #[test]
    fn keeps_output_in_memory_without_a_record_directory() {
        let record = CrashRecord::open(&CrashConfig::default()).unwrap();
        let (mut storage, file) = OutputStorage::open(&record).unwrap();
        assert!(!storage.is_in_directory() && !storage.can_move());
        assert!(storage.next_file(&file).is_none());
    }

    #[test]
    fn reserves_room_behind_the_end_of_the_file() {
        use std::io::Write as _;
        use std::os::unix::fs::MetadataExt as _;

        let path = std::env::temp_dir().join(format!("jackfield-storage-{}", std::process::id()));
        let record = Some(path.clone());
        let record = CrashRecord::open(&CrashConfig { record, ..CrashConfig::default() }).unwrap();
        let (mut storage, mut file) = OutputStorage::open(&record).unwrap();
        let reserved = |file: &File| file.metadata().unwrap().blocks() * 512;

        assert_eq!((file.metadata().unwrap().len(), reserved(&file)), (0, RESERVE));
        file.write_all(&vec![b'x'; usize::try_from(RESERVE).unwrap() * 3 / 4]).unwrap();
        assert!(storage.next_file(&file).is_none(), "it stays where it is");
        assert!(reserved(&file) >= RESERVE * 7 / 4);

        record.close();
        std::fs::remove_dir_all(&path).unwrap();
    }
}
