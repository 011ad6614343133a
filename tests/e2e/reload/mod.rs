//! Plugins replaced while they serve: what is put into the directory is loaded whole, once, or not at all; what served
//! before answers its last requests, and then its code really goes.
//!
//! `dropping` and `removing` are about files, `versions` and `refusing` about what becomes of them, `signed` about who vouches for them, `draining` about
//! the last requests, `state` and `probation` about what goes over and what comes back, `unloading` about what is left
//! behind, `configuring` about config.toml, `proof` about all of it at once under load.

mod configuration;
mod failed_state_transfer;
mod failpoints;
mod generations;
mod new_files;
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
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::build::artifacts;
use crate::support::wait::{until_some, within};
use crate::support::{CEILING, HostProcess, Peer};

/// The file that the fixtures of this theme are put into.
const FILE: &str = "libsubject.so";
/// The plugin that they are then.
const NAME: &str = "subject";

/// An operator on the admin socket.
struct Operator(Peer);

impl Operator {
    #[track_caller]
    fn of(host: &HostProcess) -> Self {
        Self(Peer::connect(&host.path("run/jackfield-admin.sock")))
    }

    #[track_caller]
    fn list(&mut self) -> Vec<Value> {
        let list = self.0.result("admin.plugin.list", &Value::Null);
        list.as_array().expect("a list").clone()
    }

    /// What is said of one plugin, or null.
    #[track_caller]
    fn row(&mut self, name: &str) -> Value {
        self.list().into_iter().find(|row| row["name"] == name).unwrap_or_default()
    }

    #[track_caller]
    fn generation(&mut self) -> u64 {
        let row = self.row(NAME);
        row["generation"].as_u64().unwrap_or_else(|| panic!("nothing serves: {row}"))
    }

    /// The one verdict on this plugin.
    #[track_caller]
    fn reload(&mut self, name: &str) -> Value {
        let verdicts = self.0.result("admin.plugin.reload", &json!({ "name": name }));
        let [verdict] = &verdicts.as_array().expect("verdicts")[..] else { panic!("one of {verdicts}") };
        verdict.clone()
    }

    /// Reloads, which must do.
    #[track_caller]
    fn published(&mut self) -> Value {
        let verdict = self.reload(NAME);
        assert_eq!(verdict["outcome"], "published", "{verdict}");
        verdict
    }

    /// Reloads, which must not do, for this reason.
    #[track_caller]
    fn refused(&mut self, reason: &str) -> Value {
        let verdict = self.reload(NAME);
        assert_eq!(
            (&verdict["outcome"], &verdict["refused"]["reason"]),
            (&json!("refused"), &json!(reason)),
            "{verdict}"
        );
        verdict
    }

    #[track_caller]
    fn roll_back(&mut self, name: &str) -> Value {
        self.0.result("admin.plugin.rollback", &json!({ "name": name }))
    }

    /// Waits until what is said of the plugin is as wanted.
    #[track_caller]
    fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = within(CEILING, || {
            last = self.row(NAME);
            wanted(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("not within {CEILING:?}: {what}; last: {last}"))
    }

    /// Waits until every generation but the one that serves has gone for good.
    #[track_caller]
    fn until_unloaded(&mut self) -> Value {
        let row = self.until("nothing drains", |row| row["draining"] == json!([]));
        assert_eq!(row["retained"], json!([]), "{row}");
        row
    }
}

/// The bytes of a plugin's file, in which marks can be written over.
#[derive(Clone)]
struct Image(Vec<u8>);

impl Image {
    #[track_caller]
    fn of(fixture: &str) -> Self {
        Self(fs::read(artifacts().library(fixture)).expect("the fixture's file"))
    }

    /// `numbered`, with this number.
    #[track_caller]
    fn numbered(number: u32) -> Self {
        // Searched once: a test makes hundreds of them.
        static FOUND: OnceLock<(Image, Vec<usize>)> = OnceLock::new();
        let (image, places) = FOUND.get_or_init(|| {
            let image = Self::of("numbered");
            let places = image.places("VERSION-", 6);
            (image, places)
        });
        image.clone().written(places, format!("{number:06}").as_bytes())
    }

    /// With these digits behind the mark, wherever it is.
    #[track_caller]
    fn with(self, mark: &str, digits: &str) -> Self {
        let places = self.places(mark, digits.len());
        self.written(&places, digits.as_bytes())
    }

    /// Where `digits` digits stand behind the mark.
    #[track_caller]
    fn places(&self, mark: &str, digits: usize) -> Vec<usize> {
        let (mark, bytes) = (mark.as_bytes(), &self.0);
        let starts = (0..bytes.len().saturating_sub(mark.len() + digits)).filter(|at| bytes[*at] == mark[0]);
        let behind = starts.filter(|at| bytes[*at..].starts_with(mark)).map(|at| at + mark.len());
        let places: Vec<_> =
            behind.filter(|at| bytes[*at..][..digits].iter().all(u8::is_ascii_digit)).collect();
        assert!(!places.is_empty(), "no mark {}", mark.escape_ascii());
        places
    }

    fn written(mut self, places: &[usize], bytes: &[u8]) -> Self {
        for at in places {
            self.0[*at..][..bytes.len()].copy_from_slice(bytes);
        }
        self
    }

    /// Writes it beside and renames it into place, as `mv` and careful programs do.
    #[track_caller]
    fn put(&self, host: &HostProcess, file: &str) {
        put(&host.path("plugins"), &self.0, file);
    }
}

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
fn until_number(host: &HostProcess, wanted: u64) {
    let mut peer = host.peer();
    until_some(format!("number {wanted} answers"), || {
        let reply = peer.call("numbered.inline", &Value::Null);
        (reply.code().is_none() && reply.result() == wanted).then_some(())
    });
}
