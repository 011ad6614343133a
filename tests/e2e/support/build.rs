//! Builds the program, the plugins and the fixtures, once per run, and finds what came of it.
//!
//! At run time and not in a build script: `cargo test` holds the lock on the target directory while those run, and
//! leaves cdylibs of other packages where no test finds them. What cargo prints as JSON says where each file is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The profile the program and its plugins are built with: `dev` unless this says otherwise.
const PROFILE: &str = "JACKFIELD_TEST_PROFILE";

/// What was built.
pub(crate) struct Artifacts {
    /// The program `jackfield`.
    pub(crate) program: PathBuf,
    /// Shared libraries by target name: `device`, `hello`, and each fixture by its file's stem.
    libraries: BTreeMap<String, PathBuf>,
}

impl Artifacts {
    /// The shared library of this name.
    #[track_caller]
    pub(crate) fn library(&self, name: &str) -> &Path {
        let Some(path) = self.libraries.get(name) else {
            let known: Vec<_> = self.libraries.keys().collect();
            panic!("no plugin or fixture is called {name:?}; there are {known:?}");
        };
        path
    }
}

/// What is tested; the first caller builds it.
pub(crate) fn artifacts() -> &'static Artifacts {
    static ARTIFACTS: OnceLock<Artifacts> = OnceLock::new();
    ARTIFACTS.get_or_init(build)
}

/// Builds an example program of the package `jackfield`, and gives back where it is.
pub(crate) fn example(name: &str) -> PathBuf {
    example_of("jackfield", name)
}

/// As [`example`], of any package.
pub(crate) fn example_of(package: &str, name: &str) -> PathBuf {
    let built = cargo(&root(), &target(), &["-p", package, "--example", name, "--profile", &profile()]);
    let example = built.into_iter().find(|built| built.kind == "example" && built.name == name);
    example.expect("cargo says where the example is").file
}

/// The project's root directory.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are in a directory of the project").to_owned()
}

/// The target directory that this very program was built in: whatever set it, it holds for what we build too.
fn target() -> PathBuf {
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
    let mut words = vec!["-p", "jackfield", "--bin", "jackfield", "--lib", "--profile", &profile];
    // Each step of a reload can be told to fail; without a file that says so, none does.
    words.extend(["--features", "jackfield/failpoints"]);
    for plugin in &plugins {
        words.extend(["-p", plugin]);
    }
    let mut built = cargo(&root, &target, &words);
    // The fixtures are a workspace of their own, with one profile of their own for the one that aborts.
    let fixtures = root.join("tests/fixtures");
    let below = target.join("fixtures");
    built.extend(cargo(&fixtures, &below, &["--examples"]));
    built.extend(cargo(&fixtures, &below, &["--example", "panic_abort", "--profile", "abort"]));

    let mut program = None;
    let mut libraries = BTreeMap::new();
    for Built { name, kind, file } in built {
        if kind == "bin" && name == "jackfield" {
            program = Some(file);
        } else if file.extension().is_some_and(|extension| extension == "so") && kind != "proc-macro" {
            // Built again with another profile, the later one is meant.
            libraries.insert(name, file);
        }
    }
    Artifacts { program: program.expect("cargo says where the program is"), libraries }
}

/// The names of the packages right below a directory.
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

/// One file that cargo made.
struct Built {
    name: String,
    kind: String,
    file: PathBuf,
}

fn cargo(directory: &Path, target: &Path, words: &[&str]) -> Vec<Built> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .arg("build")
        .args(words)
        .args(["--message-format=json-render-diagnostics", "--quiet"])
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", target)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo build {words:?} in {}: {}", directory.display(), output.status);
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
