//! A signer of plugins, equivalent to `minisign -S`.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use minisign::KeyPair;

/// A key pair of a test.
pub(crate) struct Signer(KeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().expect("a key"))
    }

    /// Returns the file of the public key, as minisign writes it.
    pub(crate) fn public(&self) -> String {
        self.0.pk.to_box().expect("a public key").to_string()
    }

    /// Returns the key number, which minisign shows at the end of the first line.
    pub(crate) fn id(&self) -> String {
        let public = self.public();
        public
            .lines()
            .next()
            .and_then(|line| line.rsplit(' ').next())
            .expect("the first line is not empty")
            .to_owned()
    }

    /// Returns a signature of `content` with this trusted comment.
    pub(crate) fn sign_as(&self, content: &[u8], comment: &str) -> String {
        let signed = minisign::sign(Some(&self.0.pk), &self.0.sk, Cursor::new(content), Some(comment), None);
        signed.expect("a signature").to_string()
    }

    /// Returns the signature that `minisign -Sm FILE` would make at the Unix time `at`, in
    /// seconds.
    pub(crate) fn sign(&self, content: &[u8], file: &str, at: u64) -> String {
        self.sign_as(content, &format!("timestamp:{at}\tfile:{file}\thashed"))
    }

    /// Writes the signature of a file beside that file.
    #[track_caller]
    pub(crate) fn sign_file(&self, file: &Path, at: u64) {
        let content = fs::read(file).expect("the file is readable");
        let name = file.file_name().and_then(|name| name.to_str()).expect("the file name is UTF-8");
        put_signature(file, &self.sign(&content, name, at));
    }
}

/// Returns the path of the signature of a file.
pub(crate) fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Puts a signature beside a file by renaming, so that it is never seen half-written.
#[track_caller]
pub(crate) fn put_signature(file: &Path, signature: &str) {
    let temporary = signature_of(file).with_extension("new");
    fs::write(&temporary, signature).expect("a signature is written");
    fs::rename(&temporary, signature_of(file)).expect("the signature is renamed");
}
