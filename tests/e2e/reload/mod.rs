//! Reloads: plugin files, signatures, settings and the configuration change while the host serves.
//!
//! - Files: `new_files`, `removed_files`, `refused_files`, `linked_files`, `signatures`.
//! - Generations: `generations`, `retirement`, `probation`, `decisions`, `unloading`,
//!   `state_transfer`, `failed_state_transfer`, `stop_first`, `incompatible`.
//! - The configuration file: `configuration`.
//! - Failures of single steps: `failpoints`. Everything at once: `under_load`, with the clients of
//!   `traffic`.

mod configuration;
mod decisions;
mod failed_state_transfer;
mod failpoints;
mod generations;
pub(crate) mod image;
mod incompatible;
mod linked_files;
mod new_files;
pub(crate) mod operator;
mod probation;
mod refused_files;
mod removed_files;
mod retirement;
mod signatures;
mod state_transfer;
mod stop_first;
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

/// The plugin file that these tests replace.
pub(crate) const FILE: &str = "libsubject.so";
/// The name of its plugin.
pub(crate) const NAME: &str = "subject";

/// Puts a file into place by renaming, so that it is never seen half-written.
#[track_caller]
pub(crate) fn put(directory: &Path, bytes: &[u8], file: &str) {
    let temporary = directory.join(format!(".{file}.new"));
    write(&temporary, bytes);
    fs::rename(&temporary, directory.join(file)).expect("the plugin is renamed into place");
}

/// Writes a file and sets its mode to 0644, independently of the umask.
#[track_caller]
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the plugin is written");
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("the plugin's mode");
}

/// Starts a host that serves `numbered` with number 1.
#[track_caller]
fn with_first(config: &str) -> HostProcess {
    with_image(&Image::numbered(1), config)
}

/// Starts a host that serves this image as the plugin [`NAME`].
#[track_caller]
pub(crate) fn with_image(image: &Image, config: &str) -> HostProcess {
    let builder = HostProcess::builder().config(config);
    put(&builder.directory().join("plugins"), &image.0, FILE);
    builder.start()
}

/// Returns the path of a plugin file.
fn in_plugins(host: &HostProcess, file: &str) -> PathBuf {
    host.path("plugins").join(file)
}

/// Returns the number of the generation that answers.
#[track_caller]
fn number(peer: &mut Peer) -> u64 {
    peer.result("numbered.inline", &Value::Null).as_u64().expect("a number")
}

/// Waits until the generation with this number answers.
#[track_caller]
fn wait_until_number(host: &HostProcess, wanted: u64) {
    let mut peer = host.peer();
    wait_for(format!("number {wanted} answers"), || {
        let reply = peer.call("numbered.inline", &Value::Null);
        (reply.code().is_none() && reply.result() == wanted).then_some(())
    });
}
