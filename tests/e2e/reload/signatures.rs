//! Signed files that are replaced at runtime: file and signature in either order, signatures that
//! are older, and changed keys.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, in_plugins, number, wait_until_number};
use crate::support::program::jackfield;
use crate::support::signer::{Signer, put_signature};
use crate::support::{HostProcess, wait_until};

const TRUSTED: &str = "[plugins]\ntrusted_keys = [\"plugins.pub\"]\n";

/// Starts a host that trusts this signer and serves number 1, signed at time 100.
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

/// Returns the path of the plugin file.
fn file(host: &HostProcess) -> PathBuf {
    in_plugins(host, FILE)
}

/// Returns the signature of the image with this number.
fn signature(signer: &Signer, number: u32, at: u64) -> String {
    signer.sign(&Image::numbered(number).0, FILE, at)
}

fn is_refused(row: &Value, reason: &str) -> bool {
    row["refused"]["reason"] == reason
}

#[test]
fn accepts_file_and_signature_in_either_order() {
    let signer = Signer::new();
    let host = trusting(&signer);
    let mut operator = Operator::connect(&host);

    // The plugin is put first, and stays without its signature until it is refused.
    Image::numbered(2).put(&host, FILE);
    let row = operator.wait_until("the file is refused", |row| is_refused(row, "signature-mismatch"));
    assert_eq!(number(&mut host.peer()), 1, "{row}");

    put_signature(&file(&host), &signature(&signer, 2, 200));
    wait_until_number(&host, 2);
    let row = operator.wait_until("the new file is accepted", |row| row["refused"].is_null());
    assert_eq!(row["signed"], json!({ "key": signer.id(), "at": 200 }));

    // The signature is put first.
    put_signature(&file(&host), &signature(&signer, 3, 300));
    operator.wait_until("the old content is refused", |row| is_refused(row, "signature-mismatch"));
    assert_eq!(number(&mut host.peer()), 2, "the current generation continues to serve");
    Image::numbered(3).put(&host, FILE);

    wait_until_number(&host, 3);

    // Without a signature, the current generation continues to serve, and the list shows that the
    // file is refused.
    fs::remove_file(crate::support::signer::signature_of(&file(&host))).expect("the plugin is removed");
    operator.wait_until("the file is refused as unsigned", |row| {
        is_refused(row, "unsigned") && row["generation"].is_u64()
    });
    assert_eq!(number(&mut host.peer()), 3);

    put_signature(&file(&host), &signature(&signer, 3, 300));
    operator.wait_until("the file is accepted again", |row| row["refused"].is_null());
}

#[test]
fn refuses_an_older_signature_except_for_a_rollback() {
    let signer = Signer::new();
    let host = trusting(&signer);
    let mut operator = Operator::connect(&host);

    let put = |number: u32, at: u64| {
        put_signature(&file(&host), &signature(&signer, number, at));
        Image::numbered(number).put(&host, FILE);
    };
    put(2, 200);
    wait_until_number(&host, 2);

    put(1, 199);
    let row = operator.wait_until("the file is refused", |row| is_refused(row, "older-than-serving"));
    assert!(row["refused"]["detail"].as_str().is_some_and(|detail| detail.contains("199")), "{row}");
    operator.reload_refused("older-than-serving");
    assert_eq!(number(&mut host.peer()), 2);

    // A removed plugin does not permit older files, either.
    fs::remove_file(file(&host)).expect("the plugin is removed");
    operator.wait_until("the plugin is removed", |row| row["state"] == "removed");

    put(1, 199);
    operator.wait_until("the file is refused again", |row| is_refused(row, "older-than-serving"));
    host.peer().call("numbered.inline", &Value::Null).error(crate::support::peer::METHOD_NOT_FOUND);

    // A signature of the same second is not older, and old content with a new signature is
    // accepted.
    put(3, 200);
    wait_until_number(&host, 3);
    put(1, 201);
    wait_until_number(&host, 1);

    // A rollback by command accepts an older signature. Afterwards the files are compared with that
    // one.
    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    assert_eq!(number(&mut host.peer()), 3);
    put(4, 200);
    wait_until_number(&host, 4);
}

#[test]
fn applies_changed_keys_at_runtime() {
    let (old, new) = (Signer::new(), Signer::new());
    let host = trusting(&old);
    let mut operator = Operator::connect(&host);
    let configure = |text: &str| {
        host.scratch().write("config.toml", text);
        jackfield(host.directory(), &["reload"])
    };

    host.scratch().write("new.pub", new.public());
    put_signature(&file(&host), &signature(&new, 2, 200));
    Image::numbered(2).put(&host, FILE);
    operator.wait_until("a file with an unknown key is refused", |row| is_refused(row, "unknown-key"));

    // Both keys are trusted.
    let both = "[plugins]\ntrusted_keys = [\"plugins.pub\", \"new.pub\"]\n";
    assert_eq!(configure(both).code, 0);
    wait_until_number(&host, 2);

    // The new key is no longer trusted: the plugin continues to serve, but is not started again.
    assert_eq!(configure(TRUSTED).code, 0);
    operator.wait_until("the key is unknown", |row| is_refused(row, "unknown-key"));
    assert_eq!(number(&mut host.peer()), 2);

    let settings = format!("{TRUSTED}[plugin.{NAME}.settings]\nword = \"other\"\n");
    let refused = configure(&settings);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("unknown-key"), "{refused:?}");
    assert_eq!(number(&mut host.peer()), 2, "nothing of the configuration is applied");

    // The previous content was signed with a key that is still trusted.
    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    assert_eq!(number(&mut host.peer()), 1);

    // Without trusted keys the host serves unsigned plugins. Once a key is trusted, they are not
    // started again.
    assert_eq!(configure("").code, 0);
    fs::remove_file(crate::support::signer::signature_of(&file(&host))).expect("the plugin is removed");
    Image::numbered(5).put(&host, FILE);
    wait_until_number(&host, 5);

    Image::numbered(6).put(&host, FILE);
    wait_until_number(&host, 6);
    assert_eq!(configure(TRUSTED).code, 0);

    operator.wait_until("the file is refused as unsigned", |row| is_refused(row, "unsigned"));
    let verdict = operator.roll_back(NAME);
    assert_eq!(verdict["refused"]["reason"], "unsigned", "{verdict}");
    assert_eq!(number(&mut host.peer()), 6);

    wait_until("the refusal is logged", || {
        host.log_contains("the content was loaded before keys were trusted")
    });
}
