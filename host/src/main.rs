//! The program `jackfield`: reads its words, does what they say, ends with the exit code of sysexits.h.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // First: this program may have been started to try a plugin out, and then becomes that and nothing else.
    let entry = jackfield::enter();
    let words = cli::Cli::parse();
    match words.command.unwrap_or(cli::Command::Serve) {
        cli::Command::Serve => cli::serve(words.config.as_deref(), &entry),
        cli::Command::Dev => cli::dev(words.config.as_deref(), &entry),
        cli::Command::Check => cli::check(words.config.as_deref()),
        cli::Command::Call(call) => cli::call(&call, words.config.as_deref()),
        cli::Command::Bench(bench) => cli::bench(&bench, words.config.as_deref()),
        cli::Command::Reload(words_of_it) => cli::reload(&words_of_it, words.config.as_deref()),
        cli::Command::Stats(stats) => cli::stats(&stats, words.config.as_deref()),
        cli::Command::Top(top) => cli::top(&top, words.config.as_deref()),
        cli::Command::SlowLog(slowlog) => cli::slowlog(&slowlog, words.config.as_deref()),
        cli::Command::Pages(pages) => cli::pages(&pages),
        cli::Command::Plugin(command) => match command {
            cli::PluginCommand::Inspect(inspect) => cli::inspect(&inspect, words.config.as_deref()),
            cli::PluginCommand::List(list) => cli::list_plugins(&list, words.config.as_deref()),
            cli::PluginCommand::Reload(reload) => cli::reload_plugins(&reload, words.config.as_deref()),
            cli::PluginCommand::Rollback(rollback) => {
                cli::roll_back_plugin(&rollback, words.config.as_deref())
            }
        },
    }
}
