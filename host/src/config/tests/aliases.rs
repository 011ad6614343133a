//! Deprecated names of keys: they work, are remembered, and must not be mixed with the new names.

use std::path::Path;
use std::time::Duration;

use super::super::alias::ALIASES;
use super::super::{CrashAction, CrashConfig, Place};
use super::{faults, parse, valid};

/// The deprecated names and their places, as `LINE:COLUMN NAME`.
fn deprecated(text: &str) -> Vec<String> {
    let place = |Place { line, column }: Place| format!("{line}:{column}");
    let config = valid(text);
    config.deprecated.iter().map(|key| format!("{} {}", place(key.place), key.deprecated)).collect()
}

/// The same configuration once by the current and once by the deprecated names.
const CURRENT: &str = "[plugins]\nstate_transfer = '2s'\n[plugins.crash]\nrecord = 'r'\nmost = 7\nwindow = '1h'\naction = 'worker'\n";
const DEPRECATED: &str = "[plugins]\nhand_over = '2s'\n[plugins.deaths]\nrecord = 'r'\nmost = 7\nwindow = '1h'\naction = 'worker'\n";

#[test]
fn reads_the_same_values_by_deprecated_names() {
    let current = valid(CURRENT).plugins;
    let crash = CrashConfig {
        record: Some("etc/r".into()),
        most: 7,
        window: Duration::from_secs(3600),
        action: CrashAction::Worker,
    };
    assert_eq!((&current.crash, current.state_transfer), (&crash, Duration::from_secs(2)));
    assert_eq!(valid(DEPRECATED).plugins, current);
}

#[test]
fn remembers_each_deprecated_name_once_with_its_place() {
    assert_eq!(deprecated(CURRENT), [""; 0]);
    assert_eq!(deprecated(""), [""; 0]);
    assert_eq!(deprecated(DEPRECATED), ["2:1 plugins.hand_over", "3:10 plugins.deaths"]);
    assert_eq!(deprecated("plugins.deaths.most = 1\nplugins.deaths.window = '1h'"), ["1:9 plugins.deaths"]);
    assert_eq!(deprecated("plugins = { deaths = { most = 1 } }"), ["1:13 plugins.deaths"]);
    assert_eq!(deprecated("[plugins]\ndeaths = {}\nstate_transfer = '1s'"), ["2:1 plugins.deaths"]);
}

#[test]
fn tells_how_to_rename_a_deprecated_key() {
    let messages: Vec<_> = valid(DEPRECATED).deprecated.iter().map(ToString::to_string).collect();
    let expected = [
        "plugins.hand_over is deprecated: rename it to plugins.state_transfer",
        "plugins.deaths is deprecated: rename it to plugins.crash",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn refuses_both_names_of_a_key() {
    let both =
        "[plugins]\nhand_over = '1s'\nstate_transfer = '1s'\n[plugins.crash]\n[plugins.deaths]\nmost = 1\n";
    let expected = [
        "2:1: plugins.hand_over is the deprecated name of plugins.state_transfer, which line 3 also sets; \
         keep plugins.state_transfer and remove plugins.hand_over",
        "5:10: plugins.deaths is the deprecated name of plugins.crash, which line 4 also sets; \
         keep plugins.crash and remove plugins.deaths",
    ];
    assert_eq!(faults(both), expected);
    for alias in &ALIASES {
        let both = format!("{} = 1\n{} = 1\n", alias.deprecated, alias.name);
        assert!(parse(&both).is_err(), "{both}");
    }
}

#[test]
fn names_the_key_that_the_file_uses_in_faults() {
    let cases = [
        ("deaths = 1", "2:10: plugins.deaths is an integer; write a table, [plugins.deaths]"),
        (
            "hand_over = 1",
            "2:13: plugins.hand_over is an integer; write a duration with its unit, in quotes, such as \"1s\"",
        ),
        (
            "deaths.most = 65",
            "2:15: plugins.deaths.most = 65 is out of range; write an integer from 0 to 64, without quotes",
        ),
        (
            "deaths.least = 1",
            "2:8: unknown key \"least\" in [plugins.deaths]; the known keys are action, most, record, window",
        ),
        (
            "crash.most = 65",
            "2:14: plugins.crash.most = 65 is out of range; write an integer from 0 to 64, without quotes",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(faults(&format!("[plugins]\n{line}\n")), [expected], "{line}");
    }
}

#[test]
fn returns_the_name_that_the_file_uses() {
    let config = valid("[plugins]\nhand_over = '2s'");
    assert_eq!(config.name_in_file("plugins.state_transfer"), "plugins.hand_over");
    assert_eq!(config.name_in_file("plugins.crash"), "plugins.crash");
    assert_eq!(config.file.as_deref(), Some(Path::new(super::FILE)));
}

#[test]
fn suggests_only_current_names() {
    let known = "the known keys are auto_route, crash, directory, incompatible, probation, probe, retained, state, state_transfer, trusted_keys, watch";
    assert_eq!(faults("[plugins]\ndeath = 1"), [format!("2:1: unknown key \"death\" in [plugins]; {known}")]);
}

#[test]
fn accepts_a_deprecated_name_only_in_its_table() {
    assert!(faults("[plugin.plugins]\ndeaths = 1")[0].starts_with("2:1: unknown key \"deaths\""));
    assert!(faults("deaths = 1")[0].starts_with("1:1: unknown key \"deaths\""));
}
