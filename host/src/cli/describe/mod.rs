//! `jackfield describe`: what methods accept and return, for people and for programs.

mod diff;
mod html;
mod markdown;
mod outline;
mod prose;
mod sheet;
mod text;
mod type_text;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jackfield::ProbeEntry;
use jackfield_contract::Contract;
use jackfield_contract::openrpc::{self, DescribedContract, DocumentInfo};

use self::diff::diff;
use self::sheet::Sheet;
use super::command_error::CommandError;
use super::contract_source::{SourceArgs, read_contract};
use super::exit_code::fail;
use super::method_names::no_method;
use super::output::print_text;

/// The arguments of `jackfield describe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without FILE, the host is asked with rpc.discover, which lists the methods that this user may call. The code of a plugin \
file runs in a separate process; an OpenRPC document is one that --openrpc has written.

Exit codes: 0 success, with --diff compatible or unknown; 1 no such method, a file is refused, the host describes \
nothing, or with --diff incompatible; 69 no connection to a host; 75 time-out; 76 the peer does not speak the protocol; 78 \
the configuration cannot be used.")]
pub(crate) struct DescribeArgs {
    /// Methods to describe, such as `system.info`, or their common beginning, such as `system`
    /// [default: all]; and plugin files or OpenRPC documents to describe instead of a running host:
    /// arguments that have a slash, or end in .so or .json
    #[arg(value_name = "METHOD|FILE")]
    targets: Vec<OsString>,

    /// Print an OpenRPC document
    #[arg(long, group = "format")]
    openrpc: bool,

    /// Print Markdown
    #[arg(long, group = "format")]
    markdown: bool,

    /// Print one page of HTML that loads and runs nothing
    #[arg(long, group = "format")]
    html: bool,

    /// Socket of the host [default: the first `[[listener]]` with binary framing in the
    /// configuration]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Print what breaks callers of OLD if NEW replaces it, and what is not known about that; each
    /// is a plugin file, an OpenRPC document or the socket of a host
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    #[arg(conflicts_with_all = ["targets", "format", "socket"])]
    diff: Option<Vec<PathBuf>>,

    /// Print what --diff has found as JSON
    #[arg(long, requires = "diff", conflicts_with_all = ["targets", "format", "socket"])]
    json: bool,
}

/// Prints the description of methods, or the difference of two contracts.
pub(crate) fn describe(args: &DescribeArgs, config: Option<&Path>, entry: &ProbeEntry) -> ExitCode {
    let printed = match args.diff.as_deref() {
        Some([old, new]) => diff(old, new, args.json, config, entry),
        _ => described(args, config, entry).map(|text| (text, ExitCode::SUCCESS)),
    };
    match printed {
        Ok((text, code)) => print_text(&text, code),
        Err(error) => fail(error.exit_code(), &error),
    }
}

fn described(args: &DescribeArgs, config: Option<&Path>, entry: &ProbeEntry) -> Result<String, CommandError> {
    let (files, names): (Vec<_>, Vec<_>) = args.targets.iter().cloned().partition(is_file);
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let files = files.into_iter().map(PathBuf::from).collect();

    let source = SourceArgs { files, socket: args.socket.clone() };
    let described = read_contract(&source, config, entry)?;
    let contract = select(&described.contract, &names)?;

    let described = DescribedContract { contract, ..described };
    let sheets: Vec<_> = described.contract.methods().iter().map(Sheet::of).collect();
    Ok(match () {
        () if args.openrpc => {
            let info = DocumentInfo { title: &described.title, version: &described.version };
            format!("{:#}\n", openrpc::write(&info, &described.contract))
        }
        () if args.markdown => markdown::render(&described, &sheets),
        () if args.html => html::render(&described, &sheets),
        () => text::render(&sheets),
    })
}

/// Returns whether an argument is a file and not a method. The method of a plugin has no slash in
/// its name.
fn is_file(target: &OsString) -> bool {
    let target = target.as_encoded_bytes();
    target.contains(&b'/') || target.ends_with(b".so") || target.ends_with(b".json")
}

/// Returns the methods with these names, and those below them. Without names, returns all.
fn select(contract: &Contract, names: &[String]) -> Result<Contract, CommandError> {
    if names.is_empty() {
        return Ok(contract.clone());
    }

    let is_below = |method: &str, name: &str| {
        let rest = method.strip_prefix(name.trim_end_matches('.'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    for name in names {
        if !contract.methods().iter().any(|method| is_below(&method.name, name)) {
            return Err(no_method(contract, name));
        }
    }
    let methods = contract.methods().iter();
    let selected = methods.filter(|method| names.iter().any(|name| is_below(&method.name, name)));
    Ok(Contract::new(selected.cloned().collect()))
}
