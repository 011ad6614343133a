//! The program of docs/embedding.md, built outside of the workspace as its readers would do it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::build::{artifacts, root, target};
use crate::support::host::install;
use crate::support::program::{command, finish};
use crate::support::scratch::Scratch;

/// Returns the code block that begins with ` ```LANGUAGE` in docs/embedding.md.
fn block(language: &str) -> String {
    let document = fs::read_to_string(root().join("docs/embedding.md")).unwrap();
    let (_, rest) = document.split_once(&format!("```{language}\n")).expect("the document has such a block");
    rest.split_once("```").expect("the block ends").0.to_owned()
}

/// Builds the program with `change` applied to its source, and returns its path.
fn build(name: &str, change: impl Fn(String) -> String) -> PathBuf {
    // The program and the plugins are built first: concurrent builds would wait for one another.
    artifacts();
    let scratch = Scratch::new();
    let host = root().join("host");
    // The crate is not published here, so the version is replaced by a path.
    let manifest = block("toml").replace("version = \"0.1\"", &format!("path = {:?}", host));
    let package =
        format!("[workspace]\n[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    scratch.write("Cargo.toml", format!("{package}{manifest}[profile.dev]\ndebug = false\n"));
    scratch.directory("src");
    scratch.write("src/main.rs", change(block("rust")));
    // The versions of this project, so that nothing is downloaded.
    fs::copy(root().join("Cargo.lock"), scratch.join("Cargo.lock")).unwrap();

    let directory = target().join("embedding");
    let mut cargo = command(env!("CARGO"));
    cargo.args(["build", "--quiet", "--manifest-path"]).arg(scratch.join("Cargo.toml"));
    let built = finish(cargo.arg("--target-dir").arg(&directory));
    assert_eq!(built.code, 0, "{built:?}");
    directory.join("debug").join(name)
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("greets", |source| source))
}

fn isolated_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        build("greets-in-worker", |source| {
            let isolated = "let mut config = Config { listeners";
            let plugin = "config.plugin.entry(\"hello\".into()).or_default().isolation = jackfield::config::Isolation::Worker;\n    let builder =";
            let changed = source.replace("let config = Config { listeners", isolated);
            let changed = changed.replace("let builder =", plugin);
            assert_ne!(changed, source);
            changed
        })
    })
}

/// Runs the program with a plugin directory in which `library` serves as `hello`. The program
/// replaces it by the same file with a byte appended, which is other content. Returns what the
/// program prints.
#[track_caller]
fn run_with(program: &Path, library: &str) -> Vec<String> {
    let scratch = Scratch::new();
    let directory = scratch.directory("plugins");
    install(artifacts().library(library), &directory.join("libhello.so"));
    let mut newer = fs::read(artifacts().library(library)).unwrap();
    newer.push(0);
    scratch.write("newer.so", newer);

    let mut run = command(program);
    run.arg(&directory).arg(scratch.join("newer.so")).current_dir(scratch.path());
    let finished = finish(&mut run);

    assert_eq!(finished.code, 0, "{finished:?}");
    finished.stdout.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_greets_and_unloads(program: &Path) {
    let lines = run_with(program, "hello");
    assert_eq!(lines[..2], ["hello, Ada", "hello, Ada"], "{lines:?}");
    assert!(lines[2].contains("serves") && lines[3].contains("serves"), "{lines:?}");
    assert!(lines[4].ends_with("unloaded"), "{lines:?}");
}

#[test]
fn replaces_a_plugin_whose_inline_method_ran_on_its_main_thread() {
    assert_greets_and_unloads(program());
}

#[test]
fn replaces_a_plugin_that_runs_in_a_worker() {
    assert_greets_and_unloads(isolated_program());
}

/// The main thread ends with code of the previous generation in its thread-local values.
#[test]
fn keeps_code_that_its_main_thread_would_run_at_its_end() {
    let calling = |method: &str, source: String| {
        source.replace("hello.greet", method).replace("Result<String", "Result<serde_json::Value")
    };
    let keeps = build("keeps", |source| calling("threads.inline", source));

    let lines = run_with(&keeps, "uses_threads");

    assert_eq!(lines[..2], ["1", "1"], "the second generation has values of its own: {lines:?}");
    assert!(lines[4].contains("not unloaded"), "{lines:?}");
}
