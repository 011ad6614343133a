//! The seeds of the targets: the vectors of the protocol, the configuration files of the project,
//! small plugin files, descriptions of methods and messages of workers, valid and faulty.

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
        "envelope" | "extension" => payloads(),
        "configuration" => configuration(),
        "contract" => contract(),
        "elf" => images().into_iter().map(|(name, image)| (name, image.bytes())).collect(),
        "manifest" => images()
            .into_iter()
            .flat_map(|(name, image)| {
                image.manifests.into_iter().map(move |json| (name.clone(), json.into_bytes()))
            })
            .collect(),
        "worker" => worker(),
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
            seeds.push((format!("{name}-{limit}-granted"), input(limit + 64, sizes, bytes)));
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

/// Returns pairs of descriptions: each schema as that of the params, and as that of the result of
/// the next one.
fn contract() -> Vec<Seed> {
    let schemas = [
        ("any", "true"),
        ("plain", r#"{"type":["integer","null"],"format":"uint8","minimum":0,"maximum":255}"#),
        ("text", r#"{"type":"string","minLength":1,"maxLength":9,"pattern":"^a"}"#),
        ("struct", r#"{"type":"object","properties":{"a":{"type":"number"},"b":{}},"required":["a"]}"#),
        ("closed", r#"{"type":"object","properties":{"a":{"const":1}},"additionalProperties":false}"#),
        ("map", r#"{"type":"object","additionalProperties":{"type":"boolean"}}"#),
        ("numbered", r#"{"type":"object","patternProperties":{"^\\d+$":{}},"additionalProperties":false}"#),
        ("tuple", r#"{"type":"array","prefixItems":[{},{"type":"null"}],"minItems":2,"maxItems":2}"#),
        ("set", r#"{"type":"array","items":{"enum":["a","b",1,null]},"uniqueItems":true}"#),
        (
            "tagged",
            r##"{"type":"object","properties":{"t":{"const":"a"}},"required":["t"],"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{"x":{}},"required":["x"]}}}"##,
        ),
        (
            "flattened",
            r#"{"type":"object","properties":{"a":{}},"oneOf":[{"type":"object","properties":{"k":{"const":1}},"required":["k"]},{}],"unevaluatedProperties":false}"#,
        ),
        (
            "tree",
            r##"{"$ref":"#/$defs/T","$defs":{"T":{"type":"object","properties":{"c":{"type":"array","items":{"$ref":"#/$defs/T"}}}}}}"##,
        ),
        ("circle", r##"{"anyOf":[{"$ref":"#"},{"$ref":"#/$defs/A"}],"$defs":{"A":{"$ref":"#"}}}"##),
        ("not", r#"{"not":{"const":0},"type":"integer"}"#),
        ("bytes", r#"{"contentMediaType":"application/octet-stream"}"#),
        ("no-schema", r#"{"type":"unknown"}"#),
        ("no-json", "{"),
    ];
    let facts = r#"{"summary":"A text.","idempotent":true,"errors":[{"code":404,"message":"no"}]}"#;
    let examples = r#"[{"params":{"a":1},"result":null}]"#;

    let pair = |at: usize| {
        let (name, params) = schemas[at];
        let (_, next) = schemas[(at + 1) % schemas.len()];
        let documents = [facts, params, next, examples, "{}", next, params, ""];
        (name.to_owned(), documents.join("\0").into_bytes())
    };
    (0..schemas.len()).map(pair).collect()
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

/// Returns one message of each kind, faulty ones, and all of them in one stream.
fn worker() -> Vec<Seed> {
    let number = |number: u64| number.to_be_bytes().to_vec();
    let text = |text: &str| {
        let length = u32::try_from(text.len()).expect("a short text");
        [&length.to_be_bytes()[..], text.as_bytes()].concat()
    };
    let failed = |message, data: &str| [vec![1], number(7), text(message), data.into()].concat();
    let nested = |waits: u8| {
        [number(1), number(2), vec![waits], number(3), text("device.get"), b"{}".to_vec()].concat()
    };
    let messages = [
        ("step", 0x41, b"opening".to_vec()),
        ("refused", 0x42, [text("self-test-failed"), b"it is broken".to_vec()].concat()),
        ("ready", 0x43, b"landlock 6".to_vec()),
        ("log", 0x44, [vec![3], number(1), b"a line".to_vec()].concat()),
        ("done", 0x45, [number(1), vec![0], b"{\"a\":1}".to_vec()].concat()),
        ("done-bytes", 0x45, [number(1), vec![4, 0xff, 0]].concat()),
        ("unknown-content", 0x45, [number(1), vec![5]].concat()),
        ("failed", 0x45, [number(1), failed("no", "\x01[1]")].concat()),
        ("failed-without-data", 0x45, [number(1), failed("", "\0")].concat()),
        ("panicked", 0x45, [number(1), vec![2], b"index out of bounds".to_vec()].concat()),
        ("cancelled", 0x45, [number(u64::MAX), vec![3]].concat()),
        ("nested", 0x46, nested(0)),
        ("nested-waits", 0x46, nested(1)),
        ("nested-bytes", 0x46, nested(3)),
        ("nested-unknown-content", 0x46, nested(4)),
        ("nested-cancelled", 0x47, number(9)),
        ("phase-end", 0x48, vec![0, 1, 2, 3]),
        ("phase-end-bytes", 0x48, vec![4, 1, 2, 3]),
        ("described", 0x49, b"\x01{\"type\":\"null\"}".to_vec()),
        ("not-described", 0x49, b"\0it panicked".to_vec()),
        ("described-or-not", 0x49, vec![2]),
        ("of-the-host", 0x22, number(1)),
        ("long-text", 0x42, vec![0xff; 9]),
        ("detached", 0xc5, [number(40), number(1), vec![0]].concat()),
        ("detached-too-long", 0xc5, number(u64::MAX)),
        ("detached-without-length", 0xc5, vec![0; 7]),
    ];

    let mut seeds = Vec::new();
    let mut all = Vec::new();
    for (name, kind, payload) in messages {
        let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
        let frame = [&[1, 1, kind][..], &length, &payload].concat();
        seeds.push((format!("{name}-5"), input(5, &[], &frame)));
        seeds.push((format!("{name}-4"), input(4, &[3, 1], &frame.repeat(3))));
        all.extend(frame);
    }
    seeds.extend((3..8).map(|limit| (format!("all-{limit}"), input(limit, &[200, 13], &all))));
    seeds.push(("version".to_owned(), input(7, &[1], b"\x02\x00\x45\0\0\0\0")));
    seeds.push(("huge".to_owned(), input(7, &[5], b"\x01\x01\x45\xff\xff\xff\xffbody")));
    seeds
}
