//! Whether a plugin's file is signed by somebody who is trusted: `NAME.so.minisig` beside it, over the very bytes that
//! would be loaded.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd;
use std::path::Path;

use minisign_verify::{Error, Signature};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use serde::Serialize;

use super::inspection::{self, plugin_name};
use super::load_error::{LoadError, LoadErrorReason};
use crate::config::{KeyId, TrustedKey};

/// What is behind the name of a plugin's file in that of its signature.
const SUFFIX: &str = ".minisig";
/// The longest signature file, in bytes: four lines, two of them comments, for which minisign allows 8 KiB and 1 KiB.
const LONGEST: u64 = 16 << 10;
/// How much of a comment is repeated to the operator, in characters.
const LONGEST_SHOWN: usize = 64;

/// Who signed a plugin's file, and when: found to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VerifiedSignature {
    /// The key, as minisign shows it.
    pub key: KeyId,
    /// When, in seconds since 1970, by the clock of whoever signed: `timestamp:` of the trusted comment.
    pub at: u64,
}

/// What a signature's trusted comment says, as `minisign -S` writes it: `timestamp:N`, `file:NAME` and more, with tabs
/// between.
struct TrustedComment<'c> {
    at: Option<u64>,
    file: Option<&'c str>,
}

impl<'c> TrustedComment<'c> {
    fn of(text: &'c str) -> Self {
        let field = |name| text.split('\t').find_map(|field| field.strip_prefix(name));
        Self { at: field("timestamp:").and_then(|at: &str| at.parse().ok()), file: field("file:") }
    }

    /// The file that it names, if that is another plugin's than `plugin`.
    fn other_file(&self, plugin: &str) -> Option<&'c str> {
        self.file.filter(|file| plugin_name(OsStr::new(file)).as_deref() != Some(plugin))
    }
}

/// The name of the signature of a file.
pub(super) fn name_of(file_name: &OsStr) -> OsString {
    let mut name = file_name.to_owned();
    name.push(SUFFIX);
    name
}

/// Who of `keys` signed `content`, the file of `plugin` that is `file_name` in `directory`. The content is read from
/// its beginning to its end.
///
/// # Errors
/// There is no signature, or none that is good, for this content and for this plugin.
pub(super) fn verify(
    directory: impl AsFd,
    file_name: &OsStr,
    plugin: &str,
    content: &mut File,
    keys: &[TrustedKey],
) -> Result<VerifiedSignature, LoadError> {
    let text = read(directory, file_name)?;
    let unreadable = |why: &dyn std::fmt::Display| {
        let detail = format!("{} is no whole signature of minisign's: {why}", shown(&name_of(file_name)));
        LoadError::new(LoadErrorReason::SignatureUnreadable, detail)
    };
    let signature = Signature::decode(&text).map_err(|error| unreadable(&error))?;
    let id = text.lines().nth(1).and_then(KeyId::of_line).ok_or_else(|| unreadable(&"it names no key"))?;
    let Some(trusted) = keys.iter().find(|key| key.id == id) else {
        let detail = format!("it is signed with the key {id}, which is none of plugins.trusted_keys");
        return Err(LoadError::new(LoadErrorReason::UnknownKey, detail));
    };
    let mut verifier = trusted.key.verify_stream(&signature).map_err(|error| match error {
        Error::UnsupportedLegacyMode => unreadable(&"it is of the old kind; sign without -l"),
        error => unreadable(&error),
    })?;
    content.rewind().map_err(|error| LoadError::new(LoadErrorReason::Unreadable, error))?;
    inspection::read_through(content, |part| {
        verifier.update(part);
        Ok(())
    })?;
    let is_good = verifier.finalize().is_ok();
    let comment = TrustedComment::of(signature.trusted_comment());
    // Of a bad signature the comment proves nothing, but it may say how it came there.
    if let Some(file) = comment.other_file(plugin) {
        let detail =
            format!("its signature is that of {}; sign {} itself", shown(OsStr::new(file)), shown(file_name));
        return Err(LoadError::new(LoadErrorReason::SignatureOfAnother, detail));
    }
    if !is_good {
        let detail = format!("its content is not what the key {id} signed; sign it again after each change");
        return Err(LoadError::new(LoadErrorReason::SignatureMismatch, detail));
    }
    let Some(at) = comment.at else {
        let detail =
            "the trusted comment has no timestamp:N, by which newer is told from older; sign without -t";
        return Err(LoadError::new(LoadErrorReason::SignatureUndated, detail));
    };
    Ok(VerifiedSignature { key: id, at })
}

/// The id of the key that the file beside `file_name` says it is made with, which nobody has verified.
pub(super) fn claimed(directory: impl AsFd, file_name: &OsStr) -> Option<KeyId> {
    read(directory, file_name).ok()?.lines().nth(1).and_then(KeyId::of_line)
}

fn read(directory: impl AsFd, file_name: &OsStr) -> Result<String, LoadError> {
    let name = name_of(file_name);
    let refused =
        |reason, why: &dyn std::fmt::Display| LoadError::new(reason, format_args!("{}: {why}", shown(&name)));
    // Who may write it does not matter: it proves itself, or it does not.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = openat(directory, &name, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NOENT => {
            let detail =
                format!("there is no {} beside it; sign it: minisign -Sm {}", shown(&name), shown(file_name));
            LoadError::new(LoadErrorReason::Unsigned, detail)
        }
        error => refused(LoadErrorReason::SignatureUnreadable, &error),
    })?;
    let stat = fstat(&opened).map_err(|error| refused(LoadErrorReason::SignatureUnreadable, &error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refused(LoadErrorReason::SignatureUnreadable, &"it is no regular file"));
    }
    let mut text = Vec::new();
    let read = File::from(opened).take(LONGEST + 1).read_to_end(&mut text);
    read.map_err(|error| refused(LoadErrorReason::SignatureUnreadable, &error))?;
    if text.len() as u64 > LONGEST {
        return Err(refused(
            LoadErrorReason::SignatureUnreadable,
            &format_args!("it is longer than {} KiB", LONGEST >> 10),
        ));
    }
    String::from_utf8(text).map_err(|error| refused(LoadErrorReason::SignatureUnreadable, &error))
}

/// A name as it can be printed: it may be anybody's.
fn shown(name: &OsStr) -> String {
    let name = Path::new(name).file_name().unwrap_or(name).to_string_lossy();
    let end = name.char_indices().nth(LONGEST_SHOWN).map_or(name.len(), |(at, _)| at);
    name[..end].escape_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_read_as_minisign_writes_it() {
        let comment = TrustedComment::of("timestamp:1633700835\tfile:libdevice.so\thashed");
        assert_eq!((comment.at, comment.file), (Some(1_633_700_835), Some("libdevice.so")));
        assert_eq!(comment.other_file("device"), None);
        assert_eq!(comment.other_file("hello"), Some("libdevice.so"));
        for text in ["", "by hand", "timestamp:\tx", "timestamp:-1", "file"] {
            let comment = TrustedComment::of(text);
            assert_eq!((comment.at, comment.other_file("device")), (None, None), "{text}");
        }
    }

    #[test]
    fn what_is_repeated_of_a_name_is_short_and_printable() {
        assert_eq!(shown(OsStr::new("../a\u{1b}[2J\n.so")), "a\\u{1b}[2J\\n.so");
        assert_eq!(shown(OsStr::new(&"é".repeat(500))).matches("e9").count(), LONGEST_SHOWN);
    }
}
