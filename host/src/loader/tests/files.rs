//! Which directories are opened and which files are staged, by owner, mode and kind.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::super::{ContentHash, FILE_MAX, LoadErrorReason, PluginDirectory, inspect};
use super::image::Image;
use super::{Scratch, set_mode};

/// A user that is neither root nor the one that runs the tests.
const OTHER_USER: u32 = 54_321;

/// Stages a file, and checks that `stamp` and `stage` refuse it for the same reason.
fn stage(scratch: &Scratch, name: &str) -> Result<(), LoadErrorReason> {
    let directory = PluginDirectory::open(&scratch.0).unwrap();
    let stamped = directory.stamp(OsStr::new(name)).map(|_| ()).map_err(|refused| refused.reason);
    let staged = directory.stage(OsStr::new(name), &[]).map(|_| ()).map_err(|refused| refused.reason);
    if let Err(reason) = stamped {
        assert_eq!(staged, Err(reason), "both make the same checks");
    }
    staged
}

fn open(path: &Path) -> Result<(), LoadErrorReason> {
    PluginDirectory::open(path).map(|_| ()).map_err(|refused| refused.reason)
}

fn is_root(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("skipped, because it needs root: {test}");
    }
    root
}

#[test]
fn stages_a_valid_file_as_a_sealed_copy() {
    let scratch = Scratch::new();
    let bytes = Image::default().bytes();
    let path = scratch.file("libp.so", &bytes);
    let directory = PluginDirectory::open(&scratch.0).unwrap();
    let staged = directory.stage(OsStr::new("libp.so"), &[]).unwrap();
    assert_eq!(staged.inspection, inspect(&path, &[]).unwrap());
    assert_eq!(staged.inspection.hash, ContentHash::of(&bytes));

    // Changes of the file do not affect the copy.
    fs::write(&path, b"something else").unwrap();
    fs::remove_file(&path).unwrap();
    let copy = format!("/proc/self/fd/{}", staged.as_fd().as_raw_fd());
    assert_eq!(fs::read(&copy).unwrap(), bytes);
    let name = fs::read_link(&copy).unwrap();
    let expected = format!("/memfd:jackfield:p:{} (deleted)", staged.inspection.hash.short());
    assert_eq!(name, Path::new(&expected));

    // Nobody can change the copy, not even root with the same descriptor.
    let mut own = File::from(staged.as_fd().try_clone_to_owned().unwrap());
    let written = own.write_all(b"x").map_err(|error| Errno::from_io_error(&error));
    assert_eq!(written, Err(Some(Errno::PERM)));
    let cut = own.set_len(1).map_err(|error| Errno::from_io_error(&error));
    assert_eq!(cut, Err(Some(Errno::PERM)));
    let reopened = OpenOptions::new().write(true).open(&copy).and_then(|mut file| file.write_all(b"x"));
    assert_eq!(reopened.map_err(|error| Errno::from_io_error(&error)), Err(Some(Errno::PERM)));
    assert_eq!(fs::read(&copy).unwrap(), bytes);
}

#[test]
fn refuses_a_file_that_others_can_change() {
    let scratch = Scratch::new();
    let bytes = Image::default().bytes();
    let path = scratch.file("p.so", &bytes);
    assert_eq!(stage(&scratch, "p.so"), Ok(()), "the file without a fault");
    for (mode, reason) in [
        (0o664, LoadErrorReason::WritableByOthers),
        (0o646, LoadErrorReason::WritableByOthers),
        (0o4755, LoadErrorReason::SetId),
        (0o2755, LoadErrorReason::SetId),
    ] {
        set_mode(&path, mode);
        assert_eq!(stage(&scratch, "p.so"), Err(reason), "{mode:o}");
    }
    set_mode(&path, 0o600);
    assert_eq!(stage(&scratch, "p.so"), Ok(()));
    fs::hard_link(&path, scratch.0.join("second-name")).unwrap();
    assert_eq!(stage(&scratch, "p.so"), Err(LoadErrorReason::HardLinked));
    fs::remove_file(scratch.0.join("second-name")).unwrap();
    assert_eq!(stage(&scratch, "p.so"), Ok(()));
    if is_root("a file of another user's") {
        chown(&path, Some(OTHER_USER), None).unwrap();
        assert_eq!(stage(&scratch, "p.so"), Err(LoadErrorReason::WrongOwner));
    }
}

#[test]
fn refuses_everything_but_regular_files_without_opening_it() {
    let scratch = Scratch::new();
    let bytes = Image::default().bytes();
    let target = scratch.file("target.so", &bytes);
    symlink(&target, scratch.0.join("link.so")).unwrap();
    symlink(scratch.0.join("nowhere"), scratch.0.join("dangling.so")).unwrap();
    fs::create_dir(scratch.0.join("directory.so")).unwrap();
    let _socket = UnixListener::bind(scratch.0.join("socket.so")).unwrap();
    let mode = Mode::from_raw_mode(0o644);
    // The test would hang if the FIFO were opened without O_NONBLOCK.
    mknodat(CWD, scratch.0.join("fifo.so"), FileType::Fifo, mode, 0).unwrap();

    for (name, reason) in [
        ("link.so", LoadErrorReason::Symlink),
        ("dangling.so", LoadErrorReason::Symlink),
        ("directory.so", LoadErrorReason::NotARegularFile),
        ("socket.so", LoadErrorReason::NotARegularFile),
        ("fifo.so", LoadErrorReason::NotARegularFile),
        ("missing.so", LoadErrorReason::NotFound),
        ("../target.so", LoadErrorReason::FileName),
        ("..", LoadErrorReason::FileName),
        ("/etc/passwd", LoadErrorReason::FileName),
        ("", LoadErrorReason::FileName),
    ] {
        assert_eq!(stage(&scratch, name), Err(reason), "{name}");
    }

    let inspected = inspect(&scratch.0.join("fifo.so"), &[]).map_err(|refused| refused.reason);
    assert_eq!(inspected, Err(LoadErrorReason::NotARegularFile));
    if is_root("a device") {
        let device = scratch.0.join("device.so");
        // /dev/zero, which would be read endlessly.
        mknodat(CWD, &device, FileType::CharacterDevice, mode, makedev(1, 5)).unwrap();
        assert_eq!(stage(&scratch, "device.so"), Err(LoadErrorReason::NotARegularFile));
    }
}

#[test]
fn refuses_empty_and_too_large_files() {
    let scratch = Scratch::new();
    scratch.file("empty.so", b"");
    assert_eq!(stage(&scratch, "empty.so"), Err(LoadErrorReason::Empty));
    let large = scratch.file("large.so", b"");
    // The file is sparse and takes no space.
    File::options().write(true).open(&large).unwrap().set_len(FILE_MAX + 1).unwrap();
    assert_eq!(stage(&scratch, "large.so"), Err(LoadErrorReason::TooLarge));
}

#[test]
fn refuses_an_incomplete_copy_at_every_length() {
    let scratch = Scratch::new();
    let bytes = Image::default().bytes();
    for length in (1..bytes.len()).step_by(13) {
        scratch.file("p.so", &bytes[..length]);
        assert_eq!(stage(&scratch, "p.so"), Err(LoadErrorReason::Truncated), "{length}");
    }
    scratch.file("p.so", &bytes);
    assert_eq!(stage(&scratch, "p.so"), Ok(()));
}

#[test]
fn lists_plugin_files_in_order_without_temporary_ones() {
    let scratch = Scratch::new();
    for name in
        ["b.so", "a.so", ".a.so.Xy12", ".hidden.so", "~old.so", "#a.so", "a.so~", "a.so.tmp", "README"]
    {
        scratch.file(name, b"x");
    }
    // A file with an invalid name is listed, so that the log reports it as refused.
    scratch.file("bad name.so", b"x");
    let directory = PluginDirectory::open(&scratch.0).unwrap();
    assert_eq!(directory.list().unwrap(), ["a.so", "b.so", "bad name.so"]);
    scratch.file("c.so", b"x");
    assert_eq!(directory.list().unwrap().last().map(|name| name.as_bytes()), Some(b"c.so".as_slice()));
}

#[test]
fn refuses_a_directory_that_others_can_write_to() {
    let scratch = Scratch::new();
    let parent = scratch.0.join("parent");
    let plugins = parent.join("plugins");
    fs::create_dir_all(&plugins).unwrap();
    set_mode(&parent, 0o755);

    for (mode, expected) in [
        (0o755, Ok(())),
        (0o700, Ok(())),
        (0o775, Err(LoadErrorReason::DirectoryWritable)),
        (0o757, Err(LoadErrorReason::DirectoryWritable)),
        // Even in a sticky directory, every user could add a plugin.
        (0o1777, Err(LoadErrorReason::DirectoryWritable)),
    ] {
        set_mode(&plugins, mode);
        assert_eq!(open(&plugins), expected, "{mode:o}");
    }

    set_mode(&plugins, 0o755);
    set_mode(&parent, 0o777);
    assert_eq!(open(&plugins), Err(LoadErrorReason::DirectoryWritable));
    set_mode(&parent, 0o1777);
    // Like /tmp, if it belongs to root.
    let sticky = if geteuid().is_root() { Ok(()) } else { Err(LoadErrorReason::DirectoryWritable) };
    assert_eq!(open(&plugins), sticky);
    set_mode(&parent, 0o755);
    assert_eq!(open(&plugins), Ok(()));

    assert_eq!(open(&scratch.0.join("missing")), Err(LoadErrorReason::NotFound));
    assert_eq!(open(&scratch.file("file", b"x")), Err(LoadErrorReason::NotADirectory));
    if is_root("a directory of another user's, and one inside it") {
        chown(&parent, Some(OTHER_USER), None).unwrap();
        assert_eq!(open(&parent), Err(LoadErrorReason::WrongOwner));
        assert_eq!(open(&plugins), Err(LoadErrorReason::WrongOwner));
    }
}

#[test]
fn follows_symbolic_links_that_others_cannot_change() {
    let scratch = Scratch::new();
    let (plugins, shared) = (scratch.0.join("plugins"), scratch.0.join("shared"));
    for directory in [&plugins, &shared] {
        fs::create_dir(directory).unwrap();
        set_mode(directory, 0o755);
    }
    symlink("plugins", scratch.0.join("relative")).unwrap();
    symlink(&plugins, scratch.0.join("absolute")).unwrap();
    symlink("../relative", shared.join("up")).unwrap();
    symlink("loop", scratch.0.join("loop")).unwrap();
    for name in ["relative", "absolute", "shared/up", "shared/../plugins"] {
        assert_eq!(open(&scratch.0.join(name)), Ok(()), "{name}");
    }
    assert_eq!(open(&scratch.0.join("loop")), Err(LoadErrorReason::Symlink));
    // The link is safe, but not the directory that contains it.
    set_mode(&shared, 0o777);
    assert_eq!(open(&shared.join("up")), Err(LoadErrorReason::DirectoryWritable));
    set_mode(&shared, 0o755);
    if is_root("a link of another user's") {
        std::os::unix::fs::lchown(scratch.0.join("relative"), Some(OTHER_USER), None).unwrap();
        assert_eq!(open(&scratch.0.join("relative")), Err(LoadErrorReason::WrongOwner));
    }
}

#[test]
fn notices_that_the_directory_was_replaced() {
    let scratch = Scratch::new();
    let plugins = scratch.0.join("plugins");
    fs::create_dir(&plugins).unwrap();
    set_mode(&plugins, 0o755);
    let directory = PluginDirectory::open(&plugins).unwrap();
    assert!(directory.is_current());
    fs::rename(&plugins, scratch.0.join("old")).unwrap();
    assert!(!directory.is_current());
    fs::create_dir(&plugins).unwrap();
    assert!(!directory.is_current());
    assert_eq!(directory.list().unwrap(), Vec::<std::ffi::OsString>::new(), "the opened directory is listed");
}
