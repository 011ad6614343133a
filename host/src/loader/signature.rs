//! Verifies that a plugin file is signed with a trusted key.
//!
//! The signature is the file `NAME.so.minisig` in the same directory. It is verified over the bytes
//! that would be loaded.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use minisign_verify::{Error, Signature};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use serde::Serialize;

use super::load_error::{LoadError, LoadErrorReason};
use super::plugin_file::{plugin_name, read_content};
use super::safe_path;
use crate::config::{KeyId, TrustedKey};

/// Suffix of a signature file, after the name of the plugin file.
pub(crate) const SUFFIX: &str = ".minisig";

/// The largest signature file, in bytes. It has four lines, two of them comments, for which
/// minisign allows 8 KiB and 1 KiB.
const SIZE_MAX: u64 = 16 << 10;

/// Characters of a name in a signature that are repeated to the operator.
const SHOWN_MAX: usize = 64;

/// A verified signature of a plugin file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VerifiedSignature {
    /// The key, as minisign shows it.
    pub key: KeyId,

    /// The time of the signature in seconds since 1970, by the clock of the signer: `timestamp:` in
    /// the trusted comment.
    pub at: u64,
}

/// A verified signature, and the content of its file, so that a copy of the plugin file can be kept
/// with it.
pub(super) struct SignatureFile {
    pub(super) verified: VerifiedSignature,
    pub(super) text: Arc<str>,
}

/// The trusted comment of a signature as `minisign -S` writes it: `timestamp:N`, `file:NAME` and
/// further fields, separated by tabs.
struct TrustedComment<'c> {
    timestamp: Option<u64>,
    file: Option<&'c str>,
}

impl<'c> TrustedComment<'c> {
    fn parse(text: &'c str) -> Self {
        let field = |name| text.split('\t').find_map(|field| field.strip_prefix(name));
        let timestamp = field("timestamp:").and_then(|at: &str| at.parse().ok());
        Self { timestamp, file: field("file:") }
    }

    /// Returns the file that the comment names, if it belongs to another plugin than `plugin`.
    fn other_file(&self, plugin: &str) -> Option<&'c str> {
        self.file.filter(|file| plugin_name(OsStr::new(file)).as_deref() != Some(plugin))
    }
}

/// Returns the name of the signature file of a plugin file.
pub(super) fn signature_name(file_name: &OsStr) -> OsString {
    let mut name = file_name.to_owned();
    name.push(SUFFIX);
    name
}

/// Verifies the signature of `content`, the content of the file `file_name` of `plugin`. `open`
/// opens the signature file with the given name. The content is read from its beginning to its end.
///
/// # Errors
///
/// There is no signature, or none of a trusted key that fits this content and this plugin.
pub(super) fn verify(
    open: impl FnOnce(&OsStr) -> Result<OwnedFd, LoadError>,
    file_name: &OsStr,
    plugin: &str,
    content: &mut File,
    keys: &[TrustedKey],
) -> Result<SignatureFile, LoadError> {
    let text = read(open, file_name)?;
    let unreadable = |why: &dyn Display| {
        let name = shown(&signature_name(file_name));
        let detail = format!("{name} is not a complete minisign signature: {why}");
        LoadError::new(LoadErrorReason::SignatureUnreadable, detail)
    };

    let signature = Signature::decode(&text).map_err(|error| unreadable(&sign_again(&error)))?;
    let id = key_id(&text).ok_or_else(|| unreadable(&sign_again(&"it has no key id")))?;
    let Some(trusted) = keys.iter().find(|key| key.id == id) else {
        let detail = format!(
            "the file is signed with key {id}, which is not in plugins.trusted_keys; sign it with a trusted key"
        );
        return Err(LoadError::new(LoadErrorReason::UnknownKey, detail));
    };

    let mut verifier = trusted.key.verify_stream(&signature).map_err(|error| match error {
        Error::UnsupportedLegacyMode => unreadable(&"it has the legacy format; sign the file without -l"),
        error => unreadable(&sign_again(&error)),
    })?;
    content.rewind().map_err(|error| {
        LoadError::of_system(LoadErrorReason::Unreadable, "cannot read the copy of the file", &error)
    })?;
    read_content(content, |part| {
        verifier.update(part);
        Ok(())
    })?;
    let is_good = verifier.finalize().is_ok();

    let timestamp = check_comment(signature.trusted_comment(), file_name, plugin, id, is_good)?;
    Ok(SignatureFile { verified: VerifiedSignature { key: id, at: timestamp }, text: text.into() })
}

/// Checks the trusted comment of a signature, and returns its timestamp. `is_good` is whether the
/// signature fits the content.
fn check_comment(
    comment: &str,
    file_name: &OsStr,
    plugin: &str,
    id: KeyId,
    is_good: bool,
) -> Result<u64, LoadError> {
    let comment = TrustedComment::parse(comment);

    // The comment of a bad signature proves nothing, but it may explain the mistake.
    if let Some(file) = comment.other_file(plugin) {
        let detail =
            format!("the signature belongs to {}; sign {} itself", shown(OsStr::new(file)), shown(file_name));
        return Err(LoadError::new(LoadErrorReason::SignatureOfAnother, detail));
    }
    if !is_good {
        let detail =
            format!("the content differs from what key {id} signed; sign the file again after each change");
        return Err(LoadError::new(LoadErrorReason::SignatureMismatch, detail));
    }
    comment.timestamp.ok_or_else(|| {
        let detail =
            "the signature has no timestamp, which the host needs to refuse older files; sign the file without -t";
        LoadError::new(LoadErrorReason::SignatureUndated, detail)
    })
}

/// Returns the id of the key that the signature of `file` claims to be made with. The claim is
/// not verified.
pub(super) fn claimed_key(file: &Path) -> Option<KeyId> {
    key_id(&read(open, file.as_os_str()).ok()?)
}

/// Opens a signature file by its path, like the plugin file also through symbolic links.
pub(super) fn open(path: &OsStr) -> Result<OwnedFd, LoadError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| safe_path::refused_opening(Path::new(path), error))
}

fn key_id(signature: &str) -> Option<KeyId> {
    signature.lines().nth(1).and_then(KeyId::of_line)
}

/// Reads the signature file of `file_name`.
///
/// Its owner and mode do not matter, because a signature proves itself.
fn read(
    open: impl FnOnce(&OsStr) -> Result<OwnedFd, LoadError>,
    file_name: &OsStr,
) -> Result<String, LoadError> {
    let name = signature_name(file_name);
    let unreadable = |why: &dyn Display| {
        LoadError::new(
            LoadErrorReason::SignatureUnreadable,
            format_args!("cannot read {}: {why}", shown(&name)),
        )
    };

    let opened = open(&name).map_err(|error| match error.reason {
        LoadErrorReason::NotFound => {
            let detail = format!(
                "{} is missing; sign the file with \"minisign -Sm {}\"",
                shown(&name),
                shown(file_name)
            );
            LoadError::new(LoadErrorReason::Unsigned, detail)
        }
        _ => unreadable(&error.detail_about(Path::new(&name))),
    })?;
    let stat = fstat(&opened).map_err(|error| unreadable(&error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(unreadable(&"it is not a regular file"));
    }

    let mut text = Vec::new();
    let read = File::from(opened).take(SIZE_MAX + 1).read_to_end(&mut text);
    read.map_err(|error| unreadable(&error))?;
    if text.len() as u64 > SIZE_MAX {
        return Err(unreadable(&format_args!("it is longer than {} KiB", SIZE_MAX >> 10)));
    }
    String::from_utf8(text).map_err(|error| unreadable(&error))
}

/// Returns why a signature file is invalid, with the remedy.
fn sign_again(why: &dyn Display) -> String {
    format!("{why}; sign the file again")
}

/// Returns the last component of a name, shortened and printable. The name is untrusted input.
fn shown(name: &OsStr) -> String {
    let name = Path::new(name).file_name().unwrap_or(name).to_string_lossy();
    let end = name.char_indices().nth(SHOWN_MAX).map_or(name.len(), |(at, _)| at);
    name[..end].escape_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_trusted_comment_as_minisign_writes_it() {
        let comment = TrustedComment::parse("timestamp:1633700835\tfile:libdevice.so\thashed");
        assert_eq!((comment.timestamp, comment.file), (Some(1_633_700_835), Some("libdevice.so")));
        assert_eq!(comment.other_file("device"), None);
        assert_eq!(comment.other_file("hello"), Some("libdevice.so"));
    }

    #[test]
    fn finds_nothing_in_another_comment() {
        for text in ["", "by hand", "timestamp:\tx", "timestamp:-1", "file"] {
            let comment = TrustedComment::parse(text);
            assert_eq!((comment.timestamp, comment.other_file("device")), (None, None), "{text}");
        }
    }

    #[test]
    fn shortens_a_name_and_makes_it_printable() {
        assert_eq!(shown(OsStr::new("../a\u{1b}[2J\n.so")), "a\\u{1b}[2J\\n.so");
        assert_eq!(shown(OsStr::new(&"é".repeat(500))).matches("e9").count(), SHOWN_MAX);
    }
}
