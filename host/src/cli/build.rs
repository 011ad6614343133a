//! Plugin crates built with cargo, and their libraries put where the host looks for them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use jackfield::loader::plugin_name;
use serde_json::Value;

/// A plugin's library, as cargo made it.
#[derive(Debug)]
pub(super) struct BuiltPlugin {
    /// The plugin's name.
    pub(super) name: String,
    file: PathBuf,
}

/// Why there is no library.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error("cargo could not be run: {0}")]
    NoCargo(io::Error),
    /// What is wrong was printed by cargo.
    #[error("it does not build ({0})")]
    Failed(ExitStatus),
    #[error("it has no library of crate-type \"cdylib\"")]
    NoLibrary,
    #[error("{0}: {1}")]
    Install(PathBuf, io::Error),
}

/// The directories right below this one that hold a crate, in the order of their names.
pub(super) fn crates_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = directory.canonicalize()?;
    let entries = fs::read_dir(&directory)?.collect::<io::Result<Vec<_>>>()?;
    let mut crates: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    crates.retain(|path| path.join("Cargo.toml").is_file());
    crates.sort();
    Ok(crates)
}

/// Builds a crate; cargo shows its progress and what is wrong on stderr.
pub(super) fn build(source: &Path) -> Result<Vec<BuiltPlugin>, BuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--lib", "--message-format=json-render-diagnostics", "--manifest-path"])
        .arg(source.join("Cargo.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(BuildError::NoCargo)?;
    if !output.status.success() {
        return Err(BuildError::Failed(output.status));
    }
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let ours = |message: &Value| {
        let manifest = message["manifest_path"].as_str().map(Path::new);
        message["reason"] == "compiler-artifact" && manifest == Some(&source.join("Cargo.toml"))
    };
    let built: Vec<_> = messages.filter(ours).flat_map(|message| libraries_of(&message)).collect();
    if built.is_empty() { Err(BuildError::NoLibrary) } else { Ok(built) }
}

fn libraries_of(message: &Value) -> Vec<BuiltPlugin> {
    let files = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let built = files.filter_map(|file| {
        let file = PathBuf::from(file);
        let name = plugin_name(file.file_name()?)?;
        Some(BuiltPlugin { name, file })
    });
    built.collect()
}

/// Copies libraries into the plugin directory, each under a name of its own first and then renamed, so that a host
/// never sees half a file.
pub(super) fn install(libraries: &[BuiltPlugin], directory: &Path) -> Result<Vec<BuiltPlugin>, BuildError> {
    let installed = libraries.iter().map(|BuiltPlugin { name, file }| {
        let failed = |error| BuildError::Install(file.clone(), error);
        let usual = directory.join(format!("lib{name}.so"));
        // The name under which it is there already, if it is: two files of one plugin would be one too many.
        let place = if usual.exists() { usual } else { directory.join(format!("{name}.so")) };
        let new = directory.join(format!(".{name}.so.new"));
        fs::copy(file, &new).map_err(failed)?;
        fs::set_permissions(&new, Permissions::from_mode(0o644)).map_err(failed)?;
        fs::rename(&new, &place).map_err(failed)?;
        Ok(BuiltPlugin { name: name.clone(), file: place })
    });
    installed.collect()
}
