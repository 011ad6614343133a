//! Deprecated names of configuration keys: they work with one warning each, and must not be set
//! together with the current names.

use super::EX_CONFIG;
use crate::support::HostProcess;
use crate::support::program::jackfield;
use crate::support::scratch::Scratch;

/// All keys with a deprecated name, by that name.
const DEPRECATED: &str = "[plugins]\nhand_over = \"2s\"\n[plugins.deaths]\nrecord = \"run/elsewhere\"\n";

/// The warnings for [`DEPRECATED`], without the name of the file.
const WARNINGS: [&str; 2] = [
    "plugins.hand_over is deprecated: rename it to plugins.state_transfer",
    "plugins.deaths is deprecated: rename it to plugins.crash",
];

/// Both names of each key.
const BOTH: &str =
    "[plugins]\nhand_over = \"2s\"\nstate_transfer = \"2s\"\n[plugins.deaths]\n[plugins.crash]\n";

/// The faults of [`BOTH`].
const FAULTS: [&str; 2] = [
    "2:1: plugins.hand_over is the deprecated name of plugins.state_transfer, which line 3 also sets; \
     keep plugins.state_transfer and remove plugins.hand_over",
    "4:10: plugins.deaths is the deprecated name of plugins.crash, which line 5 also sets; \
     keep plugins.crash and remove plugins.deaths",
];

/// A directory with this configuration and an empty plugin directory.
fn directory_with(config: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.directory("plugins");
    scratch.write("config.toml", config);
    scratch
}

#[test]
fn warns_once_at_start_about_each_deprecated_key_and_uses_it() {
    let host = HostProcess::builder().config(DEPRECATED).start();
    let file = host.path("config.toml");
    for warning in WARNINGS {
        let message = format!("{}: {warning}", file.display());
        let lines: Vec<_> = host.log_lines().into_iter().filter(|line| line.contains(&message)).collect();
        assert_eq!(lines.len(), 1, "{message}: {}", host.log());
        assert!(lines[0].contains("WARN"), "{}", lines[0]);
    }
    assert!(host.path("run/elsewhere/running").exists());
    assert!(!host.path("run/recorder").exists());
}

#[test]
fn does_not_warn_about_current_names() {
    let config = "[plugins]\nstate_transfer = \"2s\"\n[plugins.crash]\nrecord = \"run/elsewhere\"\n";
    let host = HostProcess::builder().config(config).start();
    assert!(host.path("run/elsewhere/running").exists());
    assert!(!host.log_contains("deprecated"), "{}", host.log());
}

#[test]
fn check_warns_about_deprecated_keys_without_failing() {
    let scratch = directory_with(DEPRECATED);
    let checked = jackfield(scratch.path(), &["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let lines: Vec<_> = checked.stderr.lines().collect();
    let expected = [
        format!("./config.toml:2:1: warning: {}", WARNINGS[0]),
        format!("./config.toml:3:10: warning: {}", WARNINGS[1]),
    ];
    assert_eq!(lines, expected);
    assert!(checked.stdout.contains("no fault"), "{checked:?}");
}

#[test]
fn refuses_a_file_that_sets_both_names_of_a_key() {
    let scratch = directory_with(BOTH);
    for command in ["check", "serve"] {
        let refused = jackfield(scratch.path(), &[command]);
        assert_eq!(refused.code, EX_CONFIG, "{command}: {refused:?}");
        let lines: Vec<_> = refused.stderr.lines().collect();
        assert_eq!(lines, FAULTS.map(|fault| format!("./config.toml:{fault}")), "{command}");
    }
    assert!(!scratch.join("run").exists(), "nothing is bound");
}
