//! Builds plugin crates with cargo, and installs their libraries in the plugin directory.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use jackfield::loader::plugin_name;
use serde_json::Value;

/// The library of a plugin.
#[derive(Debug)]
pub(super) struct BuiltPlugin {
    /// The name of the plugin, from the name of the library.
    pub(super) name: String,
    file: PathBuf,
}

/// The reason why no library was built or installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error("cannot run cargo: {0}; install it, or set the environment variable CARGO to its path")]
    NoCargo(io::Error),
    /// Cargo has printed the errors.
    #[error("build failed ({0})")]
    Failed(ExitStatus),
    #[error("the crate has no plugin library; set crate-type = [\"cdylib\"] under [lib] in its Cargo.toml")]
    NoLibrary,
    #[error("cannot install {0}: {1}")]
    Install(PathBuf, io::Error),
}

/// Returns the directories directly in this one that contain a crate, sorted by name.
pub(super) fn crates_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = directory.canonicalize()?;
    let entries = fs::read_dir(&directory)?.collect::<io::Result<Vec<_>>>()?;
    let mut crates: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    crates.retain(|path| path.join("Cargo.toml").is_file());
    crates.sort();
    Ok(crates)
}

/// Builds a crate. Cargo prints its progress and the errors of the compiler on stderr.
pub(super) fn build(crate_directory: &Path) -> Result<Vec<BuiltPlugin>, BuildError> {
    let manifest = crate_directory.join("Cargo.toml");

    let output = cargo()
        .args(["build", "--lib", "--message-format=json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(BuildError::NoCargo)?;
    if !output.status.success() {
        return Err(BuildError::Failed(output.status));
    }

    let lines = output.stdout.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let artifacts = messages.filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().map(Path::new) == Some(&manifest)
    });
    let built: Vec<_> = artifacts.flat_map(|message| libraries_of(&message)).collect();
    if built.is_empty() { Err(BuildError::NoLibrary) } else { Ok(built) }
}

/// Returns the directories of the crates that a crate depends on by path, also indirectly. Returns
/// `None` if cargo cannot determine them, for example because the manifest has a fault.
pub(super) fn path_dependencies(crate_directory: &Path) -> Option<Vec<PathBuf>> {
    let output = cargo()
        .args(["metadata", "--format-version=1", "--quiet", "--manifest-path"])
        .arg(crate_directory.join("Cargo.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    path_dependencies_in(&serde_json::from_slice(&output.stdout).ok()?)
}

/// As [`path_dependencies`], from the output of `cargo metadata`.
fn path_dependencies_in(metadata: &Value) -> Option<Vec<PathBuf>> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let nodes = list(&metadata["resolve"]["nodes"]);
    let root = metadata["resolve"]["root"].as_str()?;

    let mut reached = BTreeSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(id) = waiting.pop() {
        let node = nodes.iter().find(|node| node["id"] == id.as_str())?;
        if reached.insert(id) {
            let dependencies = list(&node["dependencies"]);
            waiting.extend(dependencies.iter().filter_map(Value::as_str).map(str::to_owned));
        }
    }

    let packages = list(&metadata["packages"]);
    // A package from a registry or a repository has a source.
    let local = packages.iter().filter(|package| {
        package["source"].is_null()
            && package["id"].as_str().is_some_and(|id| id != root && reached.contains(id))
    });
    let directory =
        |package: &Value| Some(Path::new(package["manifest_path"].as_str()?).parent()?.to_owned());
    Some(local.filter_map(directory).collect())
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn libraries_of(artifact: &Value) -> Vec<BuiltPlugin> {
    let files = artifact["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let built = files.filter_map(|file| {
        let file = PathBuf::from(file);
        let name = plugin_name(file.file_name()?)?;
        Some(BuiltPlugin { name, file })
    });
    built.collect()
}

/// Copies the libraries into the plugin directory. Each is copied under a temporary name and then
/// renamed, so that a host never sees an incomplete file.
pub(super) fn install(libraries: &[BuiltPlugin], directory: &Path) -> Result<Vec<BuiltPlugin>, BuildError> {
    libraries.iter().map(|library| install_one(library, directory)).collect()
}

fn install_one(library: &BuiltPlugin, directory: &Path) -> Result<BuiltPlugin, BuildError> {
    let BuiltPlugin { name, file } = library;
    let failed = |error| BuildError::Install(file.clone(), error);

    // A file that exists under the other of the two names that a plugin file can have is replaced:
    // the host refuses a second file of the same plugin.
    let prefixed = directory.join(format!("lib{name}.so"));
    let place = if prefixed.exists() { prefixed } else { directory.join(format!("{name}.so")) };
    let temporary = directory.join(format!(".{name}.so.new"));

    fs::copy(file, &temporary).map_err(failed)?;
    fs::set_permissions(&temporary, Permissions::from_mode(0o644)).map_err(failed)?;
    fs::rename(&temporary, &place).map_err(failed)?;
    Ok(BuiltPlugin { name: name.clone(), file: place })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_the_path_dependencies_of_one_member_of_a_workspace() {
        let package = |id: &str, source: Option<&str>| json!({ "id": id, "source": source, "manifest_path": format!("/w/{id}/Cargo.toml") });
        let metadata = json!({
            "packages": [
                package("plugin", None), package("near", None), package("far", None), package("other", None),
                package("serde", Some("registry+https://example.com")),
            ],
            "resolve": {
                "root": "plugin",
                "nodes": [
                    { "id": "plugin", "dependencies": ["near", "serde"] },
                    { "id": "near", "dependencies": ["far", "serde"] },
                    { "id": "far", "dependencies": [] },
                    { "id": "other", "dependencies": ["far"] },
                    { "id": "serde", "dependencies": [] },
                ],
            },
        });

        let found = path_dependencies_in(&metadata);

        assert_eq!(found, Some(vec![PathBuf::from("/w/near"), PathBuf::from("/w/far")]));
        assert_eq!(path_dependencies_in(&json!({})), None);
    }
}
