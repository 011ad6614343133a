//! `plugins.trusted_keys`: the public keys of those whose plugins are loaded, read when the configuration is read.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use minisign_verify::PublicKey;
use toml::de::DeValue;

use super::section::Section;
use super::wording::quoted;

/// The longest file of a public key, in bytes: two lines, of which one is a comment.
const LONGEST_KEY: u64 = 4096;

/// Tells one key from another: a number that minisign chose at random and writes in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u64);

impl KeyId {
    /// The id in a line of base64 as public keys and signatures have it: two bytes of algorithm, then the id, the
    /// lowest byte first. `None` for another line.
    pub(crate) fn of_line(line: &str) -> Option<KeyId> {
        let bytes = BASE64_STANDARD.decode(line.trim()).ok()?;
        let id = bytes.get(2..10)?.try_into().ok()?;
        Some(KeyId(u64::from_le_bytes(id)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A public key whose signatures are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The file that it was read from.
    pub file: PathBuf,
    /// Its number, as minisign shows it.
    pub id: KeyId,
    pub(crate) key: PublicKey,
}

/// Every key, or those that could be read where there is a fault.
pub(super) fn read(section: &Section<'_>, directory: &Path) -> Vec<TrustedKey> {
    let instead = "write paths of minisign's public keys in quotes: [\"/etc/jackfield/plugins.pub\"]";
    let files = section.list("trusted_keys", instead, path);
    if files.as_ref().is_some_and(Vec::is_empty) && section.offset_of("trusted_keys") != section.offset() {
        let what = "plugins.trusted_keys names no key, so that no plugin could be loaded".to_owned();
        section.fault(section.offset_of("trusted_keys"), what, format!("{instead}, or leave the key out"));
    }
    let mut keys: Vec<TrustedKey> = Vec::new();
    for (offset, file) in files.into_iter().flatten() {
        let path = directory.join(file);
        match read_one(&path) {
            Ok(key) if keys.iter().any(|other| other.id == key.id) => {
                let what = format!("the key {} is named twice", key.id);
                section.fault(offset, what, "keep one of them".to_owned());
            }
            Ok(key) => keys.push(key),
            Err((why, instead)) => {
                let what = format!("the key {} {why}", quoted(&path.to_string_lossy()));
                section.fault(offset, what, instead.to_owned());
            }
        }
    }
    keys
}

fn path<'d>(value: &'d DeValue<'d>) -> Option<&'d str> {
    match value {
        DeValue::String(path) if !path.is_empty() && !path.contains('\0') => Some(path),
        _ => None,
    }
}

/// One key, or why it cannot be one and what to do.
fn read_one(path: &Path) -> Result<TrustedKey, (String, &'static str)> {
    const NAME: &str = "name the file that `minisign -G` wrote as the public key";
    let unreadable = |error: std::io::Error| (format!("cannot be read: {error}"), NAME);
    // The kind first: opening a FIFO would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(("is no regular file".to_owned(), NAME));
    }
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    let us = rustix::process::geteuid().as_raw();
    if found.mode() & 0o022 != 0 || ![0, us].contains(&found.uid()) {
        let why =
            format!("could be changed by others (mode {:04o}, user {})", found.mode() & 0o7777, found.uid());
        return Err((why, "give it to root or to the host's user, and chmod go-w"));
    }
    let mut text = String::new();
    file.take(LONGEST_KEY).read_to_string(&mut text).map_err(unreadable)?;
    let id = text.lines().nth(1).and_then(KeyId::of_line);
    match (PublicKey::decode(&text), id) {
        (Ok(key), Some(id)) => Ok(TrustedKey { file: path.to_owned(), id, key }),
        _ => Err(("is no public key of minisign's".to_owned(), NAME)),
    }
}
