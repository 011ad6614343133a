//! Hardening of the linked program and plugins, which makes memory errors harder to exploit.

use std::path::Path;

use crate::support::build::artifacts;
use crate::support::program::{command, finish};

/// Returns the description of a file by `readelf`, which comes with every C compiler.
fn readelf(file: &Path) -> String {
    let finished =
        finish(command("readelf").args(["--file-header", "--segments", "--dynamic", "--wide"]).arg(file));
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    finished.stdout
}

/// Returns the lines whose first or second word is `first`, in parentheses or not.
fn lines<'a>(description: &'a str, first: &str) -> Vec<&'a str> {
    let is_it = |word: &str| word.trim_matches(['(', ')']) == first;
    description.lines().filter(|line| line.split_whitespace().take(2).any(is_it)).collect()
}

/// Returns the permissions of a segment (R, W, E): the words between its sizes and its alignment.
fn permissions(segment: &str) -> String {
    segment
        .split_whitespace()
        .skip(6)
        .take_while(|word| word.chars().all(|flag| "RWE".contains(flag)))
        .collect()
}

#[track_caller]
fn assert_hardened(file: &Path) {
    let description = readelf(file);
    let shown = || format!("{}:\n{description}", file.display());

    // The file is position independent, so that no address in it is known in advance.
    assert!(lines(&description, "Type:")[0].contains("DYN"), "{}", shown());

    // No memory is both writable and executable, including the stack.
    let [stack] = lines(&description, "GNU_STACK")[..] else { panic!("{}", shown()) };
    assert_eq!(permissions(stack), "RW", "{}", shown());
    let loaded = lines(&description, "LOAD");
    assert!(loaded.len() >= 3 && loaded.iter().any(|segment| permissions(segment) == "RE"), "{}", shown());
    assert!(
        loaded
            .iter()
            .all(|segment| !(permissions(segment).contains('W') && permissions(segment).contains('E'))),
        "{}",
        shown()
    );

    // The loader resolves all symbols at start and makes their table read-only afterwards.
    assert_eq!(lines(&description, "GNU_RELRO").len(), 1, "{}", shown());
    let flags = [lines(&description, "FLAGS"), lines(&description, "FLAGS_1")].concat();
    assert!(flags.iter().any(|line| line.contains("NOW")), "{}", shown());

    // Libraries are loaded only from the directories of the system.
    assert!(
        lines(&description, "RPATH").is_empty() && lines(&description, "RUNPATH").is_empty(),
        "{}",
        shown()
    );
}

#[test]
fn links_the_program_and_its_plugins_hardened() {
    assert_hardened(&artifacts().program);
    for plugin in ["hello", "device", "journal"] {
        assert_hardened(artifacts().library(plugin));
    }
}

#[test]
fn detects_a_program_without_hardening() {
    let scratch = crate::support::scratch::Scratch::new();
    scratch.write("main.c", "int main(void) { return 0; }");

    let link = |flags: &[&str]| {
        let file = scratch.join("linked");
        let mut command = command("cc");
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
