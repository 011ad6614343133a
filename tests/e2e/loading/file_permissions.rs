//! Files and directories that others could change, or that are not regular: refused by owner, mode
//! and kind without opening them.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::process::geteuid;

use super::file_content::set_mode;
use super::{assert_checked, assert_inspected, assert_only_neighbour, assert_refused, with_neighbour};
use crate::support::HostProcess;
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::program::jackfield;
use crate::support::user::OTHER_USER;

/// Installs the same valid plugin each time. Only its surroundings differ.
fn install_valid(path: &Path) {
    install(artifacts().library("hello"), path);
}

#[test]
fn refuses_each_file_that_others_can_change() {
    let builder = with_neighbour();
    let scratch = builder.directory().to_owned();
    let at = |name: &str| scratch.join(format!("plugins/lib{name}.so"));
    let plain = |name: &str| {
        install_valid(&at(name));
        at(name)
    };

    set_mode(&plain("group_writes"), 0o664);
    set_mode(&plain("others_write"), 0o646);
    set_mode(&plain("setuid"), 0o4755);
    set_mode(&plain("setgid"), 0o2755);
    fs::hard_link(plain("linked"), scratch.join("another name")).expect("a second name");
    install_valid(&scratch.join("elsewhere.so"));
    symlink(scratch.join("elsewhere.so"), at("symlink")).expect("a symbolic link");
    symlink(scratch.join("nowhere.so"), at("dangling")).expect("a symbolic link");
    fs::create_dir(at("directory")).expect("a directory");
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a FIFO");
    drop(UnixListener::bind(at("socket")).expect("a socket"));
    fs::File::create(at("huge")).and_then(|file| file.set_len((256 << 20) + 1)).expect("a sparse file");
    set_mode(&at("huge"), 0o644);

    let mut refused = vec![
        ("group_writes", "writable-by-others"),
        ("others_write", "writable-by-others"),
        ("setuid", "set-id"),
        ("setgid", "set-id"),
        ("linked", "hard-linked"),
        ("symlink", "symlink"),
        ("dangling", "symlink"),
        ("directory", "not-a-regular-file"),
        ("fifo", "not-a-regular-file"),
        ("socket", "not-a-regular-file"),
        ("huge", "too-large"),
    ];

    if geteuid().is_root() {
        chown(plain("owned"), Some(OTHER_USER), None).expect("another owner");
        // The device of /dev/null.
        mknodat(CWD, at("device_node"), FileType::CharacterDevice, Mode::from_raw_mode(0o644), makedev(1, 3))
            .expect("a device node");
        refused.extend([("owned", "wrong-owner"), ("device_node", "not-a-regular-file")]);
    }

    let host = builder.start();
    for (name, reason) in &refused {
        assert_refused(&host, name, reason);
    }

    let mut files: Vec<_> = refused.iter().map(|(name, reason)| (format!("lib{name}.so"), *reason)).collect();
    // Two names that no plugin can have.
    for name in ["lib.so", "libwith space.so"] {
        install_valid(&scratch.join("plugins").join(name));
        files.push((name.to_owned(), "file-name"));
    }
    // A hidden file, as editors and copying programs write, is ignored.
    fs::write(scratch.join("plugins/.half.so"), "half").expect("a hidden file");
    assert_checked(&scratch, &files);
    // `inspect` does not check owner and mode, but a special file cannot be read.
    for (name, reason) in
        refused.iter().filter(|(_, reason)| matches!(*reason, "not-a-regular-file" | "too-large"))
    {
        assert_inspected(&at(name), reason);
    }

    assert_only_neighbour(&host);
}

/// Starts a host with this plugin directory.
fn serving_from(builder: crate::support::HostBuilder, directory: &Path) -> HostProcess {
    builder.config(&format!("[plugins]\ndirectory = {directory:?}")).start()
}

/// Asserts that the host serves without plugins and that the log has the reason.
#[track_caller]
fn assert_no_plugins(host: &HostProcess, reason: &str) {
    let line = host.wait_for_log(&format!("reason=\"{reason}\""));
    assert!(line.contains("ERROR") && line.contains("no plugins are loaded from it"), "{line}");
    assert_eq!(super::plugins(host), ["system"]);
    host.peer().assert_usable();

    let check = jackfield(host.directory(), &["check"]);
    assert_eq!(check.code, 78, "{check:?}");
    assert!(check.stderr.contains(&format!(": {reason}: ")), "{check:?}");
}

#[test]
fn refuses_a_directory_that_others_can_write() {
    // The path as it is written, and the directory that everyone can write.
    let cases =
        [("open/plugins", "open/plugins"), ("open/plugins", "open"), ("open/../safe/plugins", "open")];
    for (written, open) in cases {
        let builder = HostProcess::builder();
        let scratch = builder.directory().to_owned();
        for directory in ["open", "open/plugins", "safe", "safe/plugins"] {
            fs::create_dir(scratch.join(directory)).expect("a directory");
            set_mode(&scratch.join(directory), 0o755);
        }

        install_valid(&scratch.join("open/plugins/libhello.so"));
        install_valid(&scratch.join("safe/plugins/libhello.so"));
        set_mode(&scratch.join(open), 0o777);

        assert_no_plugins(&serving_from(builder, Path::new(written)), "directory-writable");
    }
}

#[test]
fn refuses_a_directory_of_another_user() {
    let builder = HostProcess::builder();
    fs::write(builder.directory().join("file"), "").expect("a file");
    assert_no_plugins(&serving_from(builder, Path::new("file")), "not-a-directory");

    if geteuid().is_root() {
        let builder = HostProcess::builder();
        let directory = builder.directory().join("plugins");
        install_valid(&directory.join("libhello.so"));
        chown(&directory, Some(OTHER_USER), None).expect("another owner");
        let host = builder.start();
        assert_no_plugins(&host, "wrong-owner");
    }
}

#[test]
fn warns_about_a_missing_directory() {
    let builder = HostProcess::builder();
    let host = serving_from(builder, Path::new("nowhere"));
    assert!(host.wait_for_log("nowhere does not exist; no plugins are loaded").contains("WARN"));
    host.peer().assert_usable();

    let check = jackfield(host.directory(), &["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.stderr.contains("./nowhere: note: there is no such directory"), "{check:?}");
}

#[test]
fn accepts_a_directory_behind_a_symlink() {
    let builder = HostProcess::builder();
    let real: PathBuf = builder.directory().join("plugins");
    install_valid(&real.join("libhello.so"));
    symlink(&real, builder.directory().join("link")).expect("a symbolic link");

    let host = serving_from(builder, Path::new("link"));
    assert_eq!(super::plugins(&host), ["hello", "system"]);
}
