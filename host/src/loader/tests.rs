//! Tests that need no built plugin: ELF files made by hand, file modes, names, and programs that
//! are not probes.

mod elf;
mod files;
mod image;
mod links;
mod probe;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{ContentHash, LoadError, LoadErrorReason, plugin_name};

/// A directory with mode 0755 for one test, removed when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("jackfield-load-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        set_mode(&path, 0o755);
        Self(path)
    }

    /// Writes a file with mode 0644.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        set_mode(&path, 0o644);
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn names_a_plugin_after_its_file() {
    let longest = "x".repeat(64);
    for (file, name) in [
        ("device.so", Some("device")),
        ("libdevice.so", Some("device")),
        ("liblib.so", Some("lib")),
        ("a-b_9.so", Some("a-b_9")),
        (&format!("lib{longest}.so"), Some(longest.as_str())),
        (&format!("{longest}x.so"), None),
        ("lib.so", None),
        (".so", None),
        ("device", None),
        ("device.so.1", None),
        ("device.SO", None),
        ("a b.so", None),
        ("a.b.so", None),
        ("../a.so", None),
        ("dir/a.so", None),
        ("é.so", None),
        ("a\n.so", None),
    ] {
        assert_eq!(plugin_name(OsStr::new(file)).as_deref(), name, "{file:?}");
    }
    assert_eq!(plugin_name(&OsString::from_vec(b"\xff.so".to_vec())), None);
}

#[test]
fn gives_every_reason_a_unique_code() {
    for (index, reason) in LoadErrorReason::ALL.iter().enumerate() {
        let code = reason.code();
        assert!(
            !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{code}"
        );
        assert_eq!(LoadErrorReason::from_code(code), Some(*reason));
        assert!(!LoadErrorReason::ALL[..index].iter().any(|earlier| earlier.code() == code), "{code} twice");
    }
    assert_eq!(LoadErrorReason::from_code("no-such-reason"), None);
}

#[test]
fn shows_a_hash_in_hex() {
    // The first test vector of BLAKE3: the empty input.
    let hash = ContentHash::of(b"");
    assert_eq!(hash.to_string(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    assert_eq!(hash.short(), "af1349b9f5f9");
    assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{hash}\""));
}

#[test]
fn finds_shortages_in_what_the_loader_and_plugins_report() {
    let shortages = [
        (LoadErrorReason::NoResources, "cannot copy the file into memory"),
        (LoadErrorReason::LoadFailed, "libssl.so.3: cannot open shared object file: Too many open files"),
        (LoadErrorReason::StartFailed, "start returned an error: Cannot allocate memory (os error 12)"),
        (LoadErrorReason::StartPanicked, "failed to spawn thread: Resource temporarily unavailable"),
    ];
    for (reason, detail) in shortages {
        assert!(LoadError::new(reason, detail).is_shortage(), "{reason}: {detail}");
    }

    let others = [
        (LoadErrorReason::StartFailed, "start returned an error: no database"),
        (LoadErrorReason::NotElf, "Cannot allocate memory"),
    ];
    for (reason, detail) in others {
        assert!(!LoadError::new(reason, detail).is_shortage(), "{reason}: {detail}");
    }
}
