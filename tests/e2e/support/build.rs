//! Builds the program, the plugins and the fixtures once per run, and locates the results.
//!
//! This happens at run time and not in a build script: `cargo test` holds the lock on the target
//! directory while build scripts run, and it leaves the cdylibs of other packages where no test
//! finds them. The JSON messages of cargo state the path of each file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use serde_json::Value;

use super::program::command;

/// Environment variable with the profile of the program and its plugins; `dev` if it is not set.
const PROFILE: &str = "JACKFIELD_TEST_PROFILE";

/// The files that were built.
pub(crate) struct Artifacts {
    /// The program `jackfield`.
    pub(crate) program: PathBuf,
    /// Shared libraries by target name: `device`, `hello`, and each fixture by the stem of its
    /// file.
    libraries: BTreeMap<String, PathBuf>,
}

impl Artifacts {
    /// Returns the shared library of this name.
    #[track_caller]
    pub(crate) fn library(&self, name: &str) -> &Path {
        let Some(path) = self.libraries.get(name) else {
            let known: Vec<_> = self.libraries.keys().collect();
            panic!("no plugin or fixture is called {name:?}; there are {known:?}");
        };
        path
    }
}

/// Returns the files under test. The first caller builds them.
pub(crate) fn artifacts() -> &'static Artifacts {
    static ARTIFACTS: OnceLock<Artifacts> = OnceLock::new();
    ARTIFACTS.get_or_init(build)
}

/// Builds an example program of the package `jackfield` and returns its path.
pub(crate) fn example(name: &str) -> PathBuf {
    example_of("jackfield", name)
}

/// Builds an example program of any package and returns its path.
pub(crate) fn example_of(package: &str, name: &str) -> PathBuf {
    let built = cargo(&root(), &target(), &["-p", package, "--example", name, "--profile", &profile()]);
    let example = built.into_iter().find(|built| built.kind == "example" && built.name == name);
    example.expect("cargo reports the path of the example").file
}

/// Builds the only program of a package and returns its path.
pub(crate) fn program_of(package: &str) -> PathBuf {
    let built = cargo(&root(), &target(), &["-p", package, "--profile", &profile()]);
    let program = built.into_iter().find(|built| built.kind == "bin" && built.name == package);
    program.expect("cargo reports the path of the program").file
}

/// Builds two fixtures with a feature of their package, and returns their paths.
pub(crate) fn fixtures_with_feature(feature: &str, names: [&str; 2]) -> [PathBuf; 2] {
    let [first, second] = names;
    let args = ["--features", feature, "--example", first, "--example", second];
    let built = cargo(&root().join("tests/fixtures"), &target().join("fixtures"), &args);
    names.map(|name| {
        let fixture = built.iter().find(|built| built.kind == "example" && built.name == name);
        fixture.expect("cargo reports the path of the fixture").file.clone()
    })
}

/// Returns the root directory of the project.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are in a directory of the project").to_owned()
}

/// Returns the target directory that this test program was built in, so that everything else is
/// built there, too.
pub(crate) fn target() -> PathBuf {
    let own = std::env::current_exe().expect("our own path");
    // TARGET/PROFILE/deps/e2e-HASH
    own.ancestors().nth(3).expect("a test program lies in a target directory").to_owned()
}

fn profile() -> String {
    std::env::var(PROFILE).unwrap_or_else(|_| "dev".to_owned())
}

fn build() -> Artifacts {
    let (root, target, profile) = (root(), target(), profile());
    let plugins = packages_in(&root.join("plugins"));

    let mut args = vec!["-p", "jackfield", "--bin", "jackfield", "--lib", "--profile", &profile];
    // A reload can be made to fail at each of its steps. None fails unless a file requests it.
    args.extend(["--features", "jackfield/failpoints"]);
    for plugin in &plugins {
        args.extend(["-p", plugin]);
    }

    let mut built = cargo(&root, &target, &args);

    // The fixtures are a separate workspace, which has a separate profile for the one that aborts
    // on panic.
    let fixtures = root.join("tests/fixtures");
    let fixture_target = target.join("fixtures");
    built.extend(cargo(&fixtures, &fixture_target, &["--examples"]));
    built.extend(cargo(&fixtures, &fixture_target, &["--example", "panic_abort", "--profile", "abort"]));

    let mut program = None;
    let mut libraries = BTreeMap::new();
    for Built { name, kind, file } in built {
        if kind == "bin" && name == "jackfield" {
            program = Some(file);
        } else if file.extension().is_some_and(|extension| extension == "so") && kind != "proc-macro" {
            // If a library is built with two profiles, the later one is meant.
            libraries.insert(name, file);
        }
    }
    Artifacts { program: program.expect("cargo reports the path of the program"), libraries }
}

/// Returns the names of the packages directly fixture_target a directory.
fn packages_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory of the plugins");
    let manifests =
        entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("Cargo.toml")).ok());
    let name = |manifest: String| {
        let line = manifest.lines().find(|line| line.starts_with("name = ")).expect("a package has a name");
        line.trim_start_matches("name = ").trim_matches('"').to_owned()
    };
    manifests.map(name).collect()
}

/// A file that cargo built.
struct Built {
    name: String,
    kind: String,
    file: PathBuf,
}

fn cargo(directory: &Path, target: &Path, args: &[&str]) -> Vec<Built> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = command(cargo)
        .arg("build")
        .args(args)
        .args(["--message-format=json-render-diagnostics", "--quiet"])
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", target)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo build {args:?} in {}: {}", directory.display(), output.status);

    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let messages = lines.map(|line| serde_json::from_slice::<Value>(line).expect("cargo prints JSON"));
    messages
        .filter(|message| message["reason"] == "compiler-artifact")
        .flat_map(|message| files_of(&message))
        .collect()
}

fn files_of(message: &Value) -> Vec<Built> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (name, kind) = (text(&message["target"]["name"]), text(&message["target"]["kind"][0]));
    let files = message["filenames"].as_array().into_iter().flatten();
    files.map(|file| Built { name: name.clone(), kind: kind.clone(), file: text(file).into() }).collect()
}
