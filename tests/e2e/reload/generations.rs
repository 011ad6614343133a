//! Successive generations of one plugin: each answers with its own number, and is reported with its
//! own identity.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::{FILE, Image, NAME, Operator, in_plugins, number, with_first};
use crate::support::footprint::{Footprint, assert_released, connections};
use crate::support::program::jackfield;
use crate::support::{HostProcess, wait_until};

/// Number of versions that follow one another.
const VERSIONS: u32 = 100;

/// Returns what `plugin inspect` reads from a file without running it.
#[track_caller]
fn inspect(file: &Path) -> Value {
    let args = ["plugin".as_ref(), "inspect".as_ref(), file.as_os_str(), "--json".as_ref()];
    let finished = jackfield(Path::new("/"), &args);
    assert_eq!(finished.code, 0, "{finished:?}");
    serde_json::from_str(&finished.stdout).expect("JSON")
}

#[test]
fn answers_with_the_number_of_each_of_many_versions() {
    let host = with_first("[plugins]\nwatch = false");
    let mut operator = Operator::connect(&host);
    let mut peer = host.peer();
    let mut last = operator.generation();
    let mut before = None;

    for version in 2..=VERSIONS {
        Image::numbered(version).put(&host, FILE);
        let verdict = operator.reload_published();
        let generation = verdict["generation"].as_u64().expect("a number");
        assert!(generation > last, "{verdict}");
        last = generation;

        // On an existing connection, and in each execution mode.
        assert_eq!(number(&mut peer), u64::from(version));
        assert_eq!(peer.result("numbered.blocking", &Value::Null), version);
        assert_eq!(peer.result("numbered.later", &json!(0)), version);

        if version == 10 {
            operator.wait_until_unloaded();
            before = Some(footprint_with_our_connections(&host));
        }
    }

    let row = operator.wait_until_unloaded();
    assert_eq!(row["unloaded"], VERSIONS - 1, "{row}");
    assert_released(host.pid(), &before.expect("the footprint was taken"));
}

/// Returns the footprint of the host when only the connections of this test are open.
fn footprint_with_our_connections(host: &HostProcess) -> Footprint {
    wait_until("only our connections are open", || connections(host.pid()) == 2);
    Footprint::of(host.pid())
}

#[test]
fn reports_hash_and_build_id_of_the_loaded_file() {
    let host = with_first("[plugins]\nwatch = false");
    let mut operator = Operator::connect(&host);
    let mut hashes = BTreeSet::new();

    for version in 2..5 {
        Image::numbered(version).put(&host, FILE);
        let file = inspect(&in_plugins(&host, FILE));
        let verdict = operator.reload_published();

        let row = operator.row(NAME);

        for (of_file, reported) in [("hash", "hash"), ("build_id", "build_id")] {
            assert_eq!(file[of_file], verdict[reported], "{file} {verdict}");
            assert_eq!(file[of_file], row[reported], "{file} {row}");
        }

        assert_eq!(row["version"], file["manifest"]["version"], "{row}");
        assert_eq!(row["generation"], verdict["generation"]);

        let (generation, hash) = (&row["generation"], row["hash"].as_str().expect("a hash"));
        let build_id = row["build_id"].as_str().expect("a build id");
        let line = host.wait_for_log(&format!("generation={generation} "));
        assert!(line.contains(&hash[..12]) && line.contains(build_id), "{line}");

        let info = host.info();
        let listed = info["plugins"].as_array().into_iter().flatten();
        let reported: Vec<_> = listed.filter(|plugin| plugin["name"] == NAME).collect();
        assert_eq!((&reported[0]["generation"], &reported[0]["hash"]), (generation, &row["hash"]), "{info}");
        hashes.insert(hash.to_owned());
    }

    assert_eq!(hashes.len(), 3, "each content has its own hash");
}

#[test]
fn loads_a_new_generation_of_the_same_content_by_command() {
    let host = with_first("");
    let mut operator = Operator::connect(&host);
    let before = operator.row(NAME);

    let verdict = operator.reload_published();
    assert_eq!(verdict["hash"], before["hash"]);
    assert_ne!(verdict["generation"], before["generation"]);

    let all = operator.0.result("admin.plugin.reload", &json!({}));
    assert_eq!((&all[0]["plugin"], &all[0]["outcome"]), (&json!(NAME), &json!("published")), "{all}");

    let nobody = operator.reload("nobody");
    assert_eq!(nobody["refused"]["reason"], "no-such-plugin", "{nobody}");

    let nobody = operator.roll_back("nobody");
    assert_eq!(nobody["refused"]["reason"], "no-such-plugin", "{nobody}");
    assert_eq!(operator.wait_until_unloaded()["unloaded"], 2);
}

#[test]
fn serializes_concurrent_reloads() {
    let host = with_first("[plugins]\nwatch = false");
    let (mut one, mut other) = (Operator::connect(&host), Operator::connect(&host));
    for version in 2..12 {
        Image::numbered(version).put(&host, FILE);
        let params = json!({ "name": NAME });

        one.0.send_sync("admin.plugin.reload", &params);
        other.0.send_sync("admin.plugin.reload", &params);
        let verdicts = [one.0.receive().result()[0].clone(), other.0.receive().result()[0].clone()];

        for verdict in &verdicts {
            assert_eq!(verdict["outcome"], "published", "{verdict}");
            assert_eq!(verdict["hash"], verdicts[0]["hash"]);
        }

        assert_ne!(verdicts[0]["generation"], verdicts[1]["generation"]);
        assert_eq!(number(&mut host.peer()), u64::from(version));
    }

    assert_eq!(one.wait_until_unloaded()["unloaded"], 20);
}
