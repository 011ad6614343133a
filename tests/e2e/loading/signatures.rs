//! Signatures of plugin files: each fault has its reason everywhere, and verified bytes cannot be
//! changed afterwards.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde_json::Value;

use super::file_content::{marking, set_mode};
use super::{assert_checked, assert_only_neighbour, assert_refused, with_neighbour};
use crate::support::HostProcess;
use crate::support::build::artifacts;
use crate::support::host::install;
use crate::support::program::jackfield;
use crate::support::scratch::Scratch;
use crate::support::signer::{Signer, put_signature, signature_of};
use crate::support::user::{OTHER_USER, acting_as, is_root};
use crate::support::wait::wait_until;

const TRUSTED: &str = "[plugins]\ntrusted_keys = [\"plugins.pub\"]";
const NOW: u64 = 1_700_000_000;

/// Makes a faulty signature from the file content; `None` if there is no signature.
type Fault = fn(&Signer, &[u8], &str) -> Option<String>;

const FAULTS: [(&str, &str, Fault); 9] = [
    ("without", "unsigned", |_, _, _| None),
    ("stranger", "unknown-key", |_, content, file| Some(Signer::new().sign(content, file, NOW))),
    ("altered", "signature-mismatch", |signer, content, file| {
        let mut other = content.to_vec();
        *other.last_mut().expect("a byte") ^= 1;
        Some(signer.sign(&other, file, NOW))
    }),
    ("truncated", "signature-unreadable", |signer, content, file| {
        let whole = signer.sign(content, file, NOW);
        Some(whole[..whole.len() - 20].to_owned())
    }),
    ("rubbish", "signature-unreadable", |_, _, _| Some("trust me\n".repeat(5))),
    ("endless", "signature-unreadable", |_, _, _| Some("x".repeat(1 << 20))),
    // The same content, signed under the name of another plugin.
    ("renamed", "signature-of-another", |signer, content, _| Some(signer.sign(content, "libhello.so", NOW))),
    ("undated", "signature-undated", |signer, content, _| Some(signer.sign_as(content, "by hand"))),
    // A valid signature whose comment was changed to a later time.
    ("commented", "signature-mismatch", |signer, content, file| {
        let changed = signer.sign(content, file, NOW).replace(&NOW.to_string(), &(NOW + 1).to_string());
        Some(changed)
    }),
];

fn at(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("plugins/lib{name}.so"))
}

#[test]
fn refuses_each_fault_with_its_reason_without_running_code() {
    let signer = Signer::new();
    let builder = with_neighbour().config(TRUSTED);
    let directory = builder.directory().to_owned();
    fs::write(directory.join("plugins.pub"), signer.public()).expect("the key");
    set_mode(&directory.join("plugins.pub"), 0o644);
    signer.sign_file(&at(&directory, "device"), NOW);

    for (name, _, fault) in FAULTS {
        let (file, bytes) = (at(&directory, name), marking(&directory.join(format!("{name}.mark"))).0);
        fs::write(&file, &bytes).expect("a plugin");
        set_mode(&file, 0o644);
        if let Some(signature) = fault(&signer, &bytes, &format!("lib{name}.so")) {
            put_signature(&file, &signature);
        }
    }

    // A signature that is not a regular file does not block the host.
    install(artifacts().library("hello"), &at(&directory, "piped"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        signature_of(&at(&directory, "piped")),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .expect("a FIFO");

    let mut refused: Vec<_> = FAULTS.map(|(name, reason, _)| (name, reason)).into();
    refused.push(("piped", "signature-unreadable"));

    let host = builder.start();
    let config = directory.join("config.toml");
    for (name, reason) in &refused {
        host.wait_for_log(&format!("plugin=\"{name}\""));
        assert_refused(&host, name, reason);
        let file = at(&directory, name);
        let args: [&std::ffi::OsStr; 5] =
            ["plugin".as_ref(), "inspect".as_ref(), file.as_os_str(), "-c".as_ref(), config.as_os_str()];

        let inspected = jackfield(Path::new("/"), &args);
        let start = format!("{}: {reason}: ", file.display());
        assert!(inspected.code == 1 && inspected.stderr.starts_with(&start), "{start:?} in {inspected:?}");
        assert!(!directory.join(format!("{name}.mark")).exists(), "code of {name} ran");
    }

    let files: Vec<_> = refused.iter().map(|(name, reason)| (format!("lib{name}.so"), *reason)).collect();
    assert_checked(&directory, &files);

    let reloaded = jackfield(&directory, &["plugin", "reload", "--json"]);
    let verdicts: Value = serde_json::from_str(&reloaded.stdout).expect("JSON");
    let listed = jackfield(&directory, &["plugin", "list", "--json"]);
    let rows: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let of = |list: &Value, key: &str, name: &str| {
        list.as_array().into_iter().flatten().find(|row| row[key] == name).cloned().unwrap_or_default()
    };
    for (name, reason) in &refused {
        assert_eq!(of(&verdicts, "plugin", name)["refused"]["reason"], *reason, "{verdicts}");
        assert_eq!(of(&rows, "name", name)["refused"]["reason"], *reason, "{rows}");
    }

    // The signed plugin serves, and each command shows its key.
    let device = of(&rows, "name", "device");
    assert_eq!(device["signed"], serde_json::json!({ "key": signer.id(), "at": NOW }));
    let inspected = jackfield(&directory, &["plugin", "inspect", "plugins/libdevice.so"]);
    let line = format!("signed    with key {} (./plugins.pub), timestamp {NOW}", signer.id());
    assert!(inspected.stdout.lines().any(|other| other == line), "{line:?} in {inspected:?}");
    let table = jackfield(&directory, &["plugin", "list"]).stdout;
    assert!(table.lines().any(|line| line.starts_with("device") && line.contains(&signer.id())), "{table}");
    assert_only_neighbour(&host);

    assert!(FAULTS.iter().all(|(name, ..)| !directory.join(format!("{name}.mark")).exists()));
}

#[test]
fn ignores_signatures_without_a_trusted_key() {
    let host = HostProcess::builder().plugin("device").start();
    let file = at(host.directory(), "device");

    let signer = Signer::new();
    signer.sign_file(&file, NOW);

    let inspected = jackfield(host.directory(), &["plugin", "inspect", "plugins/libdevice.so"]);
    let line = format!("signed    with key {}, not verified: plugins.trusted_keys is not set", signer.id());
    assert!(inspected.code == 0 && inspected.stdout.contains(&line), "{inspected:?}");

    put_signature(&file, "rubbish");
    let reloaded = jackfield(host.directory(), &["plugin", "reload", "device"]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
}

#[test]
fn rejects_keys_that_cannot_be_trusted() {
    let scratch = Scratch::new();
    scratch.directory("plugins");
    let signer = Signer::new();

    scratch.write("good.pub", signer.public());
    scratch.write("again.pub", signer.public());
    scratch.write("rubbish.pub", "no key\n");
    set_mode(&scratch.write("open.pub", signer.public()), 0o664);
    let keys = "[\"good.pub\", \"nowhere.pub\", \"rubbish.pub\", \"open.pub\", \"again.pub\", 7]";
    scratch.write("config.toml", format!("[plugins]\ntrusted_keys = {keys}\n"));

    let checked = jackfield(scratch.path(), &["check"]);
    assert_eq!(checked.code, 78, "{checked:?}");
    assert!(
        checked.stderr.starts_with("./config.toml:2:84: plugins.trusted_keys contains an integer; "),
        "{checked:?}"
    );

    scratch.write("config.toml", format!("[plugins]\ntrusted_keys = {}\n", keys.replace(", 7", "")));
    let checked = jackfield(scratch.path(), &["check"]);
    let faults: Vec<_> = checked.stderr.lines().map(|line| line.split("; ").next().unwrap_or(line)).collect();

    let expected = [
        "./config.toml:2:29: the trusted key \"./nowhere.pub\" cannot be read: No such file or directory (os error 2)".to_owned(),
        "./config.toml:2:44: the trusted key \"./rubbish.pub\" is not a public key of minisign".to_owned(),
        format!("./config.toml:2:59: the trusted key \"./open.pub\" can be changed by other users (mode 0664, owner {})", rustix::process::geteuid().as_raw()),
        format!("./config.toml:2:71: plugins.trusted_keys contains the key {} twice", signer.id()),
    ];
    assert_eq!(faults, expected);
}

#[test]
fn seals_the_verified_bytes() {
    let host = HostProcess::with(&["device"]);
    let descriptors = PathBuf::from(format!("/proc/{}/fd", host.pid()));
    let mut copies = Vec::new();

    wait_until("the copy is open", || {
        let entries = fs::read_dir(&descriptors).expect("our host's descriptors").flatten();
        let is_copy = |path: &PathBuf| {
            fs::read_link(path)
                .is_ok_and(|to| to.as_os_str().as_encoded_bytes().starts_with(b"/memfd:jackfield:device"))
        };
        copies = entries.map(|entry| entry.path()).filter(is_copy).collect();
        !copies.is_empty()
    });

    for copy in &copies {
        let written = OpenOptions::new().write(true).open(copy).and_then(|mut file| file.write_all(b"x"));
        let error = written.map_err(|error| Errno::from_io_error(&error)).expect_err("the copy is sealed");
        assert_eq!(error, Some(Errno::PERM));
        if is_root("another user at the host's copies") {
            let opened =
                acting_as(OTHER_USER, OTHER_USER, || OpenOptions::new().write(true).open(copy).map(|_| ()));
            let error = opened
                .map_err(|error| Errno::from_io_error(&error))
                .expect_err("the copy belongs to the host");
            assert!(matches!(error, Some(Errno::ACCESS | Errno::PERM)), "{error:?}");
        }
    }

    host.peer().assert_usable();
}
