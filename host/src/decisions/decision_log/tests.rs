//! Tests of the decision log and its file.

use super::super::decision::Decider;
use super::*;

fn decision(hash: &str, at: u64) -> Decision {
    let by = Decider::Operator { uid: Some(7) };
    Decision { at, ..Decision::now(hash.to_owned(), by, "why".to_owned()) }
}

fn hashes(log: &DecisionLog, plugin: &str) -> Vec<String> {
    log.of(plugin).iter().map(|decision| decision.hash.clone()).collect()
}

#[test]
fn reads_what_it_writes() {
    let mut log = DecisionLog::default();
    log.add("a", decision("1", 1));
    log.add("b", Decision { by: Decider::Host, ..decision("2", 2) });
    log.add("b", Decision { by: Decider::Operator { uid: None }, ..decision("3", 3) });
    assert!(log.set_kept("b", "4") && !log.set_kept("b", "4") && !log.set_kept("c", "4"));

    let json = log.to_json().unwrap();
    assert_eq!(DecisionLog::parse(&json).unwrap(), log);
    let text = String::from_utf8(json).unwrap();
    for member in ["\"version\": 1", "\"by\": \"operator\"", "\"uid\": 7", "\"by\": \"host\""] {
        assert!(text.contains(member), "{member} in {text}");
    }
}

#[test]
fn reads_the_file_of_the_first_version() {
    let json = br#"{"version": 1, "plugins": {"device": {"kept": "0a", "decisions": [
        {"hash": "0b", "by": "host", "at": 5, "why": "w"},
        {"hash": "0c", "by": "operator", "uid": 0, "at": 6, "why": "w"}]}}}"#;
    let log = DecisionLog::parse(json).unwrap();

    assert_eq!(log.kept("device"), Some("0a"));
    assert_eq!(log.find("device", "0b").unwrap().by, Decider::Host);
    assert_eq!(log.find("device", "0c").unwrap().by, Decider::Operator { uid: Some(0) });
    assert_eq!(log.contents().collect::<Vec<_>>(), [("device", "0b"), ("device", "0c")]);
}

#[test]
fn refuses_damaged_files_other_versions_and_names_that_are_paths() {
    let refused = |json: &str| DecisionLog::parse(json.as_bytes()).unwrap_err().to_string();
    assert!(refused("[[[").contains("line 1"));
    assert!(refused(r#"{"version": 1}"#).contains("plugins"));
    assert_eq!(
        refused(r#"{"version": 2, "anything": 1}"#),
        "the file has version 2, and this host reads version 1"
    );
    for name in ["../x", "", "a b"] {
        let json = format!(r#"{{"version": 1, "plugins": {{"{name}": {{"kept": null, "decisions": []}}}}}}"#);
        assert_eq!(refused(&json), format!("{name:?} is not the name of a plugin"));
    }
}

#[test]
fn replaces_an_earlier_decision_against_the_same_content() {
    let mut log = DecisionLog::default();
    for (hash, at) in [("1", 1), ("2", 2), ("1", 3)] {
        log.add("a", decision(hash, at));
    }
    assert_eq!((hashes(&log, "a"), log.find("a", "1").unwrap().at), (vec!["2".into(), "1".into()], 3));
    assert_eq!(log.find("b", "1"), None, "a decision belongs to one plugin");
}

#[test]
fn drops_the_oldest_decisions_of_a_plugin_when_it_writes_and_when_it_reads() {
    let mut log = DecisionLog::default();
    for at in 0..=MAX_DECISIONS as u64 {
        log.add("a", decision(&at.to_string(), at));
    }
    assert_eq!((log.of("a").len(), log.find("a", "0")), (MAX_DECISIONS, None));

    log.0.get_mut("a").unwrap().decisions.push(decision("more", 1000));
    let read = DecisionLog::parse(&log.to_json().unwrap()).unwrap();
    assert_eq!((read.of("a").len(), read.find("a", "1")), (MAX_DECISIONS, None));
}

#[test]
fn drops_the_plugin_whose_last_decision_is_oldest() {
    let mut log = DecisionLog::default();
    for at in 0..MAX_PLUGINS as u64 {
        assert_eq!(log.add(&format!("p{at}"), decision("1", 100 + at)), None);
    }
    log.add("p0", decision("2", 1000));

    assert_eq!(log.add("new", decision("1", 1)).as_deref(), Some("p1"));
    assert_eq!((log.of("p0").len(), log.of("p1").len(), log.of("new").len()), (2, 0, 1));
}

#[test]
fn forgets_a_plugin_with_its_last_decision() {
    let mut log = DecisionLog::default();
    log.add("a", decision("1", 1));
    log.add("a", decision("2", 2));
    log.set_kept("a", "3");

    assert_eq!(log.clear("a", "1").unwrap().hash, "1");
    assert_eq!((log.clear("a", "1"), log.kept("a")), (None, Some("3")));
    log.clear("a", "2");
    assert_eq!(log, DecisionLog::default());
}

#[test]
fn isolates_a_content_for_the_host_and_every_content_for_an_operator() {
    let mut log = DecisionLog::default();
    let by_host = |hash: &str| Decision { by: Decider::Host, ..decision(hash, 1) };
    let isolates =
        |log: &DecisionLog, hash: &str| log.isolated("a").iter().any(|decision| decision.isolates(hash));

    for hash in ["1", "2", "1"] {
        log.isolate("a", by_host(hash));
    }
    assert_eq!(["1", "2", "3"].map(|hash| isolates(&log, hash)), [true, true, false]);
    assert_eq!((log.isolated("a").len(), log.isolated("b").len()), (2, 0));
    assert_eq!(log.of("a"), [], "content in a worker serves");

    log.isolate("a", decision("2", 2));
    assert_eq!(["1", "2", "3"].map(|hash| isolates(&log, hash)), [true; 3]);
    assert_eq!(log.isolated("a").len(), 1, "it includes the others");
    let json = log.to_json().unwrap();
    assert_eq!(DecisionLog::parse(&json).unwrap(), log);

    assert_eq!([log.end_isolation("a").len(), log.end_isolation("a").len()], [1, 0]);
    assert_eq!(log, DecisionLog::default());
}

#[test]
fn keeps_the_decisions_of_one_kind_when_those_of_the_other_end() {
    let mut log = DecisionLog::default();
    log.add("a", decision("1", 1));
    log.set_kept("a", "2");
    log.isolate("a", decision("1", 1));

    log.clear("a", "1");
    assert_eq!((log.isolated("a").len(), log.kept("a")), (1, None));
    log.add("a", decision("1", 1));
    log.end_isolation("a");
    assert_eq!((log.isolated("a").len(), log.of("a").len()), (0, 1));
}

#[test]
fn drops_the_oldest_isolated_contents() {
    let mut log = DecisionLog::default();
    for at in 0..=MAX_DECISIONS as u64 {
        log.isolate("a", Decision { by: Decider::Host, ..decision(&at.to_string(), at) });
    }
    assert_eq!((log.isolated("a").len(), log.isolated("a")[0].at), (MAX_DECISIONS, 1));

    (1..MAX_PLUGINS).for_each(|number| _ = log.add(&format!("p{number}"), decision("1", 2)));
    assert_eq!(log.isolate("new", decision("1", 1)).as_deref(), Some("p1"));
}
