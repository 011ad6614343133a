//! Plugin directories whose entries are symbolic links, as in a ConfigMap or a projected volume:
//! `NAME.so` leads to `..data/NAME.so`, and `..data` to a directory that is replaced as a whole.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{FILE, Image, Operator, number, wait_until_number, write};
use crate::support::program::jackfield;
use crate::support::signer::{Signer, signature_of};
use crate::support::{HostProcess, wait_until};

/// Points the link `name` of a directory at another target, by renaming a new link over it.
fn link(directory: &Path, target: &str, name: &str) {
    symlink(target, directory.join(".new")).expect("the link is created");
    fs::rename(directory.join(".new"), directory.join(name)).expect("the link is renamed");
}

/// Makes the next version of a volume: the image with this number, signed if there is a signer.
fn publish(plugins: &Path, version: u32, signer: Option<&Signer>) {
    let directory = format!("..{version}");
    fs::create_dir(plugins.join(&directory)).expect("the directory is created");
    let file = plugins.join(&directory).join(FILE);
    write(&file, &Image::numbered(version).0);
    if let Some(signer) = signer {
        signer.sign_file(&file, version.into());
    }

    link(plugins, &directory, "..data");
    fs::remove_dir_all(plugins.join(format!("..{}", version - 1))).expect("the previous version is removed");
}

/// Returns the directory of the volume, with version 0, which has no plugins.
fn volume(directory: &Path) -> PathBuf {
    let plugins = directory.join("plugins");
    fs::create_dir(plugins.join("..0")).expect("the directory is created");
    link(&plugins, "..0", "..data");
    plugins
}

#[test]
fn serves_and_replaces_plugins_behind_links() {
    let builder = HostProcess::builder();
    let plugins = volume(builder.directory());
    publish(&plugins, 1, None);
    link(&plugins, &format!("..data/{FILE}"), FILE);
    let host = builder.start();
    wait_until_number(&host, 1);

    for version in 2..6 {
        publish(&plugins, version, None);
        wait_until_number(&host, version.into());
    }
    let check = jackfield(host.directory(), &["check"]);
    assert_eq!(check.code, 0, "{check:?}");

    // The volume loses the name: first its file, then the link.
    fs::create_dir(plugins.join("..6")).expect("the directory is created");
    link(&plugins, "..6", "..data");
    fs::remove_file(plugins.join(FILE)).expect("the link is removed");
    host.wait_for_log("libsubject.so removed, generation ");

    assert!(!host.log_contains("refused ("), "{}", host.log());
}

#[test]
fn verifies_signatures_behind_links() {
    let signer = Signer::new();
    let builder = HostProcess::builder().config("[plugins]\ntrusted_keys = [\"plugins.pub\"]\n");
    super::put(builder.directory(), signer.public().as_bytes(), "plugins.pub");
    let plugins = volume(builder.directory());
    publish(&plugins, 1, Some(&signer));
    link(&plugins, &format!("..data/{FILE}"), FILE);
    link(&plugins, &format!("..data/{FILE}.minisig"), &format!("{FILE}.minisig"));

    let host = builder.start();
    wait_until_number(&host, 1);
    for version in 2..4 {
        publish(&plugins, version, Some(&signer));
        wait_until_number(&host, version.into());
    }
    assert!(!host.log_contains("refused ("), "{}", host.log());
    let file = plugins.join(FILE);
    let inspected = jackfield(host.directory(), &["plugin".as_ref(), "inspect".as_ref(), file.as_os_str()]);
    assert_eq!(inspected.code, 0, "{inspected:?}");

    // A signature is not read from outside of the directory.
    let elsewhere = host.path("elsewhere.minisig");
    fs::rename(plugins.join("..3").join(signature_of(Path::new(FILE))), &elsewhere).expect("it is moved");
    fs::remove_file(signature_of(&file)).expect("the link is removed");
    symlink(&elsewhere, signature_of(&file)).expect("the link is created");
    Operator::connect(&host)
        .wait_until("the signature is refused", |row| row["refused"]["reason"] == "signature-unreadable");
    assert_eq!(number(&mut host.peer()), 3);
}

#[test]
fn refuses_a_link_that_leaves_the_directory() {
    let host = super::with_first("");
    let mut operator = Operator::connect(&host);
    let plugins = host.path("plugins");
    write(&host.path("elsewhere.so"), &Image::numbered(2).0);

    link(&plugins, "../elsewhere.so", FILE);
    operator.wait_until("the link is refused", |row| row["refused"]["reason"] == "symlink");
    assert_eq!(number(&mut host.peer()), 1);
    let line = host.wait_for_log("the symbolic link leads out of the plugin directory");
    assert!(line.contains(" still serves"), "{line}");

    fs::create_dir(plugins.join("below")).expect("the directory is created");
    write(&plugins.join("below/elsewhere.so"), &Image::numbered(2).0);
    link(&plugins, "below/elsewhere.so", FILE);
    wait_until_number(&host, 2);

    // The directory of the target reports no events.
    super::put(&plugins.join("below"), &Image::numbered(3).0, "elsewhere.so");
    wait_until_number(&host, 3);
    wait_until("the refusal is over", || operator.list()[0]["refused"].is_null());
}
