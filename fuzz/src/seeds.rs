//! The seeds of the targets: the vectors of the protocol, the configuration files of the project,
//! and small plugin files, valid and faulty.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pieces::input;

#[path = "../../host/src/loader/tests/image.rs"]
#[allow(dead_code, reason = "the host's own tests use all of it")]
mod image;

use image::{Hash, Image, R, W, X, manifest};

/// The file name and the bytes of one initial input.
pub type Seed = (String, Vec<u8>);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Reads every vector of the protocol, as `protocol/vectors/README.md` specifies.
pub fn vectors() -> Vec<Seed> {
    let entries = fs::read_dir(root().join("protocol/vectors")).expect("the vectors");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a vector");
        let lines =
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && !line.contains(": "));
        let bytes =
            lines.flat_map(|line| line.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex")));
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), bytes.collect())
    };
    let mut vectors: Vec<Seed> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "hex")).map(read).collect();
    vectors.sort();
    vectors
}

/// Returns the seeds of a target.
///
/// # Panics
///
/// No target has this name.
#[must_use]
pub fn of(target: &str) -> Vec<Seed> {
    match target {
        "codec" => codec(),
        "lines" => lines(),
        "envelope" => payloads(),
        "configuration" => configuration(),
        "elf" => images().into_iter().map(|(name, image)| (name, image.bytes())).collect(),
        "manifest" => images()
            .into_iter()
            .flat_map(|(name, image)| {
                image.manifests.into_iter().map(move |json| (name.clone(), json.into_bytes()))
            })
            .collect(),
        other => panic!("no target has the name {other:?}"),
    }
}

/// Returns each vector alone under several limits, in pieces of several sizes, and all of them in
/// one stream.
fn codec() -> Vec<Seed> {
    let vectors = vectors();
    let mut seeds = Vec::new();

    for (number, (name, bytes)) in vectors.iter().enumerate() {
        let variant = u8::try_from(number % 32).expect("less than 32") * 8;
        for (limit, sizes) in [(3, &[1][..]), (5, &[7, 1]), (7, &[3, 11, 2])] {
            seeds.push((format!("{name}-{limit}"), input(limit, sizes, bytes)));
            seeds.push((format!("{name}-{limit}-skip"), input(limit + (variant | 8), sizes, bytes)));
        }
    }

    let small = vectors.iter().filter(|(_, bytes)| bytes.len() < 200);
    let stream: Vec<u8> = small.flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    seeds.extend((3..8).map(|limit| (format!("all-{limit}"), input(limit, &[200, 13], &stream))));
    seeds
}

/// Returns the payloads of the vectors, which are complete or partial frames.
fn payloads() -> Vec<Seed> {
    let payload = |(name, bytes): Seed| (name, bytes.get(7..).unwrap_or_default().to_vec());
    vectors().into_iter().map(payload).collect()
}

/// Returns the payloads as lines with either ending, under several limits.
fn lines() -> Vec<Seed> {
    let payloads = payloads();
    let mut seeds = Vec::new();
    for (name, payload) in &payloads {
        for (limit, ending) in [(3, "\n"), (4, "\r\n"), (7, "\r\n")] {
            let line = [payload, ending.as_bytes()].concat();
            seeds.push((format!("{name}-{limit}"), input(limit, &[9, 1, 30], &line.repeat(2))));
        }
    }
    seeds
}

/// Returns the configuration files of the project, complete and each of their tables alone.
fn configuration() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for file in ["config.toml", "packaging/config.toml"] {
        let Ok(text) = fs::read_to_string(root().join(file)) else { continue };
        let name = file.replace('/', "-");
        let mut tables = vec![String::new()];
        for line in text.lines() {
            if line.starts_with('[') {
                tables.push(String::new());
            }
            let table = tables.last_mut().expect("there is a table");
            table.push_str(line);
            table.push('\n');
        }

        seeds.extend(
            tables.into_iter().enumerate().map(|(at, table)| (format!("{name}-{at}"), table.into_bytes())),
        );
        seeds.push((name, text.into_bytes()));
    }
    seeds
}

/// Returns valid plugin files, and one for each fault that the host checks.
fn images() -> Vec<(String, Image)> {
    let sound = Image::default;
    let api = jackfield_plugin_api::API_VERSION;

    let images = [
        ("sound-gnu", sound()),
        ("sound-sysv", Image { hash: Hash::SysV, ..sound() }),
        ("class", Image { class: 1, ..sound() }),
        ("machine", Image { machine: 8, ..sound() }),
        ("executable", Image { kind: 2, ..sound() }),
        ("pie", Image { flags: vec![(0x6fff_fffb, 0x0800_0000)], ..sound() }),
        ("stack", Image { stack: Some(R | W | X), ..sound() }),
        ("no-stack", Image { stack: None, ..sound() }),
        ("writable-code", Image { load: R | W | X, ..sound() }),
        ("textrel", Image { flags: vec![(22, 0), (30, 4)], ..sound() }),
        ("rpath", Image { strings: vec![(15, "/opt/lib"), (29, "$ORIGIN")], ..sound() }),
        ("needed", Image { needed: vec!["libc.so.6", "/opt/libx.so", ""], ..sound() }),
        ("filter", Image { strings: vec![(0x7fff_ffff, "libx.so")], ..sound() }),
        ("undefined", Image { defined: false, ..sound() }),
        ("no-manifest", Image { manifests: Vec::new(), ..sound() }),
        ("two-manifests", Image { manifests: vec![manifest(api, "unwind", &["a.b"]); 2], ..sound() }),
        ("abort", Image { manifests: vec![manifest(api, "abort", &["a.b"])], ..sound() }),
        (
            "methods",
            Image { manifests: vec![manifest(api, "unwind", &["a.b", "a.b", "", "system.x"])], ..sound() },
        ),
        ("other-api", Image { manifests: vec![manifest("9.9.9-x", "unwind", &[])], ..sound() }),
    ];
    images.into_iter().map(|(name, image)| (name.to_owned(), image)).collect()
}
