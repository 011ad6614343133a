//! Libraries that a linker gave forbidden properties: refused before the dynamic loader sees them.
//! Variables that change how a library is loaded do not reach the probe.

use std::fs;
use std::path::Path;

use super::elf::{DT_NEEDED, Elf};
use super::file_content::{marking, set_mode};
use super::{assert_inspected, assert_only_neighbour, assert_refused, with_neighbour};
use crate::support::build::artifacts;
use crate::support::program::{command, finish};
use crate::support::scratch::Scratch;
use crate::support::wait_until;

const SOURCE: &str = "int jackfield_answer(void) { return 42; }\n";
/// An absolute address in the code, which the loader would have to write there.
const ADDRESS_IN_CODE: &str = "__asm__(\".text\\n.quad jackfield_answer\\n\");\n";

fn link(scratch: &Scratch, name: &str, source: &str, flags: &[&str]) {
    let file = scratch.write("source.c", source);
    let to = scratch.join(format!("lib{name}.so"));

    let mut cc = command("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(to).arg(file).args(flags).current_dir(scratch.path());
    let finished = finish(&mut cc);
    assert_eq!(finished.code, 0, "{finished:?}");
}

#[test]
fn refuses_forbidden_properties_set_by_a_linker() {
    let scratch = Scratch::new();
    let both = format!("{SOURCE}{ADDRESS_IN_CODE}");

    link(&scratch, "execstack", SOURCE, &["-Wl,-z,execstack"]);
    link(&scratch, "rpath", SOURCE, &["-Wl,-rpath,/tmp", "-Wl,--disable-new-dtags"]);
    link(&scratch, "runpath", SOURCE, &["-Wl,-rpath,$ORIGIN", "-Wl,--enable-new-dtags"]);
    link(&scratch, "textrel", &both, &["-Wl,-z,notext"]);
    link(&scratch, "needs", SOURCE, &["-Wl,--no-as-needed", "./librpath.so"]);
    link(&scratch, "plain", SOURCE, &[]);

    let wanted = [
        ("execstack", "executable-stack"),
        ("rpath", "run-path"),
        ("runpath", "run-path"),
        ("textrel", "text-relocations"),
        ("needs", "foreign-library"),
        // The control: it is refused only because it has no manifest.
        ("plain", "no-manifest"),
    ];

    let builder = with_neighbour();
    for (name, reason) in wanted {
        let (from, file) = (scratch.join(format!("lib{name}.so")), format!("plugins/lib{name}.so"));
        assert_inspected(&from, reason);
        crate::support::host::install(&from, &builder.directory().join(file));
    }

    let host = builder.start();

    for (name, reason) in wanted {
        assert_refused(&host, name, reason);
    }

    assert_only_neighbour(&host);
}

#[test]
fn hides_loader_variables_from_the_probe() {
    let builder = with_neighbour();
    let directory = builder.directory().to_owned();
    let (preloaded, found) = (directory.join("preloaded.mark"), directory.join("found.mark"));
    let library = directory.join("libpreloaded.so");
    fs::write(&library, marking(&preloaded).0).expect("a library");

    // A plugin that needs a library that only LD_LIBRARY_PATH would find.
    let mut elf = Elf::read(artifacts().library("hello"));
    let name = elf.string_of(elf.dynamic_entry(DT_NEEDED));
    let needed: Vec<u8> = elf.0[name..].iter().copied().take_while(|byte| *byte != 0).collect();
    let mut other = needed.clone();
    other[3] = b'#';
    elf.put(name, &other);
    let plugin = directory.join("plugins/libneedy.so");
    fs::write(&plugin, &elf.0).expect("a plugin");
    set_mode(&plugin, 0o644);

    let path = directory.join("libraries");
    fs::create_dir(&path).expect("a directory");
    fs::write(path.join(String::from_utf8(other).expect("a name")), marking(&found).0).expect("a library");

    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let host =
        builder.variable("LD_PRELOAD", &text(&library)).variable("LD_LIBRARY_PATH", &text(&path)).start();

    // LD_PRELOAD affects the host itself, which its operator wants, but not the probe of `device`.
    wait_until("the mark of the host", || preloaded.exists());
    // Of the same process are the lines of `env`, which the host has replaced.
    let marks = fs::read_to_string(&preloaded).expect("the mark");
    assert!(marks.lines().all(|pid| pid == host.pid().to_string()), "{marks}");
    assert_refused(&host, "needy", "load-failed");
    assert!(!found.exists(), "a library from LD_LIBRARY_PATH was opened");
    assert_only_neighbour(&host);
}
