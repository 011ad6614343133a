//! Valid and faulty ELF files and manifests. Each fault has its reason, and none causes a panic.

use std::fs;
use std::io::Cursor;

use object::read::ReadCache;

use super::super::elf;
use super::super::{LoadErrorReason, inspect};
use super::Scratch;
use super::image::{Hash, Image, MACHINE, R, W, X, manifest};

/// The reason for which a file with these bytes is refused.
fn refusal(bytes: &[u8]) -> Option<LoadErrorReason> {
    let scratch = Scratch::new();
    inspect(&scratch.file("p.so", bytes), &[]).err().map(|refused| refused.reason)
}

/// Checks only the ELF structure.
fn check_structure(bytes: &[u8]) -> Result<(), LoadErrorReason> {
    let cache = ReadCache::new(Cursor::new(bytes));
    elf::read(&cache, bytes.len() as u64).map(|_| ()).map_err(|refused| refused.reason)
}

#[test]
fn inspects_a_valid_file() {
    let scratch = Scratch::new();
    for hash in [Hash::Gnu, Hash::SysV] {
        let bytes = Image { hash, ..Image::default() }.bytes();
        let inspection = inspect(&scratch.file("libp.so", &bytes), &[]).unwrap();
        assert_eq!((inspection.name.as_str(), inspection.size), ("p", bytes.len() as u64));
        assert_eq!(inspection.needed, ["libc.so.6"]);
        assert_eq!(inspection.build_id.as_deref(), Some("abcdef01"));
        assert_eq!(inspection.manifest.version, "1.2.3");
        assert_eq!(inspection.hash, super::ContentHash::of(&bytes));
        let json = serde_json::to_value(&inspection).unwrap();
        assert_eq!(json["manifest"]["methods"][0]["name"], "a.b");
    }
}

#[test]
fn finds_static_tls_only_in_files_with_thread_local_variables_of_their_own() {
    // DF_STATIC_TLS in DT_FLAGS, alone and with DF_BIND_NOW.
    for (flags, tls, expected) in [
        (vec![(30, 0x10)], Some(100), Some(104)),
        (vec![(30, 0x18)], Some(8), Some(8)),
        (vec![(30, 0x10)], None, None),
        (vec![(30, 0x08)], Some(100), None),
        (vec![], Some(100), None),
        (vec![(30, 0x10)], Some(u64::MAX), Some(u64::MAX)),
    ] {
        let scratch = Scratch::new();
        let bytes = Image { flags, tls, ..Image::default() }.bytes();
        let inspection = inspect(&scratch.file("p.so", &bytes), &[]).unwrap();
        assert_eq!(inspection.static_tls, expected, "{tls:?}");
    }
}

#[test]
fn refuses_each_fault_of_the_file_for_its_reason() {
    let valid = Image::default;
    let other_machine = if MACHINE == 62 { 183 } else { 62 };
    let faults: [(Image, LoadErrorReason); 21] = [
        (Image { class: 1, ..valid() }, LoadErrorReason::ElfClass),
        (Image { machine: other_machine, ..valid() }, LoadErrorReason::ElfMachine),
        (Image { machine: 8, ..valid() }, LoadErrorReason::ElfMachine),
        // ET_REL, ET_EXEC, and a position-independent executable (DF_1_PIE in DT_FLAGS_1).
        (Image { kind: 1, ..valid() }, LoadErrorReason::ElfType),
        (Image { kind: 2, ..valid() }, LoadErrorReason::ElfType),
        (Image { flags: vec![(0x6fff_fffb, 0x0800_0000)], ..valid() }, LoadErrorReason::ElfType),
        (Image { stack: Some(R | W | X), ..valid() }, LoadErrorReason::ExecutableStack),
        (Image { stack: None, ..valid() }, LoadErrorReason::ExecutableStack),
        (Image { load: R | W | X, ..valid() }, LoadErrorReason::WritableCode),
        // DT_TEXTREL, and DF_TEXTREL in DT_FLAGS.
        (Image { flags: vec![(22, 0)], ..valid() }, LoadErrorReason::TextRelocations),
        (Image { flags: vec![(30, 4)], ..valid() }, LoadErrorReason::TextRelocations),
        // DT_RPATH, DT_RUNPATH.
        (Image { strings: vec![(15, "/opt/lib")], ..valid() }, LoadErrorReason::RunPath),
        (Image { strings: vec![(29, "$ORIGIN")], ..valid() }, LoadErrorReason::RunPath),
        (Image { needed: vec!["libc.so.6", "/tmp/evil.so"], ..valid() }, LoadErrorReason::ForeignLibrary),
        (Image { needed: vec!["../evil.so"], ..valid() }, LoadErrorReason::ForeignLibrary),
        (Image { needed: vec!["$LIB"], ..valid() }, LoadErrorReason::ForeignLibrary),
        // DT_AUXILIARY, DT_FILTER.
        (Image { strings: vec![(0x7fff_fffd, "./evil.so")], ..valid() }, LoadErrorReason::ForeignLibrary),
        (Image { strings: vec![(0x7fff_ffff, "./evil.so")], ..valid() }, LoadErrorReason::ForeignLibrary),
        (Image { symbol: "another".into(), ..valid() }, LoadErrorReason::NoRootModule),
        (Image { symbol: "another".into(), hash: Hash::SysV, ..valid() }, LoadErrorReason::NoRootModule),
        (Image { defined: false, ..valid() }, LoadErrorReason::NoRootModule),
    ];

    for (at, (image, reason)) in faults.iter().enumerate() {
        assert_eq!(refusal(&image.bytes()), Some(*reason), "fault {at}");
    }
    assert_eq!(refusal(&valid().bytes()), None, "the file without a fault");
    assert_eq!(refusal(b"#!/bin/sh\nexit 0\n"), Some(LoadErrorReason::NotElf));
    assert_eq!(refusal(b""), Some(LoadErrorReason::Empty));
}

#[test]
fn refuses_each_fault_of_the_manifest_for_its_reason() {
    let ours = jackfield_plugin_api::API_VERSION;
    let one = || manifest(ours, "unwind", &["a.b"]);
    let requiring =
        |host: &str| one().replace("\"package\"", &format!("\"min_host\":\"{host}\",\"package\""));
    for (manifests, reason) in [
        (vec![], LoadErrorReason::NoManifest),
        (vec![one(), one()], LoadErrorReason::ManifestInvalid),
        (vec!["{".to_owned()], LoadErrorReason::ManifestUnreadable),
        (vec![one().replace("\"manifest\":1", "\"manifest\":2")], LoadErrorReason::ManifestUnreadable),
        (vec![manifest("9.9.0", "unwind", &[])], LoadErrorReason::ApiVersion),
        (vec![requiring("0.1.1000")], LoadErrorReason::ApiVersion),
        (vec![manifest(ours, "abort", &[])], LoadErrorReason::PanicAbort),
        (vec![manifest(ours, "unwind", &["a.b", "a.c", "a.b"])], LoadErrorReason::ManifestInvalid),
        (vec![manifest(ours, "unwind", &["a..b"])], LoadErrorReason::ManifestInvalid),
        (vec![manifest(ours, "unwind", &["a.b", "system.ping"])], LoadErrorReason::ManifestInvalid),
        (vec![manifest(ours, "unwind", &["rpc.discover"])], LoadErrorReason::ManifestInvalid),
    ] {
        let image = Image { manifests: manifests.clone(), ..Image::default() };
        assert_eq!(refusal(&image.bytes()), Some(reason), "{manifests:?}");
    }
}

#[test]
fn names_both_versions_if_the_plugin_api_does_not_fit() {
    let ours = jackfield_plugin_api::API_VERSION;
    let later_host =
        manifest(ours, "unwind", &[]).replace("\"package\"", r#""min_host":"0.1.1000","package""#);
    for (manifest, theirs) in [(manifest("0.0.9", "unwind", &[]), "0.0.9"), (later_host, "0.1.1000")] {
        let scratch = Scratch::new();
        let file = scratch.file("p.so", &Image { manifests: vec![manifest], ..Image::default() }.bytes());

        let refused = inspect(&file, &[]).unwrap_err();

        assert_eq!(refused.reason, LoadErrorReason::ApiVersion);
        let detail = refused.to_string();
        assert!(detail.contains(&format!("API {theirs}")) && detail.contains(ours), "{detail}");
    }
}

#[test]
fn refuses_a_file_at_every_truncation() {
    let bytes = Image::default().bytes();
    assert_eq!(check_structure(&bytes), Ok(()));
    for length in 0..bytes.len() {
        assert_eq!(
            check_structure(&bytes[..length]),
            Err(LoadErrorReason::Truncated),
            "{length} of {} bytes",
            bytes.len()
        );
    }
}

#[test]
fn refuses_a_linked_file_at_every_truncation() {
    let bytes = fs::read("/proc/self/exe").unwrap();
    // The complete file is refused as a program, which is checked after the length.
    assert_eq!(check_structure(&bytes), Err(LoadErrorReason::ElfType));
    // Steps of 64 bytes near both ends, where everything but code and symbols is, and longer steps
    // in between.
    let ends = 256 << 10;
    let mut length = 0;
    while length < bytes.len() {
        assert_eq!(
            check_structure(&bytes[..length]),
            Err(LoadErrorReason::Truncated),
            "{length} of {} bytes",
            bytes.len()
        );
        length += if (ends..bytes.len().saturating_sub(ends)).contains(&length) { 64 << 7 } else { 64 };
    }
}

#[test]
fn survives_a_change_of_any_byte() {
    for hash in [Hash::Gnu, Hash::SysV] {
        let valid = Image { hash, ..Image::default() }.bytes();
        for at in 0..valid.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, valid[at] ^ 0x10] {
                let mut bytes = valid.clone();
                bytes[at] = value;
                let _ = check_structure(&bytes);
            }
        }
    }
}
