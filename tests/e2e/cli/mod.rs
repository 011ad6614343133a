//! The commands of the program `jackfield`, as an operator runs them.

mod bench;
mod call;
mod call_checks;
mod call_options;
mod check_and_inspect;
mod closed_output;
mod describe;
mod dev;
mod older_host;
mod plugin_commands;
mod stats;
mod top;
