//! `jackfield plugin reload`: loads the files of plugins again.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jackfield::admin::{PluginReloadResult, Refusal, ReloadParams, method};

use super::short_hash;
use crate::cli::admin_client::{OperatorArgs, call, print};

/// The arguments of `jackfield plugin reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadPluginArgs {
    /// Name of the plugin; required to load content that was rolled back [default: all plugins]
    name: Option<String>,

    /// Load content even if it breaks callers of what serves, and `incompatible` is "refuse"
    #[arg(long, requires = "name")]
    allow_incompatible: bool,

    #[command(flatten)]
    operator: OperatorArgs,
}

/// Reloads one plugin, or all. The exit code is 1 if one is refused.
pub(crate) fn reload(args: &ReloadPluginArgs, config: Option<&Path>) -> ExitCode {
    let params = ReloadParams { name: args.name.clone(), allow_incompatible: args.allow_incompatible };
    let reply = call(&args.operator, config, method::PLUGIN_RELOAD, &params);
    print(reply, args.operator.json, |results: Vec<PluginReloadResult>| render(&results))
}

/// Returns a line for each result, and the exit code.
pub(super) fn render(results: &[PluginReloadResult]) -> (String, ExitCode) {
    let mut text = String::new();
    for PluginReloadResult { plugin, outcome, generation, hash, refused, .. } in results {
        let generation = generation.map_or_else(|| "none".to_owned(), |number| number.to_string());
        let serves = format!("generation {generation} ({}) serves", short_hash(hash.as_ref()));
        match refused {
            Some(Refusal { reason, detail }) => {
                text += &format!("{plugin}: {outcome}: {reason}: {detail}; {serves}\n");
            }
            None => text += &format!("{plugin}: {outcome}: {serves}\n"),
        }
    }

    let is_refused = results.iter().any(|result| result.refused.is_some());
    (text, if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(result: serde_json::Value) -> (String, ExitCode) {
        render(&[serde_json::from_value(result).unwrap()])
    }

    #[test]
    fn succeeds_with_the_generation_that_serves() {
        let (text, code) = rendered(json!({
            "plugin": "device", "outcome": "published", "generation": 7,
            "hash": "0123456789abcdef", "build_id": null,
        }));

        assert_eq!(text, "device: published: generation 7 (0123456789ab) serves\n");
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    }

    #[test]
    fn fails_with_the_reason_and_the_generation_that_still_serves() {
        let (text, code) = rendered(json!({
            "plugin": "device", "outcome": "refused", "generation": null, "hash": null,
            "build_id": null, "refused": { "reason": "not-elf", "detail": "no library" },
        }));

        assert_eq!(text, "device: refused: not-elf: no library; generation none (-) serves\n");
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    }
}
