//! `jackfield complete`: the methods of a running host that complete a command line. The completion
//! scripts of the shells call it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, Args, Command, CommandFactory as _};

use super::Cli;
use super::contract_source::read_host;
use super::output::print_text;
use super::request_socket::find_socket;

/// Upper bound for the time that the host has. Somebody waits at a prompt.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The arguments of `jackfield complete`.
#[derive(Debug, Args)]
pub(crate) struct CompleteArgs {
    /// The words of the command line, from the program to the word at the cursor
    #[arg(last = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Prints one method on each line. Prints nothing if the word at the cursor is not a method, and if
/// the host does not list any: a fault has no place at a prompt.
pub(crate) fn complete(args: &CompleteArgs) -> ExitCode {
    let words: Vec<_> = args.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let names = Position::of(&words).map(|position| position.names()).unwrap_or_default();
    print_text(&names, ExitCode::SUCCESS)
}

/// The place of a method in a command line.
#[derive(Debug, PartialEq)]
struct Position {
    /// The beginning of the name.
    start: String,
    socket: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Position {
    /// Returns the place of the last word; `None` if it is no method.
    fn of(words: &[String]) -> Option<Self> {
        let words = joined(words);
        let (start, words) = words.split_last()?;
        let program = Cli::command();
        let mut line = Line::new(&program);
        for word in words.iter().skip(1) {
            line.read(word)?;
        }

        let may_be_method = match line.command.get_name() {
            "call" | "bench" => line.positionals == 0,
            "describe" => true,
            _ => false,
        };
        let is_method = may_be_method && line.open_option.is_none() && !start.starts_with('-');
        is_method.then(|| Self { start: start.clone(), socket: line.socket, config: line.config })
    }

    fn names(&self) -> String {
        let socket = find_socket(self.socket.as_deref(), self.config.as_deref());
        let Ok(described) = socket.and_then(|socket| read_host(&socket, TIMEOUT)) else {
            return String::new();
        };

        // A shell would split other names, or worse.
        let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let names = described.contract.methods().iter().map(|method| &method.name);
        names
            .filter(|name| name.starts_with(&self.start) && is_plain(name))
            .map(|name| format!("{name}\n"))
            .collect()
    }
}

/// Returns the words of a command line. bash splits `--socket=PATH` at the equals sign.
fn joined(words: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut is_open = false;
    for word in words {
        let is_option = joined.last().is_some_and(|last| last.starts_with("--"));
        match joined.last_mut() {
            Some(last) if is_open || is_option && word == "=" => *last += word,
            _ => joined.push(word.clone()),
        }
        is_open = is_option && word == "=";
    }
    joined
}

/// A command line that is being read.
struct Line<'a> {
    program: &'a Command,
    /// The command, or the program itself as long as there is none.
    command: &'a Command,
    is_program: bool,
    positionals: usize,
    /// The option whose value is the next word.
    open_option: Option<&'a Arg>,
    socket: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl<'a> Line<'a> {
    fn new(program: &'a Command) -> Self {
        let (open_option, socket, config) = (None, None, None);
        Self { program, command: program, is_program: true, positionals: 0, open_option, socket, config }
    }

    /// Reads the next word. Returns `None` if no method can follow.
    fn read(&mut self, word: &str) -> Option<()> {
        if let Some(option) = self.open_option.take() {
            self.set(option, word);
            return Some(());
        }

        if let Some(option) = word.strip_prefix("--") {
            let (name, value) =
                option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let option = self.option(|option| {
                option.get_long_and_visible_aliases().is_some_and(|names| names.contains(&name))
            })?;
            return self.read_option(option, value);
        }
        if let Some(short) = word.strip_prefix('-').and_then(|rest| rest.chars().next()) {
            let option = self.option(|option| option.get_short() == Some(short))?;
            let value = word.get(1 + short.len_utf8()..).filter(|value| !value.is_empty());
            return self.read_option(option, value);
        }

        if self.is_program {
            self.command = self.program.find_subcommand(word)?;
            self.is_program = false;
        } else {
            self.positionals += 1;
        }
        Some(())
    }

    fn read_option(&mut self, option: &'a Arg, value: Option<&str>) -> Option<()> {
        let takes_value = option.get_action().takes_values();
        match value {
            // The two values of --diff are files.
            _ if option.get_id() == "diff" => return None,
            Some(value) if takes_value => self.set(option, value),
            None if takes_value => self.open_option = Some(option),
            _ => {}
        }
        Some(())
    }

    /// Finds an option of the command, or one that all commands have.
    fn option(&self, is_wanted: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
        let options = self.command.get_arguments().chain(self.program.get_arguments());
        options.into_iter().find(|option| is_wanted(option))
    }

    fn set(&mut self, option: &Arg, value: &str) {
        match option.get_id().as_str() {
            "socket" => self.socket = Some(Path::new(value).to_owned()),
            "config" => self.config = Some(Path::new(value).to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(line: &str) -> Option<Position> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Position::of(&words)
    }

    fn at(start: &str, socket: Option<&str>, config: Option<&str>) -> Option<Position> {
        let path = |path: Option<&str>| path.map(PathBuf::from);
        Some(Position { start: start.to_owned(), socket: path(socket), config: path(config) })
    }

    #[test]
    fn finds_a_method_behind_options() {
        assert_eq!(position("jackfield call "), at("", None, None));
        assert_eq!(position("jackfield call --socket /s dev"), at("dev", Some("/s"), None));
        assert_eq!(
            position("jackfield -c x call --socket = /s --async dev"),
            at("dev", Some("/s"), Some("x"))
        );
        assert_eq!(position("jackfield --config=x bench -cy d"), at("d", None, Some("y")));
        assert_eq!(position("jackfield describe a --html b"), at("b", None, None));
    }

    #[test]
    fn finds_no_method_elsewhere() {
        for line in [
            "",
            "jackfield",
            "jackfield call",
            "jackfield reload x",
            "jackfield call a ",
            "jackfield call --socket ",
            "jackfield call --soc",
            "jackfield describe --diff a ",
            "jackfield call --no-such x",
            "jackfield plugin list ",
        ] {
            assert_eq!(position(line), None, "{line}");
        }
    }
}
