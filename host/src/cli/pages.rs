//! The manual pages and the shells' completions, made of the very words that the program reads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, SYSTEM, failed};

/// The words of `pages`.
#[derive(Debug, Args)]
pub(crate) struct PagesArgs {
    /// The directory to write them into
    directory: PathBuf,
}

/// Writes `man/*.1` and `completions/*` below the directory.
pub(crate) fn pages(words: &PagesArgs) -> ExitCode {
    match write(&words.directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(SYSTEM, &format_args!("{}: {error}", words.directory.display())),
    }
}

fn write(directory: &Path) -> io::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "jackfield", &completions)?;
    }
    Ok(())
}
