//! Claims of the documents, checked against the project: linked files, code examples, commands, and
//! the module map.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::HostProcess;
use crate::support::build::root;
use crate::support::program::{command, finish, jackfield};

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns every Markdown document of the project.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut places = vec![root()];

    while let Some(place) = places.pop() {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir()
                && !name.starts_with('.')
                && !["target", "run", "vendor", "node_modules"].contains(&name)
            {
                places.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }

    assert!(found.len() >= 8, "{found:?}");
    found
}

/// Returns the code blocks of a document whose fence is followed by this language.
fn blocks(text: &str, fence: &str) -> Vec<String> {
    let fence = format!("```{fence}\n");
    let parts = text.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn links_to_existing_files_only() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap().split('#').next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                let file = document.parent().unwrap().join(target);
                assert!(file.exists(), "{}: {target}", document.display());
            }
        }
    }
}

#[test]
fn describes_exactly_the_existing_modules_in_the_architecture() {
    let map = read("ARCHITECTURE.md");

    assert!(map.lines().count() < 250);
    let host = map.split("## The host").nth(1).unwrap();

    let modules: Vec<_> =
        fs::read_dir(root().join("host/src")).unwrap().map(|entry| entry.unwrap().path()).collect();

    for module in modules.iter().filter(|path| path.is_dir()) {
        let name = module.file_name().unwrap().to_str().unwrap();
        assert!(host.contains(&format!("| `{name}/` |")), "ARCHITECTURE.md does not describe {name}");
    }

    for line in map.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap();
        for name in cell.split('`').skip(1).step_by(2).filter(|name| name.ends_with('/')) {
            let exists = root().join(name).is_dir() || root().join("host/src").join(name).is_dir();
            assert!(exists, "ARCHITECTURE.md describes {name}, which is missing");
        }
    }
}

#[test]
fn confines_unsafe_code_to_the_documented_modules() {
    let mut places =
        vec![root().join("host/src"), root().join("plugin-api/src"), root().join("protocol/src")];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                places.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();

            let has = text.lines().any(|line| line.contains("unsafe {") || line.contains("unsafe impl"));

            let file = path.strip_prefix(root()).unwrap();
            let modules = [
                "host/src/loader",
                "host/src/crash_record/mapping.rs",
                "host/src/cli/end_limit.rs",
                "plugin-api/src/abi",
            ];
            let allowed = modules.iter().any(|allowed| file.starts_with(allowed));
            assert!(!has || allowed, "{}", path.display());
        }
    }
}

#[test]
fn shows_the_source_of_the_hello_plugin() {
    let shown = blocks(&read("README.md"), "rust");

    assert_eq!(shown, [read("plugins/hello/src/lib.rs")]);
}

#[test]
fn shows_a_php_example_that_works() {
    let shown = blocks(&read("README.md"), "php").remove(0);
    let host = HostProcess::with(&["hello"]);

    let script = format!("<?php\n{shown}")
        .replace(
            "'clients/php/autoload.php'",
            &format!("'{}'", root().join("clients/php/autoload.php").display()),
        )
        .replace("unix://run/jackfield.sock", &format!("unix://{}", host.socket().display()));

    let finished = finish(command("php").arg("-r").arg(script.trim_start_matches("<?php\n")));
    assert_eq!((finished.code, finished.stdout.as_str()), (0, "hello, Ada\n"), "{}", finished.stderr);
}

#[test]
fn names_existing_commands_only() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for block in blocks(&text, "sh") {
            for line in block.lines().filter(|line| !line.trim_start().starts_with('#')) {
                let mut words = line.split_whitespace();
                match words.next().map(Path::new).and_then(|word| word.file_name()?.to_str()) {
                    Some("jackfield") => {
                        let commands: Vec<_> = words
                            .take_while(|word| word.bytes().all(|b| b.is_ascii_lowercase()))
                            .take(2)
                            .collect();
                        let [first, rest @ ..] = &commands[..] else { continue };
                        let arguments: Vec<_> =
                            if *first == "plugin" { vec![*first, rest[0]] } else { vec![*first] };
                        let arguments: Vec<_> = arguments.into_iter().chain(["--help"]).collect();
                        let finished = jackfield(Path::new("/"), &arguments);
                        assert_eq!(finished.code, 0, "{}: {line}", document.display());
                    }
                    Some("make") => {
                        let target = words.next().unwrap();
                        let rule = format!("\n{target}:");
                        assert!(read("Makefile").contains(&rule), "{}: {line}", document.display());
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn has_a_section_for_unreleased_changes() {
    assert!(read("CHANGELOG.md").contains("\n## Unreleased\n"));
}

#[test]
fn names_the_required_version_of_rust() {
    let manifest = read("Cargo.toml");
    let version = manifest.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();

    assert!(read("README.md").contains(&format!("Rust {version} or newer")), "README.md, Rust {version}");
    assert!(read("fuzz/Cargo.toml").contains(&format!("rust-version = \"{version}\"")));
}

/// Returns what `make TARGET` would run.
fn recipe(target: &str) -> String {
    let mut make = command("make");
    let printed = finish(make.args(["-n", target]).current_dir(root()).env_remove("CARGO_TARGET_DIR"));
    assert_eq!(printed.code, 0, "{printed:?}");
    printed.stdout
}

#[test]
fn builds_what_readme_names_and_for_make_run_without_what_takes_long() {
    let run = recipe("run");
    let readme = read("README.md");
    let named: Vec<_> = blocks(&readme, "sh")
        .iter()
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.starts_with("target/"))
        .collect();
    assert!(named.len() >= 3, "{named:?}");
    for line in &named {
        let program = line.split_whitespace().next().unwrap();
        assert!(run.contains(&format!("scripts/run {program} ")), "{program} is not what this runs:\n{run}");
    }

    let build = run.lines().find(|line| line.contains("cargo build")).expect("make run builds");
    assert!(build.contains(" --profile quick ") && !build.contains("--release"), "{build}");
    let manifest = read("Cargo.toml");
    let quick =
        manifest.split("[profile.quick]\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    assert!(quick.contains("lto = \"off\"") && quick.contains("debug = false"), "{quick}");

    // The features in the recipe leave out the dependencies that only other programs need.
    let features = build.split_whitespace().skip_while(|word| !word.starts_with("--no-default"));
    let features: Vec<_> = features.take_while(|word| *word != "--package").collect();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = command(cargo);
    tree.args(["tree", "--offline", "--prefix", "none", "--package", "jackfield"]).args(features);
    let tree = finish(tree.args(["--edges", "normal,build"]).current_dir(root()));
    assert_eq!(tree.code, 0, "{tree:?}");
    for heavy in ["ratatui ", "clap_mangen ", "clap_complete "] {
        assert!(!tree.stdout.lines().any(|line| line.starts_with(heavy)), "{heavy}is built for make run");
    }

    for target in ["install", "deb"] {
        assert!(recipe(target).contains("build --release "), "{target}");
    }
}
