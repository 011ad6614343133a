//! `jackfield call`: sends one request with the client library and prints its result.

mod args;
mod exchange;
mod param_check;

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jackfield_client::{Payload, Reply, Version};
use serde_json::value::RawValue;

use self::args::Params;
use self::exchange::exchange;
use super::command_error::CommandError;
use super::contract_source::{DISCOVERY_TIMEOUT, read_host};
use super::example_call::{example_calls, host_options};
use super::exit_code::fail;
use super::method_names::no_method;
use super::output::print_message;
use super::request_socket::find_socket;
use super::table::format_duration;

pub(crate) use self::args::CallArgs;

/// Sends the request. Prints exactly the bytes of the result, and a newline after JSON.
pub(crate) fn call(args: &CallArgs, config: Option<&Path>) -> ExitCode {
    match try_call(args, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error),
    }
}

fn try_call(args: &CallArgs, config: Option<&Path>) -> Result<(), CommandError> {
    if args.example {
        return print_bytes(&[example(args, config)?.as_bytes()]);
    }

    // First, because a request that cannot be sent needs neither configuration nor host.
    let params = match &args.bytes {
        Some(file) => Params::Bytes(read_bytes(file)?),
        None => Params::Json(args.params.as_deref().map(parse_params).transpose()?),
    };
    let socket = find_socket(args.socket.as_deref(), config)?;

    let reply = exchange(args, &socket, &params)?;
    if args.verbose {
        print_message(details_of(&reply));
    }

    match reply.result.map_err(|error| CommandError::Call { socket, error })? {
        Payload::Json(json) => print_bytes(&[&json, b"\n"]),
        Payload::Bytes(bytes) => print_bytes(&[&bytes]),
    }
}

fn print_bytes(parts: &[&[u8]]) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    let written = parts.iter().try_for_each(|part| stdout.write_all(part));
    written.and_then(|()| stdout.flush()).map_err(CommandError::Output)
}

/// Returns the command line of an example call.
fn example(args: &CallArgs, config: Option<&Path>) -> Result<String, CommandError> {
    let socket = find_socket(args.socket.as_deref(), config)?;
    let described = read_host(&socket, args.timeout.unwrap_or(DISCOVERY_TIMEOUT))?;
    let method = described.contract.method(&args.method);
    let method = method.ok_or_else(|| no_method(&described.contract, &args.method))?;

    let call = example_calls(method).unwrap_or_default().into_iter().next();
    let call = call.ok_or_else(|| CommandError::NoExample { method: args.method.clone() })?;
    let options = host_options(args.socket.as_deref(), config);
    Ok(format!("jackfield {}{options}\n", call.arguments))
}

/// Parses the argument PARAMS; `-` stands for standard input.
pub(super) fn parse_params(argument: &str) -> Result<Box<RawValue>, CommandError> {
    if argument != "-" {
        return serde_json::from_str(argument).map_err(CommandError::Params);
    }
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).map_err(CommandError::Stdin)?;
    serde_json::from_str(&text).map_err(CommandError::Params)
}

fn read_bytes(file: &Path) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    read.map_err(|source| CommandError::Bytes { file: file.to_owned(), source })
}

/// Returns what `--verbose` prints.
fn details_of(reply: &Reply) -> String {
    let Some(version) = reply.version else { return "no reply".to_owned() };
    let Some(timing) = reply.timing else {
        let remark = if version < Version::V1_2 { "without timing" } else { "no timing in the reply" };
        return format!("protocol {version}, {remark}");
    };

    let queued = format_duration(Duration::from_micros(timing.queued_us.into()));
    let run = format_duration(Duration::from_micros(timing.run_us.into()));
    let generation = match timing.generation {
        0 => "answered by the host".to_owned(),
        number => format!("answered by generation {number}"),
    };
    format!("protocol {version}, queued {queued}, run {run}, {generation}")
}
