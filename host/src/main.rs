//! The program `jackfield`: parses its arguments, runs the command, and ends with its exit code.
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic when the reader has ended")]

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // First: this process may have been started to probe a plugin or as its worker process, and
    // then does nothing else.
    let entry = jackfield::enter();

    let args = cli::Cli::parse();
    let config = args.config.as_deref();
    match args.command.unwrap_or(cli::Command::Serve) {
        cli::Command::Serve => cli::serve(config, &entry),
        cli::Command::Dev => cli::dev(config, &entry),
        cli::Command::Check(check) => cli::check(&check, config, &entry),
        cli::Command::Call(call) => cli::call(&call, config),
        cli::Command::Describe(describe) => cli::describe(&describe, config, &entry),
        cli::Command::Bench(bench) => cli::bench(&bench, config),
        cli::Command::Reload(reload) => cli::reload(&reload, config),
        cli::Command::Stats(stats) => cli::stats(&stats, config),
        cli::Command::Top(top) => cli::top(&top, config),
        cli::Command::SlowLog(slowlog) => cli::slowlog(&slowlog, config),
        cli::Command::Generate(command) => cli::generate(&command, config, &entry),
        cli::Command::Complete(complete) => cli::complete(&complete),
        #[cfg(feature = "pages")]
        cli::Command::Pages(pages) => cli::pages(&pages),
        cli::Command::Plugin(command) => match command {
            cli::PluginCommand::Inspect(inspect) => cli::inspect(&inspect, config),
            cli::PluginCommand::List(list) => cli::list_plugins(&list, config),
            cli::PluginCommand::Reload(reload) => cli::reload_plugins(&reload, config),
            cli::PluginCommand::Rollback(rollback) => cli::roll_back_plugin(&rollback, config),
            cli::PluginCommand::Isolate(isolate) => cli::isolate_plugin(&isolate, config),
        },
    }
}
