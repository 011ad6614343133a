//! What nobody would write by hand: files too long, too deep, mutated, or not text at all.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::{Config, ConfigNotFound, FILE, faults, parse, shipped};
use crate::config::{document, parse_duration, parse_size};

/// A directory of its own for one test, gone at its end.
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
fn what_cannot_be_read_is_a_fault_too() {
    let directory = TempDirectory::new("unreadable");
    let absent = load(&directory.0.join("absent.toml"));
    assert!(absent.starts_with("1:1: cannot be read: No such file"), "{absent}");
    assert!(load(&directory.0).starts_with("1:1: cannot be read: "), "a directory is no file");
    let latin = directory.file("latin.toml", b"# \xc3\xa4\n# caf\xe9\n");
    assert_eq!(load(&latin), "2:6: byte 0xE9 is not UTF-8; save the file as UTF-8");
    let fits = directory.file("fits.toml", &vec![b'\n'; 4 << 20]);
    assert!(Config::load(&fits).is_ok());
    let long = directory.file("long.toml", &vec![b'\n'; (4 << 20) + 1]);
    assert_eq!(load(&long), "1:1: is longer than 4MiB; name a configuration file");
}

#[test]
fn the_first_file_that_exists_is_found() {
    let directory = TempDirectory::new("find");
    let absent = directory.0.join("absent.toml");
    let present = directory.file("present.toml", b"");
    assert_eq!(Config::find(Some(&present)), Ok(present.clone()));
    assert_eq!(Config::find(Some(&absent)), Err(ConfigNotFound { looked: vec![absent.clone()] }));
    let other = directory.0.join("other.toml");
    assert_eq!(document::first_existing([absent.as_path(), &present, &other]), Ok(present.clone()));
    let neither = document::first_existing([absent.as_path(), &other]).expect_err("neither is there");
    let expected = format!(
        "no configuration file at {} or {}; name one with -c FILE",
        absent.display(),
        other.display()
    );
    assert_eq!(neither.to_string(), expected);
}

/// `depth` tables in one another, more than there are braces: each brace has 70 keys with dots between.
fn deep(braces: usize) -> String {
    let dotted = format!("{}a = ", "a.".repeat(69));
    format!("{}1{}", format!("{{ {dotted}").repeat(braces), "}".repeat(braces))
}

#[test]
fn depth_is_a_fault_and_no_overflow() {
    let brackets = "[".repeat(1 << 20);
    for text in [format!("a = {brackets}"), format!("a = {}", "{a=".repeat(1 << 18))] {
        assert!(faults(&text)[0].ends_with(": not TOML: nested too deep; nest at most 80 deep"));
    }
    for text in [brackets, "a.".repeat(1 << 19), format!("\n[{}a]", "a.".repeat(1 << 19))] {
        assert!(!faults(&text).is_empty());
    }
    let dotted = faults(&format!("# {}\n\nx = 1\n[{}a]\n", ".".repeat(99), "a.".repeat(99)));
    assert_eq!(
        dotted.last().map(String::as_str),
        Some("4:1: not TOML: nested too deep; nest at most 80 deep")
    );
    // Within the parser's limits, yet 5,500 tables deep; the second is dropped by the parser itself.
    let doubled = format!("a = {0}\na = {0}\n", deep(79));
    assert_eq!(faults(&doubled).len(), 2);
    let settings = faults(&format!("[plugin.x.settings]\na = {}\n", deep(79)));
    assert_eq!(settings.len(), 1);
    assert!(settings[0].contains("settings are nested more than 64 deep; flatten them"), "{settings:?}");
}

#[test]
fn settings_as_deep_as_permitted_survive_the_way_through_json() {
    let nested =
        |depth: usize| format!("[plugin.x]\nsettings = {}1{}\n", "{ a = ".repeat(depth), "}".repeat(depth));
    let config = parse(&nested(64)).expect("64 deep is permitted");
    let text = config.plugin["x"].settings.to_string();
    let back: serde_json::Value = serde_json::from_str(&text).expect("the plugin can read it");
    assert_eq!(back, config.plugin["x"].settings);
    assert_eq!(faults(&nested(65)).len(), 1);
}

#[test]
fn a_long_file_of_faults_is_refused_in_a_thousand_short_lines() {
    // Quadratic work on any of these would take minutes, and the test would not seem to end.
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
            assert!(found[1000].contains("there are more than these 1000 faults"), "{name}");
        }
    }
}

/// Whatever the outcome, it is well formed: faults are sorted, within the text, and one line each.
fn judge(text: &str) -> Result<(), TestCaseError> {
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
        prop_assert!(!fault.what.is_empty() && !fault.instead.is_empty());
    }
    Ok(())
}

/// Pieces of which a file is made, and what disturbs it most.
fn pieces() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "\r\n",
        "\r",
        "'",
        "\"",
        "'''",
        "\"\"\"",
        "\\",
        "#",
        "0o",
        "é",
        "\u{0}",
        "\u{feff}",
        "listener",
        "route",
        "limits",
        "plugin",
        "log",
        "settings",
        "frame",
        "method",
        "'a'",
        "\"30s\"",
        "1",
        "-1",
        "inf",
        "1e999",
        "true",
        "1979-05-27",
        " ",
        "\t",
    ]);
    prop::collection::vec(prop_oneof![9 => fixed.prop_map(str::to_owned), 1 => any::<String>()], 0..60)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in any::<String>()) {
        judge(&text)?;
    }

    #[test]
    fn no_heap_of_pieces_is_too_strange(text in pieces()) {
        judge(&text)?;
    }

    #[test]
    fn no_mutation_of_a_sound_file_is_too_strange(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, pieces()), 1..6)
    ) {
        let mut text: Vec<char> = shipped().1.chars().collect();
        for (start, length, piece) in cuts {
            let start = start.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, piece.chars());
        }
        judge(&text.into_iter().collect::<String>())?;
    }

    #[test]
    fn quantities_are_read_as_they_are_written(number in 0u64..=u64::MAX >> 42) {
        prop_assert_eq!(parse_duration(&format!("{number}h")), Ok(Duration::from_secs(number * 3600)));
        prop_assert_eq!(parse_duration(&format!("{number}ms")), Ok(Duration::from_millis(number)));
        prop_assert_eq!(parse_size(&format!("{number}GiB")), Ok(number << 30));
        prop_assert_eq!(parse_size(&format!("{number}B")), Ok(number));
    }

    #[test]
    fn what_a_size_is_written_as_reads_back(bytes in any::<u64>(), shift in 0u32..64) {
        let bytes = bytes >> shift << (shift / 2);
        prop_assert_eq!(parse_size(&crate::config::units::write_size(bytes)), Ok(bytes));
    }
}
