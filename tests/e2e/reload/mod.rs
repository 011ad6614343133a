//! Plugins replaced while they serve: what is put into the directory is loaded whole, once, or not
//! at all; what served before answers its last requests, and then its code really goes.
//!
//! `dropping` and `removing` are about files, `versions` and `refusing` about what becomes of them,
//! `signed` about who vouches for them, `draining` about the last requests, `state` and `probation`
//! about what goes over and what comes back, `unloading` about what is left behind, `configuring`
//! about config.toml, `proof` about all of it at once under load.

mod configuration;
mod failed_state_transfer;
mod failpoints;
mod generations;
mod image;
mod new_files;
mod operator;
mod probation;
mod refused_files;
mod removed_files;
mod retirement;
mod signatures;
mod state_transfer;
mod traffic;
mod under_load;
mod unloading;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::image::Image;
use self::operator::Operator;
use crate::support::wait::wait_for;
use crate::support::{HostProcess, Peer};

/// The file that the fixtures of this theme are put into.
const FILE: &str = "libsubject.so";
/// The plugin that they are then.
const NAME: &str = "subject";

/// Writes a file beside and renames it into place.
#[track_caller]
fn put(directory: &Path, bytes: &[u8], file: &str) {
    let beside = directory.join(format!(".{file}.new"));
    write(&beside, bytes);
    fs::rename(&beside, directory.join(file)).expect("the plugin is renamed into place");
}

/// Writes a file, mode 0644 whatever the umask is.
#[track_caller]
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the plugin is written");
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("the plugin's mode");
}

/// A host that serves `numbered` with number 1.
#[track_caller]
fn with_first(config: &str) -> HostProcess {
    with_image(&Image::numbered(1), config)
}

/// A host that serves this file as the subject.
#[track_caller]
fn with_image(image: &Image, config: &str) -> HostProcess {
    let builder = HostProcess::builder().config(config);
    put(&builder.directory().join("plugins"), &image.0, FILE);
    builder.start()
}

fn in_plugins(host: &HostProcess, file: &str) -> PathBuf {
    host.path("plugins").join(file)
}

/// The number that answers.
#[track_caller]
fn number(peer: &mut Peer) -> u64 {
    peer.result("numbered.inline", &Value::Null).as_u64().expect("a number")
}

/// Waits until this number answers.
#[track_caller]
fn wait_until_number(host: &HostProcess, wanted: u64) {
    let mut peer = host.peer();
    wait_for(format!("number {wanted} answers"), || {
        let reply = peer.call("numbered.inline", &Value::Null);
        (reply.code().is_none() && reply.result() == wanted).then_some(())
    });
}
