//! `jackfield plugin inspect`: what a plugin's file says of itself, read without running any of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jackfield::config::TrustedKey;
use jackfield::loader::{self, Inspection, VerifiedSignature};

use super::{CONFIGURATION, UnusableConfig, failed, fault};

/// The words of `plugin inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The plugin's file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the manifest, and who signed the file; exit code 1 with the reason when the file would be refused.
pub(crate) fn inspect(words: &InspectArgs, config: Option<&Path>) -> ExitCode {
    let keys = match trusted_keys(config) {
        Ok(keys) => keys,
        Err(unusable) => return failed(CONFIGURATION, &unusable),
    };
    let inspection = match loader::inspect(&words.file, &keys) {
        Ok(inspection) => inspection,
        Err(refused) if words.json => {
            return failed(1, &serde_json::json!({ "file": words.file, "refused": refused }));
        }
        Err(refused) => return failed(1, &fault(&words.file, &refused)),
    };
    if words.json {
        println!("{}", serde_json::to_value(&inspection).unwrap_or_default());
    } else {
        print_table(&inspection, &keys);
    }
    ExitCode::SUCCESS
}

/// The keys that the configuration trusts. Without a configuration there are none: a file can be looked at where no host
/// is installed, too.
fn trusted_keys(config: Option<&Path>) -> Result<Vec<TrustedKey>, UnusableConfig> {
    match super::load(config) {
        Ok(config) => Ok(config.plugins.trusted_keys),
        Err(UnusableConfig::NotFound(_)) if config.is_none() => Ok(Vec::new()),
        Err(unusable) => Err(unusable),
    }
}

fn signer(inspection: &Inspection, keys: &[TrustedKey]) -> String {
    match (inspection.signed, loader::claimed_key(&inspection.file)) {
        (Some(VerifiedSignature { key, at }), _) => {
            let file = keys.iter().find(|trusted| trusted.id == key).map(|trusted| trusted.file.display());
            let file = file.map_or_else(String::new, |file| format!(" ({file})"));
            format!("with key {key}{file}, timestamp {at}")
        }
        (None, Some(key)) => format!("with key {key}, not verified: the configuration trusts no key"),
        (None, None) => "no".to_owned(),
    }
}

fn print_table(inspection: &Inspection, keys: &[TrustedKey]) {
    let Inspection { name, hash, size, build_id, manifest, needed, .. } = inspection;
    println!("plugin    {name}");
    println!("package   {} {}", manifest.package, manifest.version);
    println!("api       {}", manifest.api);
    println!("hash      {hash}");
    println!("build id  {}", build_id.as_deref().unwrap_or("none"));
    println!("size      {size} bytes");
    println!("signed    {}", signer(inspection, keys));
    println!("needs     {}", needed.join(", "));
    let width = manifest.methods.iter().map(|method| method.name.len()).max().unwrap_or(0);
    for method in &manifest.methods {
        println!("method    {:width$}  {}", method.name, method.run.word());
    }
}
