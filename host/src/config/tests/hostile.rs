//! Files that nobody would write by hand: too long, too deeply nested, mutated, or not text.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::{Config, ConfigNotFound, FILE, faults, parse, shipped};
use crate::config::{file, parse_duration, parse_size};

/// A directory for one test, removed when it is dropped.
struct TempDirectory(PathBuf);

impl TempDirectory {
    fn new(name: &str) -> TempDirectory {
        let path = std::env::temp_dir().join(format!("jackfield-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory can be made");
        TempDirectory(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        let mut file = std::fs::File::create(&path).expect("a file can be made");
        file.write_all(bytes).expect("the file can be written");
        path
    }
}

impl Drop for TempDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load(path: &Path) -> String {
    let faults = Config::load(path).expect_err("the file has faults").to_string();
    let prefix = format!("{}:", path.display());
    faults.lines().map(|line| line.strip_prefix(&prefix).expect("every line names the file")).collect()
}

#[test]
fn reports_a_file_that_cannot_be_read_as_a_fault() {
    let directory = TempDirectory::new("unreadable");
    let absent = load(&directory.0.join("absent.toml"));
    assert!(absent.starts_with("1:1: cannot be read: No such file"), "{absent}");
    assert!(load(&directory.0).starts_with("1:1: cannot be read: "), "a directory");
    let latin = directory.file("latin.toml", b"# \xc3\xa4\n# caf\xe9\n");
    assert_eq!(load(&latin), "2:6: byte 0xE9 is not UTF-8; save the file as UTF-8");
    let fits = directory.file("fits.toml", &vec![b'\n'; 4 << 20]);
    assert!(Config::load(&fits).is_ok());
    let long = directory.file("long.toml", &vec![b'\n'; (4 << 20) + 1]);
    assert_eq!(load(&long), "1:1: is longer than 4MiB; pass a configuration file");
}

#[test]
fn finds_the_first_file_that_exists() {
    let directory = TempDirectory::new("find");
    let absent = directory.0.join("absent.toml");
    let present = directory.file("present.toml", b"");
    assert_eq!(Config::find(Some(&present)), Ok(present.clone()));
    assert_eq!(Config::find(Some(&absent)), Err(ConfigNotFound { paths: vec![absent.clone()] }));
    let other = directory.0.join("other.toml");
    assert_eq!(file::first_existing([absent.as_path(), &present, &other]), Ok(present.clone()));
    let neither = file::first_existing([absent.as_path(), &other]).expect_err("neither exists");
    let expected = format!(
        "no configuration file at {} or {}; pass one with -c FILE",
        absent.display(),
        other.display()
    );
    assert_eq!(neither.to_string(), expected);
}

/// Nested tables, more of them than braces: each brace contains 70 keys with dots between.
fn deep(braces: usize) -> String {
    let dotted = format!("{}a = ", "a.".repeat(69));
    format!("{}1{}", format!("{{ {dotted}").repeat(braces), "}".repeat(braces))
}

#[test]
fn reports_deep_nesting_as_a_fault_without_overflowing_the_stack() {
    let brackets = "[".repeat(1 << 20);
    for text in [format!("a = {brackets}"), format!("a = {}", "{a=".repeat(1 << 18))] {
        assert!(faults(&text)[0].ends_with(": invalid TOML: nested too deeply; nest at most 80 levels deep"));
    }
    for text in [brackets, "a.".repeat(1 << 19), format!("\n[{}a]", "a.".repeat(1 << 19))] {
        assert!(!faults(&text).is_empty());
    }
    let dotted = faults(&format!("# {}\n\nx = 1\n[{}a]\n", ".".repeat(99), "a.".repeat(99)));
    assert_eq!(
        dotted.last().map(String::as_str),
        Some("4:1: invalid TOML: nested too deeply; nest at most 80 levels deep")
    );
    // 5,500 nested tables are within the limits of the parser, which drops the second of them
    // itself.
    let doubled = format!("a = {0}\na = {0}\n", deep(79));
    assert_eq!(faults(&doubled).len(), 2);
    let settings = faults(&format!("[plugin.x.settings]\na = {}\n", deep(79)));
    assert_eq!(settings.len(), 1);
    assert!(
        settings[0].contains("settings are nested more than 64 levels deep; flatten them"),
        "{settings:?}"
    );
}

#[test]
fn converts_settings_of_the_permitted_depth_to_json_and_back() {
    let nested =
        |depth: usize| format!("[plugin.x]\nsettings = {}1{}\n", "{ a = ".repeat(depth), "}".repeat(depth));
    let config = parse(&nested(64)).expect("64 deep is permitted");
    let text = config.plugin["x"].settings.to_string();
    let parsed: serde_json::Value = serde_json::from_str(&text).expect("the plugin can parse it");
    assert_eq!(parsed, config.plugin["x"].settings);
    assert_eq!(faults(&nested(65)).len(), 1);
}

#[test]
fn limits_the_number_and_the_length_of_faults() {
    // With quadratic work on any of these, the test would take minutes.
    let digits = "9".repeat(500_000);
    let inputs: [(&str, String); 8] = [
        ("unknown tables", (0..20_000).map(|index| format!("[a{index}]\n")).collect()),
        ("routes", "[[route]]\n".repeat(30_000)),
        ("one line", format!("route = [{}]", "{ é = 1 },".repeat(20_000))),
        ("duplicates", "a = 1\n".repeat(50_000)),
        ("no values", "a\n".repeat(100_000)),
        (
            "listeners",
            (0..10_000).map(|index| format!("[[listener]]\nsocket = 'a{}'\n", index % 4_999)).collect(),
        ),
        (
            "long numbers",
            format!(
                "[limits]\nconnections = {digits}\n[plugin.x.settings]\na = {digits}\nb = {digits}.0e999\n"
            ),
        ),
        ("long key", format!("[limits]\n{} = 1\n", "in_flight".repeat(100_000))),
    ];

    for (name, text) in inputs {
        let found = faults(&text);
        assert!(!found.is_empty() && found.len() <= 1001, "{name}: {} faults", found.len());
        assert!(found.iter().all(|line| line.len() < 500), "{name}: a line as long as the file");
        if found.len() == 1001 {
            assert!(found[1000].contains("there are more than 1000 faults"), "{name}");
        }
    }
}

/// Checks that all faults are sorted, lie within the text, and take one line each.
fn check_faults(text: &str) -> Result<(), TestCaseError> {
    let Err(faults) = Config::parse(text, Path::new(FILE)) else { return Ok(()) };
    prop_assert!(!faults.0.is_empty());
    prop_assert!(faults.0.is_sorted_by_key(|fault| (fault.line, fault.column)));
    prop_assert_eq!(faults.to_string().lines().count(), faults.0.len());
    let lines: Vec<_> = text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').collect();
    for fault in &faults {
        prop_assert!(fault.line >= 1 && fault.column >= 1);
        let line = lines.get(fault.line as usize - 1);
        let characters = line.map(|line| line.chars().count());
        prop_assert!(characters.is_some_and(|count| fault.column as usize <= count + 1), "{}", fault);
        prop_assert!(!fault.problem.is_empty() && !fault.remedy.is_empty());
    }
    Ok(())
}

/// Texts made of tokens, of which some are likely to disturb the parser.
fn tokens() -> impl Strategy<Value = String> {
    #[rustfmt::skip] // many tokens a line
    let fixed = prop::sample::select(vec![
        "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\n", "\r\n", "\r", "'", "\"", "'''", "\"\"\"", "\\", "#",
        "0o", "é", "\u{0}", "\u{feff}", "listener", "route", "limits", "plugin", "plugins", "deaths", "crash", "log",
        "settings", "frame", "method", "'a'", "\"30s\"", "1", "-1", "inf", "1e999", "true", "1979-05-27", " ", "\t",
    ]);
    prop::collection::vec(prop_oneof![9 => fixed.prop_map(str::to_owned), 1 => any::<String>()], 0..60)
        .prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn survives_any_text(text in any::<String>()) {
        check_faults(&text)?;
    }

    #[test]
    fn survives_any_sequence_of_tokens(text in tokens()) {
        check_faults(&text)?;
    }

    #[test]
    fn survives_any_mutation_of_a_valid_file(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, tokens()), 1..6)
    ) {
        let mut text: Vec<char> = shipped().1.chars().collect();
        for (start, length, piece) in cuts {
            let start = start.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, piece.chars());
        }
        check_faults(&text.into_iter().collect::<String>())?;
    }

    #[test]
    fn parses_quantities(number in 0u64..=u64::MAX >> 42) {
        prop_assert_eq!(parse_duration(&format!("{number}h")), Ok(Duration::from_secs(number * 3600)));
        prop_assert_eq!(parse_duration(&format!("{number}ms")), Ok(Duration::from_millis(number)));
        prop_assert_eq!(parse_size(&format!("{number}GiB")), Ok(number << 30));
        prop_assert_eq!(parse_size(&format!("{number}B")), Ok(number));
    }

    #[test]
    fn parses_the_sizes_that_it_writes(bytes in any::<u64>(), shift in 0u32..64) {
        let bytes = bytes >> shift << (shift / 2);
        prop_assert_eq!(parse_size(&crate::config::units::write_size(bytes)), Ok(bytes));
    }
}
