//! `jackfield plugin inspect`: prints the facts about a plugin file, without running its code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jackfield::config::TrustedKey;
use jackfield::loader::{self, Inspection, LoadError, VerifiedSignature};
use jackfield_plugin_api::manifest::PluginAbi;

use super::config_file::{ConfigError, load_config};
use super::exit_code::{CONFIGURATION, FAILURE, fail};
use super::output::print_text;

/// The arguments of `jackfield plugin inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Plugin file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the manifest and the signer of the file. If the file would be refused, prints the reason;
/// the exit code is then 1.
pub(crate) fn inspect(args: &InspectArgs, config: Option<&Path>) -> ExitCode {
    let keys = match trusted_keys(config) {
        Ok(keys) => keys,
        Err(error) => return fail(CONFIGURATION, &error),
    };

    let inspection = match loader::inspect(&args.file, &keys) {
        Ok(inspection) => inspection,
        Err(refused) if args.json => {
            return fail(FAILURE, &serde_json::json!({ "file": args.file, "refused": refused }));
        }
        Err(refused) => return fail(FAILURE, &refusal_line(&args.file, &refused)),
    };

    let text = if args.json {
        format!("{}\n", serde_json::to_value(&inspection).unwrap_or_default())
    } else {
        facts(&inspection, &keys)
    };
    print_text(&text, ExitCode::SUCCESS)
}

/// Returns the keys that the configuration trusts. Without a configuration there are none, so that
/// a file can also be inspected where no host is installed.
pub(super) fn trusted_keys(config: Option<&Path>) -> Result<Vec<TrustedKey>, ConfigError> {
    match load_config(config) {
        Ok(config) => Ok(config.plugins.trusted_keys),
        Err(ConfigError::NotFound(_)) if config.is_none() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns the line `FILE: REASON: DETAIL` about a refused file. A detail that begins with the file
/// does not repeat it.
pub(super) fn refusal_line(file: &Path, refused: &LoadError) -> String {
    format!("{}: {}: {}", file.display(), refused.reason, refused.detail_about(file))
}

/// Returns one line for each fact.
fn facts(inspection: &Inspection, keys: &[TrustedKey]) -> String {
    let Inspection { name, hash, size, build_id, manifest, needed, .. } = inspection;
    let mut lines = vec![
        format!("plugin    {name}"),
        format!("package   {} {}", manifest.package, manifest.version),
        format!("api       {}", manifest.api),
        format!("host API  {} or later", manifest.min_host()),
        format!("hash      {hash}"),
        format!("build id  {}", build_id.as_deref().unwrap_or("none")),
        format!("size      {size} bytes"),
        format!("signed    {}", signer(inspection, keys)),
        format!("needs     {}", needed.join(", ")),
    ];
    if manifest.abi == Some(PluginAbi::C) {
        lines.push("abi       C".to_owned());
    }
    if let Some(bytes) = inspection.static_tls {
        lines.push(format!(
            "tls       static, {bytes} bytes: a host can load it only a few times until it is restarted"
        ));
    }

    let width = manifest.methods.iter().map(|method| method.name.len()).max().unwrap_or(0);
    let method_lines = manifest
        .methods
        .iter()
        .map(|method| format!("method    {:width$}  {}", method.name, method.run.word()));
    lines.extend(method_lines);
    lines.join("\n") + "\n"
}

fn signer(inspection: &Inspection, keys: &[TrustedKey]) -> String {
    match (inspection.signed, loader::claimed_key(&inspection.file)) {
        (Some(VerifiedSignature { key, at }), _) => {
            let file = keys.iter().find(|trusted| trusted.id == key).map(|trusted| trusted.file.display());
            let file = file.map_or_else(String::new, |file| format!(" ({file})"));
            format!("with key {key}{file}, timestamp {at}")
        }
        (None, Some(key)) => format!("with key {key}, not verified: plugins.trusted_keys is not set"),
        (None, None) => "no".to_owned(),
    }
}
