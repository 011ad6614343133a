//! `scripts/install-plugins` and `scripts/need`, which the Makefile calls.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use super::script;
use crate::support::program::finish;
use crate::support::scratch::Scratch;

#[test]
fn installs_plugins_completely_and_writable_for_the_owner_only() {
    let scratch = Scratch::new();
    scratch.directory("built");
    let to = scratch.join("plugins");

    let install = |content: &str| {
        for name in ["one", "two"] {
            scratch.write(&format!("built/lib{name}.so"), format!("{name} {content}"));
        }
        let mut command = script("install-plugins");
        let finished = finish(command.arg(scratch.join("built")).arg(&to).args(["one", "two"]));
        assert_eq!((finished.code, finished.stdout.as_str(), finished.stderr.as_str()), (0, "", ""));
    };

    install("first");

    fs::set_permissions(&to, fs::Permissions::from_mode(0o777)).expect("a directory for all to write");

    let first = fs::metadata(to.join("one.so")).expect("the file exists").ino();
    install("second");

    assert_eq!(fs::read_to_string(to.join("one.so")).expect("the file exists"), "one second");
    assert_ne!(
        fs::metadata(to.join("one.so")).expect("the file exists").ino(),
        first,
        "replaced, not written over"
    );

    let mode = |path: PathBuf| fs::metadata(path).expect("the file exists").permissions().mode() & 0o777;
    assert_eq!((mode(to.join("two.so")), mode(to.clone())), (0o644, 0o755));

    let names = fs::read_dir(&to).expect("the directory").count();
    assert_eq!(names, 2, "no temporary file remains");

    let mut command = script("install-plugins");
    assert_ne!(
        finish(command.arg(scratch.join("built")).arg(&to).arg("three")).code,
        0,
        "a missing file is an error"
    );
}

#[test]
fn reports_missing_programs_in_one_line() {
    let nothing = finish(script("need").args(["cc", "sh"]));
    assert_eq!((nothing.code, nothing.stdout.as_str(), nothing.stderr.as_str()), (0, "", ""));

    // A system without any of the required programs, and without apt-get.
    let bare = Scratch::new();
    for name in ["sh", "id"] {
        let found = ["/usr/bin", "/bin"]
            .iter()
            .map(|place| PathBuf::from(place).join(name))
            .find(|path| path.exists());
        symlink(found.expect("every system has these programs"), bare.join(name)).expect("a link");
    }

    let missing = finish(script("need").args(["cc", "php", "id"]).env("PATH", bare.path()));
    assert_eq!(missing.code, 1, "{missing:?}");
    assert_eq!(missing.stderr, "missing: install with: apt-get install build-essential php-cli\n");

    let mut wanted = script("need");
    wanted.args(["--wanted", "cc", "cargo-none"]).env("PATH", bare.path()).env_remove("CARGO");
    let wanted = finish(&mut wanted);
    let expected = "missing: install with: apt-get install build-essential\n\
                missing: install with: cargo install --locked cargo-none\n";
    assert_eq!(
        (wanted.code, wanted.stderr.as_str()),
        (0, expected),
        "a missing optional program is not an error"
    );
}
