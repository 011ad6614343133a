//! Signed files replaced under a running host: the two files in whatever order, never an older one,
//! and keys that change.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, in_plugins, number, wait_until_number};
use crate::support::program::jackfield;
use crate::support::signer::{Signer, put_signature};
use crate::support::{HostProcess, wait_until};

const TRUSTED: &str = "[plugins]\ntrusted_keys = [\"plugins.pub\"]\n";

/// A host that trusts this signer and serves number 1, signed at 100.
fn trusting(signer: &Signer) -> HostProcess {
    let builder = HostProcess::builder().config(TRUSTED);
    let plugins = builder.directory().join("plugins");
    super::put(builder.directory(), signer.public().as_bytes(), "plugins.pub");
    super::put(&plugins, &Image::numbered(1).0, FILE);
    signer.sign_file(&plugins.join(FILE), 100);
    let host = builder.start();
    wait_until_number(&host, 1);
    host
}

fn file(host: &HostProcess) -> PathBuf {
    in_plugins(host, FILE)
}

/// The signature of a number's file.
fn signature(signer: &Signer, number: u32, at: u64) -> String {
    signer.sign(&Image::numbered(number).0, FILE, at)
}

fn is_refused(row: &Value, reason: &str) -> bool {
    row["refused"]["reason"] == reason
}

#[test]
fn the_file_and_its_signature_come_in_either_order() {
    let signer = Signer::new();
    let host = trusting(&signer);
    let mut operator = Operator::of(&host);
    // The plugin first, for so long that it is told not to belong to the old signature.
    Image::numbered(2).put(&host, FILE);
    let row = operator.wait_until("it is refused", |row| is_refused(row, "signature-mismatch"));
    assert_eq!(number(&mut host.peer()), 1, "{row}");
    put_signature(&file(&host), &signature(&signer, 2, 200));
    wait_until_number(&host, 2);
    let row = operator.wait_until("nothing is wrong any more", |row| row["refused"].is_null());
    assert_eq!(row["signed"], json!({ "key": signer.id(), "at": 200 }));
    // The signature first.
    put_signature(&file(&host), &signature(&signer, 3, 300));
    operator.wait_until("the old content is refused", |row| is_refused(row, "signature-mismatch"));
    assert_eq!(number(&mut host.peer()), 2, "what serves serves on");
    Image::numbered(3).put(&host, FILE);
    wait_until_number(&host, 3);
    // Without any: what serves serves on, and the list says what would become of it.
    fs::remove_file(crate::support::signer::signature_of(&file(&host))).expect("it is removed");
    operator.wait_until("it is unsigned", |row| is_refused(row, "unsigned") && row["generation"].is_u64());
    assert_eq!(number(&mut host.peer()), 3);
    put_signature(&file(&host), &signature(&signer, 3, 300));
    operator.wait_until("it is as it was", |row| row["refused"].is_null());
}

#[test]
fn an_older_one_does_not_come_back_but_by_an_operator() {
    let signer = Signer::new();
    let host = trusting(&signer);
    let mut operator = Operator::of(&host);
    let put = |number: u32, at: u64| {
        put_signature(&file(&host), &signature(&signer, number, at));
        Image::numbered(number).put(&host, FILE);
    };
    put(2, 200);
    wait_until_number(&host, 2);
    put(1, 199);
    let row = operator.wait_until("it is refused", |row| is_refused(row, "older-than-serving"));
    assert!(row["refused"]["detail"].as_str().is_some_and(|detail| detail.contains("199")), "{row}");
    operator.refused("older-than-serving");
    assert_eq!(number(&mut host.peer()), 2);
    // A removed plugin leaves the door no wider.
    fs::remove_file(file(&host)).expect("it is removed");
    operator.wait_until("it has gone", |row| row["state"] == "removed");
    put(1, 199);
    operator.wait_until("it is refused again", |row| is_refused(row, "older-than-serving"));
    host.peer().call("numbered.inline", &Value::Null).error(crate::support::peer::METHOD_NOT_FOUND);
    // The same second is no older, and signed anew, the old content is new.
    put(3, 200);
    wait_until_number(&host, 3);
    put(1, 201);
    wait_until_number(&host, 1);
    // By hand, what served before comes back, though it was signed before; its file is then no
    // older than it.
    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    assert_eq!(number(&mut host.peer()), 3);
    put(4, 200);
    wait_until_number(&host, 4);
}

#[test]
fn keys_change_while_it_serves() {
    let (old, new) = (Signer::new(), Signer::new());
    let host = trusting(&old);
    let mut operator = Operator::of(&host);
    let configure = |text: &str| {
        host.scratch().write("config.toml", text);
        jackfield(host.directory(), &["reload"])
    };
    host.scratch().write("new.pub", new.public());
    put_signature(&file(&host), &signature(&new, 2, 200));
    Image::numbered(2).put(&host, FILE);
    operator.wait_until("a stranger's is refused", |row| is_refused(row, "unknown-key"));
    // Trusted from now on, beside the other.
    let both = "[plugins]\ntrusted_keys = [\"plugins.pub\", \"new.pub\"]\n";
    assert_eq!(configure(both).code, 0);
    wait_until_number(&host, 2);
    // Trusted no more: it serves on, but no more of it is started.
    assert_eq!(configure(TRUSTED).code, 0);
    operator.wait_until("its key is unknown", |row| is_refused(row, "unknown-key"));
    assert_eq!(number(&mut host.peer()), 2);
    let settings = format!("{TRUSTED}[plugin.{NAME}.settings]\nword = \"other\"\n");
    let refused = configure(&settings);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("unknown-key"), "{refused:?}");
    assert_eq!(number(&mut host.peer()), 2, "nothing of it was applied");
    // The content before was signed by who is still trusted.
    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    assert_eq!(number(&mut host.peer()), 1);
    // A host that trusted nobody serves what nobody signed; once it trusts somebody, that is not
    // started again.
    assert_eq!(configure("").code, 0);
    fs::remove_file(crate::support::signer::signature_of(&file(&host))).expect("it is removed");
    Image::numbered(5).put(&host, FILE);
    wait_until_number(&host, 5);
    Image::numbered(6).put(&host, FILE);
    wait_until_number(&host, 6);
    assert_eq!(configure(TRUSTED).code, 0);
    operator.wait_until("it is unsigned", |row| is_refused(row, "unsigned"));
    let verdict = operator.roll_back(NAME);
    assert_eq!(verdict["refused"]["reason"], "unsigned", "{verdict}");
    assert_eq!(number(&mut host.peer()), 6);
    wait_until("what was refused is told", || host.log_contains("it was loaded when no key was trusted"));
}
