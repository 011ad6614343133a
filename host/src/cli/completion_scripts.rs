//! The completion scripts of the shells: those that clap generates, and the methods of a running
//! host.

use std::io;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::Cli;

/// The name of the program.
const NAME: &str = "jackfield";

/// Lists the methods, and leaves everything else to the generated function.
const BASH: &str = r#"
_jackfield_or_method() {
    local names
    names=$("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null)
    if [[ -n $names ]]; then
        mapfile -t COMPREPLY <<<"$names"
    else
        _jackfield "$@"
    fi
}

"#;

const ZSH: &str = r#"
_jackfield_methods() {
    local -a names
    names=(${(f)"$(command jackfield complete -- jackfield "${(@Q)words[1,CURRENT]}" 2>/dev/null)"})
    compadd "$@" -a names
}

_jackfield_methods_and_files() {
    _jackfield_methods "$@"
    _files
}

"#;

const FISH: &str = r#"
function __fish_jackfield_methods
    jackfield complete -- (commandline -opc) (commandline -ct) 2>/dev/null
end

complete -c jackfield -n "__fish_jackfield_using_subcommand call" -f -a "(__fish_jackfield_methods)"
complete -c jackfield -n "__fish_jackfield_using_subcommand bench" -f -a "(__fish_jackfield_methods)"
complete -c jackfield -n "__fish_jackfield_using_subcommand describe" -a "(__fish_jackfield_methods)"
"#;

/// Returns the file names and the contents of the scripts.
///
/// # Errors
///
/// A generated script is not text.
pub(super) fn completion_scripts() -> io::Result<[(&'static str, String); 3]> {
    Ok([
        ("jackfield.bash", bash(&generated(Shell::Bash)?)),
        ("_jackfield", zsh(&generated(Shell::Zsh)?)),
        ("jackfield.fish", generated(Shell::Fish)? + FISH),
    ])
}

fn generated(shell: Shell) -> io::Result<String> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), NAME, &mut script);
    String::from_utf8(script).map_err(io::Error::other)
}

fn bash(script: &str) -> String {
    let registers = |line: &str| line.trim_start().starts_with("complete -F _jackfield ");
    let lines = script.lines().map(|line| match registers(line) {
        true => line.replace("-F _jackfield ", "-F _jackfield_or_method ") + "\n",
        false => format!("{line}\n"),
    });
    BASH.to_owned() + &lines.collect::<String>()
}

/// Replaces what completes the methods in the generated script, by default files.
fn zsh(script: &str) -> String {
    let completes = |line: &str| match line.split_once(" -- ").map(|(name, _)| name) {
        Some("':method" | "'::method") => Some("_jackfield_methods"),
        Some("'*::targets") => Some("_jackfield_methods_and_files"),
        _ => None,
    };
    let lines = script.lines().map(|line| match completes(line) {
        Some(function) => line.replace(":_default'", &format!(":{function}'")) + "\n",
        None => format!("{line}\n"),
    });

    // The first line names the command.
    let script: String = lines.collect();
    let (head, rest) = script.split_once('\n').unwrap_or((&script, ""));
    format!("{head}\n{ZSH}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_lists_methods_where_a_method_is_due() {
        let [(_, bash), (_, zsh), (_, fish)] = completion_scripts().unwrap();

        assert_eq!(bash.matches("complete -F _jackfield_or_method ").count(), 2);
        assert!(!bash.contains("complete -F _jackfield "));
        assert_eq!(zsh.matches(":_jackfield_methods'").count(), 2);
        assert_eq!(zsh.matches(":_jackfield_methods_and_files'").count(), 1);
        assert!(zsh.starts_with("#compdef jackfield\n"));
        assert_eq!(fish.matches("(__fish_jackfield_methods)").count(), 3);
    }
}
