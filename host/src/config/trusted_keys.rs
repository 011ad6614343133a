//! `plugins.trusted_keys`: the public keys that may sign plugins. They are read together with the
//! configuration.

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

/// The longest public key file, in bytes. It has two lines, the first of which is a comment.
const FILE_MAX: u64 = 4096;

/// Identifies a key: a random number that minisign writes in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u64);

impl KeyId {
    /// Returns the id in a base64 line of a public key or a signature: two bytes for the algorithm,
    /// then the id, lowest byte first. Returns `None` for another line.
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
    /// The file that contains it.
    pub file: PathBuf,

    /// Its id, as minisign shows it.
    pub id: KeyId,

    pub(crate) key: PublicKey,
}

/// Reads the keys. A key that cannot be read is a fault, and is left out.
pub(super) fn read(section: &Section<'_>, directory: &Path) -> Vec<TrustedKey> {
    let remedy = "write paths of public keys of minisign in quotes: [\"/etc/jackfield/plugins.pub\"]";
    let files = section.list("trusted_keys", remedy, parse_path);
    let is_set = section.offset_of("trusted_keys") != section.offset();
    if files.as_ref().is_some_and(Vec::is_empty) && is_set {
        let problem = "plugins.trusted_keys is empty, so no plugin could be loaded".to_owned();
        section.fault(
            section.offset_of("trusted_keys"),
            problem,
            format!("{remedy}, or remove plugins.trusted_keys"),
        );
    }

    let mut keys: Vec<TrustedKey> = Vec::new();
    for (offset, file) in files.into_iter().flatten() {
        let path = directory.join(file);
        match read_one(&path) {
            Ok(key) if keys.iter().any(|other| other.id == key.id) => {
                let problem = format!("plugins.trusted_keys contains the key {} twice", key.id);
                section.fault(offset, problem, "keep one of them".to_owned());
            }
            Ok(key) => keys.push(key),
            Err((problem, remedy)) => {
                let problem = format!("the trusted key {} {problem}", quoted(&path.to_string_lossy()));
                section.fault(offset, problem, remedy.to_owned());
            }
        }
    }
    keys
}

fn parse_path<'d>(value: &'d DeValue<'d>) -> Option<&'d str> {
    match value {
        DeValue::String(path) if !path.is_empty() && !path.contains('\0') => Some(path),
        _ => None,
    }
}

/// Reads one key. The error is the problem and its remedy.
fn read_one(path: &Path) -> Result<TrustedKey, (String, &'static str)> {
    const REMEDY: &str = "write the path of a public key that `minisign -G` created";
    let unreadable = |error: std::io::Error| (format!("cannot be read: {error}"), REMEDY);

    // The type is checked first, because opening a FIFO would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(("is not a regular file".to_owned(), REMEDY));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let own_user = rustix::process::geteuid().as_raw();
    if metadata.mode() & 0o022 != 0 || ![0, own_user].contains(&metadata.uid()) {
        let mode = metadata.mode() & 0o7777;
        let problem = format!("can be changed by other users (mode {mode:04o}, owner {})", metadata.uid());
        return Err((problem, "change its owner to root or the user of the host, and run chmod go-w"));
    }

    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text).map_err(unreadable)?;
    let id = text.lines().nth(1).and_then(KeyId::of_line);
    match (PublicKey::decode(&text), id) {
        (Ok(key), Some(id)) => Ok(TrustedKey { file: path.to_owned(), id, key }),
        _ => Err(("is not a public key of minisign".to_owned(), REMEDY)),
    }
}
