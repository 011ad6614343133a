//! `jackfield pages`: writes the manual pages and the shell completions, generated from the
//! definition of the command line and from `config.toml`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};

use super::Cli;
use super::completion_scripts::completion_scripts;
use super::config_page::config_page;
use super::exit_code::{INPUT_OUTPUT, fail};

/// The arguments of `jackfield pages`.
#[derive(Debug, Args)]
pub(crate) struct PagesArgs {
    /// Directory to write into; it is created if it is missing
    directory: PathBuf,
}

/// Writes `man/*.1`, `man/*.5` and `completions/*` into the directory.
pub(crate) fn pages(args: &PagesArgs) -> ExitCode {
    match write(&args.directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(
            INPUT_OUTPUT,
            &format_args!(
                "cannot write the manual pages and completions to {}: {error}",
                args.directory.display()
            ),
        ),
    }
}

fn write(directory: &Path) -> io::Result<()> {
    let man = directory.join("man");
    let completions = directory.join("completions");
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;

    clap_mangen::generate_to(Cli::command(), &man)?;
    fs::write(man.join("jackfield-config.5"), config_page())?;
    for (name, script) in completion_scripts()? {
        fs::write(completions.join(name), script)?;
    }
    Ok(())
}
