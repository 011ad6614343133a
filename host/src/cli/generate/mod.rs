//! `jackfield generate`: writes typed classes for the methods of a host or of plugin files.

mod generated_file;
mod output_directory;
mod php;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jackfield::ProbeEntry;

use super::contract_source::{SourceArgs, read_contract};
use super::exit_code::{FAILURE, INPUT_OUTPUT, fail};
use super::output::print_text;
use output_directory::Differences;

/// The languages of `jackfield generate`.
#[derive(Debug, Subcommand)]
pub(crate) enum GenerateCommand {
    /// Write PHP classes, one for each first segment of the method names, with types, enumerations
    /// and exceptions, for the PHP client of Jackfield
    Php(GeneratePhpArgs),
}

/// The arguments of `jackfield generate php`.
#[derive(Debug, Args)]
pub(crate) struct GeneratePhpArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// Namespace of the classes, such as `App\Jackfield`
    #[arg(long, value_parser = php::parse_namespace)]
    namespace: String,

    /// Directory of this namespace. Files there and directly below that an earlier run generated,
    /// and that no longer belong there, are removed; other files stay
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Write nothing; exit with 1 if a file is missing, stale or surplus, and print its path
    #[arg(long)]
    check: bool,
}

/// Runs `jackfield generate`.
pub(crate) fn generate(command: &GenerateCommand, config: Option<&Path>, entry: &ProbeEntry) -> ExitCode {
    let GenerateCommand::Php(args) = command;
    let described = match read_contract(&args.source, config, entry) {
        Ok(described) => described,
        Err(error) => return fail(error.exit_code(), &error),
    };

    let files = php::generate(&described.contract, &args.namespace);
    if files.is_empty() {
        return fail(FAILURE, &"no plugin has methods: nothing is generated, and nothing is removed");
    }
    let differences = match Differences::find(&args.out, &files) {
        Ok(differences) => differences,
        Err(error) => return fail(INPUT_OUTPUT, &error),
    };

    if args.check && !differences.is_empty() {
        let remedy = "run jackfield generate php with the same arguments and without --check";
        return fail(FAILURE, &format_args!("{differences}{remedy}"));
    }
    if let Err(error) = differences.resolve(&args.out, &files) {
        return fail(INPUT_OUTPUT, &error);
    }
    print_text(&summary(files.len(), &differences), ExitCode::SUCCESS)
}

fn summary(files: usize, differences: &Differences) -> String {
    let written = differences.missing.len() + differences.stale.len();
    let removed = differences.surplus.len();
    format!("{files} files: {written} written, {} unchanged; {removed} removed\n", files - written)
}
