//! How the program and the plugins are linked: what makes a fault in them harder to use for
//! somebody else.

use std::path::Path;
use std::process::Command;

use crate::support::build::artifacts;
use crate::support::program::finish;

/// What `readelf`, which comes with every C compiler, says of a file.
fn told(file: &Path) -> String {
    let finished = finish(
        Command::new("readelf").args(["--file-header", "--segments", "--dynamic", "--wide"]).arg(file),
    );
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    finished.stdout
}

/// The lines of which the first word is this one, in parentheses or not.
fn lines<'a>(told: &'a str, first: &str) -> Vec<&'a str> {
    let is_it = |word: &str| word.trim_matches(['(', ')']) == first;
    told.lines().filter(|line| line.split_whitespace().take(2).any(is_it)).collect()
}

/// What a segment may do, of R, W and E: the words between its sizes and its alignment.
fn may(segment: &str) -> String {
    segment
        .split_whitespace()
        .skip(6)
        .take_while(|word| word.chars().all(|may| "RWE".contains(may)))
        .collect()
}

#[track_caller]
fn assert_hardened(file: &Path) {
    let told = told(file);
    let shown = || format!("{}:\n{told}", file.display());
    // Loaded anywhere, so that no address in it is known beforehand.
    assert!(lines(&told, "Type:")[0].contains("DYN"), "{}", shown());
    // No memory that is written to is run, the stack included.
    let [stack] = lines(&told, "GNU_STACK")[..] else { panic!("{}", shown()) };
    assert_eq!(may(stack), "RW", "{}", shown());
    let loaded = lines(&told, "LOAD");
    assert!(loaded.len() >= 3 && loaded.iter().any(|segment| may(segment) == "RE"), "{}", shown());
    assert!(
        loaded.iter().all(|segment| !(may(segment).contains('W') && may(segment).contains('E'))),
        "{}",
        shown()
    );
    // What the loader fills in is filled in at once, and read-only from then on.
    assert_eq!(lines(&told, "GNU_RELRO").len(), 1, "{}", shown());
    let flags = [lines(&told, "FLAGS"), lines(&told, "FLAGS_1")].concat();
    assert!(flags.iter().any(|line| line.contains("NOW")), "{}", shown());
    // Libraries come from where the system has them.
    assert!(lines(&told, "RPATH").is_empty() && lines(&told, "RUNPATH").is_empty(), "{}", shown());
}

/// E26.
#[test]
fn the_program_and_its_plugins_are_linked_with_what_a_system_offers() {
    assert_hardened(&artifacts().program);
    for plugin in ["hello", "device", "journal"] {
        assert_hardened(artifacts().library(plugin));
    }
}

#[test]
fn a_program_that_is_linked_otherwise_is_seen() {
    let scratch = crate::support::scratch::Scratch::new();
    scratch.write("main.c", "int main(void) { return 0; }");
    let link = |flags: &[&str]| {
        let file = scratch.join("linked");
        let mut command = Command::new("cc");
        let finished = finish(command.args(flags).arg("-o").arg(&file).arg(scratch.join("main.c")));
        assert_eq!(finished.code, 0, "{}", finished.stderr);
        std::panic::catch_unwind(|| assert_hardened(&file)).is_ok()
    };
    const GOOD: [&str; 3] = ["-fPIE", "-pie", "-Wl,-z,relro,-z,now,-z,noexecstack"];
    assert!(link(&GOOD));
    for bad in ["-no-pie", "-Wl,-z,execstack", "-Wl,-z,norelro", "-Wl,-z,lazy", "-Wl,-rpath,/tmp"] {
        assert!(!link(&[&GOOD[..], &[bad]].concat()), "{bad}");
    }
}
