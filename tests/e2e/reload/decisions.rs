//! Decisions against contents survive a restart: what was rolled back does not serve again, and the
//! content that served instead does.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::geteuid;
use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, number, put, with_first};
use crate::support::HostProcess;
use crate::support::peer::{PLUGIN_PANICKED, PLUGIN_UNAVAILABLE};
use crate::support::program::jackfield;
use crate::support::signer::Signer;

const CONFIG: &str = "[plugins]\nwatch = false\n[plugins.probation]\ncalls = 10\nfailures = 3\n";

/// Returns a host with number 2 in its file and number 1 serving, because an operator rolled it
/// back.
#[track_caller]
fn rolled_back(config: &str) -> HostProcess {
    let host = with_first(config);
    let mut operator = Operator::connect(&host);
    Image::numbered(2).put(&host, FILE);
    operator.reload_published();
    assert_eq!(operator.roll_back(NAME)["outcome"], "published");
    host
}

/// Ends the host and starts the next one.
#[track_caller]
fn restart(host: &mut HostProcess) {
    host.terminate();
    host.restart_ready();
}

#[test]
fn serves_the_previous_content_after_a_rollback_by_command_and_a_restart() {
    let mut host = rolled_back(CONFIG);
    let uid = geteuid().as_raw();

    for _ in 0..2 {
        restart(&mut host);
        assert_eq!(number(&mut host.peer()), 1);
        host.wait_for_log(&format!("not loaded, because uid {uid} rolled back its content "));
    }

    let listed = jackfield(host.directory(), &["plugin", "list"]);
    let expected = format!(" is not loaded: rolled back by uid {uid} ");
    assert!(listed.stdout.contains(&expected), "{listed:?}");
    let checked = jackfield(host.directory(), &["check"]);
    assert!(checked.stderr.contains("was rolled back and is not loaded"), "{checked:?}");

    // Neither a scan nor a reload of everything clears the decision, but a reload by name does.
    assert_eq!(jackfield(host.directory(), &["reload"]).code, 0);
    let all = jackfield(host.directory(), &["plugin", "reload"]);
    assert!(all.code == 1 && all.stdout.contains("rolled-back"), "{all:?}");
    assert_eq!(number(&mut host.peer()), 1);
    let reloaded = jackfield(host.directory(), &["plugin", "reload", NAME]);
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    assert_eq!(number(&mut host.peer()), 2);

    restart(&mut host);
    assert_eq!(number(&mut host.peer()), 2);
    assert_eq!(Operator::connect(&host).row(NAME)["decisions"], json!([]));
}

#[test]
fn serves_the_previous_content_after_a_failed_probation_and_a_restart() {
    let mut host = with_first(CONFIG);
    let mut operator = Operator::connect(&host);
    Image::numbered(2).with("BEHAVIOUR-", "1").put(&host, FILE);
    operator.reload_published();
    let mut peer = host.peer();
    (0..3).for_each(|_| drop(peer.call("numbered.blocking", &Value::Null).error(PLUGIN_PANICKED)));
    operator.wait_until("it is rolled back", |row| row["refused"]["reason"] == "probation-failed");
    drop((peer, operator));

    restart(&mut host);

    assert_eq!(number(&mut host.peer()), 1);
    let row = Operator::connect(&host).row(NAME);
    assert_eq!(row["refused"]["reason"], "probation-failed", "{row}");
    assert_eq!((&row["decisions"][0]["by"], &row["state"]), (&json!("host"), &json!("serving")), "{row}");

    // A decision matches no other content.
    Image::numbered(3).put(&host, FILE);
    assert_eq!(jackfield(host.directory(), &["reload"]).code, 0);
    assert_eq!(number(&mut host.peer()), 3);
}

#[test]
fn does_not_serve_rolled_back_content_if_the_kept_one_was_changed() {
    let mut host = rolled_back(CONFIG);
    host.terminate();
    let kept = host.path(&format!("run/state/kept/lib{NAME}.so"));
    assert_eq!(fs::read(&kept).unwrap(), Image::numbered(1).0);
    fs::write(&kept, Image::numbered(7).0).unwrap();

    host.restart_ready();

    let error = host.peer().call("numbered.inline", &Value::Null).error(PLUGIN_UNAVAILABLE);
    assert_eq!(error["data"]["reason"], "rolled-back", "{error}");
    let detail = Operator::connect(&host).row(NAME)["refused"]["detail"].to_string();
    assert!(detail.contains("the kept content is not the one that was kept"), "{detail}");
}

#[test]
fn verifies_the_signature_of_the_kept_content_with_the_keys_of_the_next_host() {
    let (signer, other) = (Signer::new(), Signer::new());
    let builder =
        HostProcess::builder().config("[plugins]\nwatch = false\ntrusted_keys = [\"plugins.pub\"]\n");
    let directory = builder.directory().to_owned();
    let install = |number: u32, signer: &Signer| {
        put(&directory.join("plugins"), &Image::numbered(number).0, FILE);
        signer.sign_file(&directory.join("plugins").join(FILE), 100 + u64::from(number));
    };
    put(&directory, signer.public().as_bytes(), "plugins.pub");
    install(1, &signer);
    let mut host = builder.start();
    install(2, &signer);
    let mut operator = Operator::connect(&host);
    operator.reload_published();
    operator.roll_back(NAME);
    drop(operator);

    restart(&mut host);
    assert_eq!(number(&mut host.peer()), 1);

    // The key of the kept content is no longer trusted, but that of the file is.
    put(&directory, other.public().as_bytes(), "plugins.pub");
    install(2, &other);
    restart(&mut host);

    let row = Operator::connect(&host).row(NAME);
    assert_eq!(
        (&row["state"], &row["refused"]["reason"]),
        (&json!("refused"), &json!("rolled-back")),
        "{row}"
    );
    assert!(row["refused"]["detail"].to_string().contains("(unknown-key)"), "{row}");
}

#[test]
fn serves_without_the_decisions_that_it_cannot_read_or_keep() {
    let mut host = rolled_back(CONFIG);
    host.terminate();
    fs::write(host.path("run/state/decisions.json"), r#"{"version": 99}"#).unwrap();
    host.restart_ready();

    assert_eq!(number(&mut host.peer()), 2);
    host.wait_for_log("the file has version 99, and this host reads version 1; the file is now ");
    assert!(host.path("run/state/decisions.json.unreadable").exists());

    host.terminate();
    fs::set_permissions(host.path("run/state"), fs::Permissions::from_mode(0o777)).unwrap();
    host.restart_ready();

    assert_eq!(number(&mut host.peer()), 2);
    host.wait_for_log("cannot use the state directory ");
}
