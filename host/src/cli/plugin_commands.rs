//! `jackfield plugin list`, `reload`, `rollback`: the plugins of a running host, over the operators' socket.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jackfield_client::blocking::Client;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command_error::CommandError;
use super::config_file::load_config;
use super::exit_code::fail;
use super::table::cell;

/// As long as the host itself gives: a reload probes the plugin first.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the host is, and how to print.
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    /// The host's socket for operators [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The words of `plugin list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    operate: OperatorArgs,
}

/// The words of `plugin reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadPluginArgs {
    /// The plugin; all of them if it is not said
    name: Option<String>,
    #[command(flatten)]
    operate: OperatorArgs,
}

/// The words of `plugin rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The plugin
    name: String,
    #[command(flatten)]
    operate: OperatorArgs,
}

/// One plugin, as the host lists it.
#[derive(Debug, Deserialize)]
struct ListedPlugin {
    name: String,
    state: String,
    generation: Option<u64>,
    version: Option<String>,
    hash: Option<String>,
    signed: Option<ListedSignature>,
    methods: Vec<String>,
    draining: Vec<u64>,
    retained: Vec<ListedRetained>,
    unloaded: u64,
    #[serde(default)]
    deaths: Vec<CrashedCode>,
    refused: Option<ListedRefusal>,
}

/// What of the plugin ran when a host died.
#[derive(Debug, Deserialize)]
struct CrashedCode {
    generation: u64,
    method: String,
    id: String,
}

#[derive(Debug, Deserialize)]
struct ListedSignature {
    key: String,
}

#[derive(Debug, Deserialize)]
struct ListedRetained {
    generation: u64,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct ListedRefusal {
    reason: String,
    detail: String,
}

/// How the host ended a reload or a rollback.
#[derive(Debug, Deserialize)]
struct ReloadOutcomeReply {
    plugin: String,
    outcome: String,
    generation: Option<u64>,
    hash: Option<String>,
    refused: Option<ListedRefusal>,
}

#[derive(Serialize)]
struct NamedGeneration<'a> {
    name: Option<&'a str>,
}

/// Prints every plugin of the host.
pub(crate) fn list(words: &ListArgs, config: Option<&Path>) -> ExitCode {
    let asked = ask(&words.operate, config, "admin.plugin.list", &Value::Null);
    print(asked, words.operate.json, |rows: Vec<ListedPlugin>| {
        let mut text = table(&rows);
        for row in &rows {
            for ListedRetained { generation, reason } in &row.retained {
                text += &format!("{}: generation {generation} is retained: {reason}\n", row.name);
            }
            for CrashedCode { generation, method, id } in &row.deaths {
                let what = format!("generation {generation} ran {method} for the request {id:?}");
                text += &format!("{}: when the host died, {what}\n", row.name);
            }
            if let Some(ListedRefusal { reason, detail }) = &row.refused {
                text += &format!("{}: the newest file is refused: {reason}: {detail}\n", row.name);
            }
        }
        (text, ExitCode::SUCCESS)
    })
}

/// Loads one plugin's file again, or all; exit code 1 when one is refused.
pub(crate) fn reload(words: &ReloadPluginArgs, config: Option<&Path>) -> ExitCode {
    let asked =
        ask(&words.operate, config, "admin.plugin.reload", &NamedGeneration { name: words.name.as_deref() });
    print(asked, words.operate.json, |verdicts: Vec<ReloadOutcomeReply>| told(&verdicts))
}

/// Puts one plugin's content before back; exit code 1 when it is refused.
pub(crate) fn rollback(words: &RollbackArgs, config: Option<&Path>) -> ExitCode {
    let asked =
        ask(&words.operate, config, "admin.plugin.rollback", &NamedGeneration { name: Some(&words.name) });
    print(asked, words.operate.json, |verdict: ReloadOutcomeReply| told(&[verdict]))
}

/// A client of the operators' side of a host, and where that is. Nothing is connected yet.
pub(super) fn client(words: &OperatorArgs, config: Option<&Path>) -> Result<(Client, PathBuf), CommandError> {
    let socket = match &words.socket {
        Some(socket) => socket.clone(),
        None => load_config(config)?.admin.ok_or(CommandError::NoAdmin)?.socket,
    };
    let client = Client::builder(&socket).connect_timeout(Duration::ZERO).timeout(TIMEOUT).build();
    Ok((client, socket))
}

/// Asks the operators' side of a running host.
pub(super) fn ask<R: DeserializeOwned>(
    words: &OperatorArgs,
    config: Option<&Path>,
    method: &str,
    params: &impl Serialize,
) -> Result<R, CommandError> {
    let (client, socket) = client(words, config)?;
    client.call(method, params).map_err(|error| CommandError::Call { socket, error })
}

/// Prints what the host said: as it came, or as `shown`, which also says how it went.
pub(super) fn print<T: for<'d> Deserialize<'d>>(
    asked: Result<Value, CommandError>,
    as_json: bool,
    shown: impl FnOnce(T) -> (String, ExitCode),
) -> ExitCode {
    let said = match asked {
        Ok(said) => said,
        Err(failure) => return fail(failure.exit_code(), &failure),
    };
    let json = format!("{said}\n");
    let (text, code) = match serde_json::from_value(said) {
        Ok(said) => shown(said),
        Err(error) => return fail(1, &format_args!("the host answers in another way: {error}")),
    };
    let printed = io::stdout().write_all(if as_json { json.as_bytes() } else { text.as_bytes() });
    match printed {
        Ok(()) => code,
        Err(error) => fail(CommandError::Output(error).exit_code(), &"standard output cannot be written"),
    }
}

fn short(hash: Option<&String>) -> &str {
    hash.map_or("-", |hash| &hash[..hash.floor_char_boundary(12)])
}

fn told(verdicts: &[ReloadOutcomeReply]) -> (String, ExitCode) {
    let mut text = String::new();
    for ReloadOutcomeReply { plugin, outcome, generation, hash, refused } in verdicts {
        let generation = generation.map_or_else(|| "none".to_owned(), |number| number.to_string());
        let serves = format!("generation {generation} ({}) serves", short(hash.as_ref()));
        match refused {
            Some(ListedRefusal { reason, detail }) => {
                text += &format!("{plugin}: {outcome}: {reason}: {detail}; {serves}\n")
            }
            None => text += &format!("{plugin}: {outcome}: {serves}\n"),
        }
    }
    let refused = verdicts.iter().any(|verdict| verdict.refused.is_some());
    (text, if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The plugins, a line for each.
fn table(rows: &[ListedPlugin]) -> String {
    let head = [
        "PLUGIN",
        "STATE",
        "GENERATION",
        "VERSION",
        "HASH",
        "METHODS",
        "DRAINING",
        "RETAINED",
        "UNLOADED",
        "SIGNED BY",
    ];
    let cells = rows.iter().map(|row| {
        vec![
            row.name.clone(),
            row.state.clone(),
            cell(row.generation),
            cell(row.version.as_ref()),
            short(row.hash.as_ref()).to_owned(),
            row.methods.len().to_string(),
            row.draining.len().to_string(),
            row.retained.len().to_string(),
            row.unloaded.to_string(),
            cell(row.signed.as_ref().map(|signed| &signed.key)),
        ]
    });
    super::table::table(&head, cells)
}
