//! ELF files and manifests, sound and faulty: each fault has its reason, and none a panic.

use std::fs;
use std::io::Cursor;

use object::read::ReadCache;

use super::super::elf;
use super::super::inspection::inspect;
use super::super::load_error::LoadErrorReason;
use super::Scratch;
use super::image::{Hash, Image, MACHINE, R, W, X, manifest};

/// What a file with these bytes would be refused for.
fn refusal(bytes: &[u8]) -> Option<LoadErrorReason> {
    let scratch = Scratch::new();
    inspect(&scratch.file("p.so", bytes), &[]).err().map(|refused| refused.reason)
}

fn structural(bytes: &[u8]) -> Result<(), LoadErrorReason> {
    let cache = ReadCache::new(Cursor::new(bytes));
    elf::read(&cache, bytes.len() as u64).map(|_| ()).map_err(|refused| refused.reason)
}

#[test]
fn a_sound_file_says_what_it_is() {
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
fn each_fault_of_the_file_has_its_reason() {
    let sound = Image::default;
    let other_machine = if MACHINE == 62 { 183 } else { 62 };
    let faults: [(Image, LoadErrorReason); 21] = [
        (Image { class: 1, ..sound() }, LoadErrorReason::ElfClass),
        (Image { machine: other_machine, ..sound() }, LoadErrorReason::ElfMachine),
        (Image { machine: 8, ..sound() }, LoadErrorReason::ElfMachine),
        // ET_REL, ET_EXEC, and a position-independent executable: DF_1_PIE in DT_FLAGS_1.
        (Image { kind: 1, ..sound() }, LoadErrorReason::ElfType),
        (Image { kind: 2, ..sound() }, LoadErrorReason::ElfType),
        (Image { flags: vec![(0x6fff_fffb, 0x0800_0000)], ..sound() }, LoadErrorReason::ElfType),
        (Image { stack: Some(R | W | X), ..sound() }, LoadErrorReason::ExecutableStack),
        (Image { stack: None, ..sound() }, LoadErrorReason::ExecutableStack),
        (Image { load: R | W | X, ..sound() }, LoadErrorReason::WritableCode),
        // DT_TEXTREL, and DF_TEXTREL in DT_FLAGS.
        (Image { flags: vec![(22, 0)], ..sound() }, LoadErrorReason::TextRelocations),
        (Image { flags: vec![(30, 4)], ..sound() }, LoadErrorReason::TextRelocations),
        // DT_RPATH, DT_RUNPATH.
        (Image { strings: vec![(15, "/opt/lib")], ..sound() }, LoadErrorReason::RunPath),
        (Image { strings: vec![(29, "$ORIGIN")], ..sound() }, LoadErrorReason::RunPath),
        (Image { needed: vec!["libc.so.6", "/tmp/evil.so"], ..sound() }, LoadErrorReason::ForeignLibrary),
        (Image { needed: vec!["../evil.so"], ..sound() }, LoadErrorReason::ForeignLibrary),
        (Image { needed: vec!["$LIB"], ..sound() }, LoadErrorReason::ForeignLibrary),
        // DT_AUXILIARY, DT_FILTER.
        (Image { strings: vec![(0x7fff_fffd, "./evil.so")], ..sound() }, LoadErrorReason::ForeignLibrary),
        (Image { strings: vec![(0x7fff_ffff, "./evil.so")], ..sound() }, LoadErrorReason::ForeignLibrary),
        (Image { symbol: "another".into(), ..sound() }, LoadErrorReason::NoRootModule),
        (Image { symbol: "another".into(), hash: Hash::SysV, ..sound() }, LoadErrorReason::NoRootModule),
        (Image { defined: false, ..sound() }, LoadErrorReason::NoRootModule),
    ];
    for (at, (image, reason)) in faults.iter().enumerate() {
        assert_eq!(refusal(&image.bytes()), Some(*reason), "fault {at}");
    }
    assert_eq!(refusal(&sound().bytes()), None, "without a fault it is accepted");
    assert_eq!(refusal(b"#!/bin/sh\nexit 0\n"), Some(LoadErrorReason::NotElf));
    assert_eq!(refusal(b""), Some(LoadErrorReason::Empty));
}

#[test]
fn each_fault_of_the_manifest_has_its_reason() {
    let ours = jackfield_plugin_api::API_VERSION;
    let one = || manifest(ours, "unwind", &["a.b"]);
    for (manifests, reason) in [
        (vec![], LoadErrorReason::NoManifest),
        (vec![one(), one()], LoadErrorReason::ManifestInvalid),
        (vec!["{".to_owned()], LoadErrorReason::ManifestUnreadable),
        (vec![one().replace("\"manifest\":1", "\"manifest\":2")], LoadErrorReason::ManifestUnreadable),
        (vec![manifest("9.9.0", "unwind", &[])], LoadErrorReason::ApiVersion),
        (vec![manifest(ours, "abort", &[])], LoadErrorReason::PanicAbort),
        (vec![manifest(ours, "unwind", &["a.b", "a.c", "a.b"])], LoadErrorReason::ManifestInvalid),
        (vec![manifest(ours, "unwind", &["a..b"])], LoadErrorReason::ManifestInvalid),
        (vec![manifest(ours, "unwind", &["a.b", "system.ping"])], LoadErrorReason::ManifestInvalid),
    ] {
        let image = Image { manifests: manifests.clone(), ..Image::default() };
        assert_eq!(refusal(&image.bytes()), Some(reason), "{manifests:?}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = Image::default().bytes();
    assert_eq!(structural(&bytes), Ok(()));
    for length in 0..bytes.len() {
        assert_eq!(
            structural(&bytes[..length]),
            Err(LoadErrorReason::Truncated),
            "{length} of {} bytes",
            bytes.len()
        );
    }
}

#[test]
fn every_truncation_of_a_linked_file_is_refused() {
    let bytes = fs::read("/proc/self/exe").unwrap();
    // Whole it is refused for being a program; that is looked at later than its length.
    assert_eq!(structural(&bytes), Err(LoadErrorReason::ElfType));
    // In steps of 64 bytes near both ends, where everything but code and symbols lies; in longer ones between.
    let ends = 256 << 10;
    let mut length = 0;
    while length < bytes.len() {
        assert_eq!(
            structural(&bytes[..length]),
            Err(LoadErrorReason::Truncated),
            "{length} of {} bytes",
            bytes.len()
        );
        length += if (ends..bytes.len().saturating_sub(ends)).contains(&length) { 64 << 7 } else { 64 };
    }
}

#[test]
fn no_byte_makes_the_checks_fail_otherwise_than_by_a_refusal() {
    for hash in [Hash::Gnu, Hash::SysV] {
        let sound = Image { hash, ..Image::default() }.bytes();
        for at in 0..sound.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, sound[at] ^ 0x10] {
                let mut bytes = sound.clone();
                bytes[at] = value;
                let _ = structural(&bytes);
            }
        }
    }
}
