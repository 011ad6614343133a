//! The arguments of `jackfield call`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jackfield::config::parse_duration;
use serde_json::value::RawValue;

/// The arguments of `jackfield call`.
#[derive(Debug, Args)]
#[command(after_help = "\
Before the request, the host is asked with rpc.discover what the method accepts. If it does not answer that, if the params \
of the method are not described, and for methods of the host itself, the request is sent unchecked.

Ctrl-C asks the host to cancel the call and waits up to a second for its reply; a second Ctrl-C does not wait.

Exit codes: 0 result on standard output; 1 error reply on standard error; 64 PARAMS cannot be sent or do not fit the method; 69 no \
connection to a host, or it ended before the reply; 75 time-out; 76 the peer does not speak the protocol, or \
not the version that --bytes needs; 78 the configuration cannot be used; 130 interrupted.")]
pub(crate) struct CallArgs {
    /// Method to call, such as `system.info`
    pub(super) method: String,

    /// Params as JSON; `-` reads them from standard input [default: no params]
    #[arg(allow_negative_numbers = true)]
    pub(super) params: Option<String>,

    /// Send the content of a file as opaque bytes instead of params; `-` reads standard input. A
    /// result that is opaque bytes is written as it is, without a newline
    #[arg(long, value_name = "FILE", conflicts_with = "params")]
    pub(super) bytes: Option<PathBuf>,

    /// Print a call of METHOD that can be pasted into a shell, and send nothing: the example of
    /// its author, or one that fits its params
    #[arg(long, conflicts_with_all = ["params", "bytes", "is_async", "meta", "traceparent", "verbose"])]
    pub(super) example: bool,

    /// Send the params also if they do not fit the method, and do not ask the host about it
    #[arg(long)]
    pub(super) no_check: bool,

    /// Socket of the host [default: the first `[[listener]]` with binary framing in the
    /// configuration]
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,

    /// Send an async request instead of a sync request
    #[arg(long = "async")]
    pub(super) is_async: bool,

    /// Time for the whole call, such as 250ms or 5s [default: 5s]. The request tells the host what
    /// is left of it. If this option is passed, wait for a host that is not running yet
    #[arg(long, visible_alias = "deadline", value_name = "DURATION", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,

    /// Metadata for the plugin, at most 16 pairs; may be passed several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(super) meta: Vec<(String, String)>,

    /// Trace that the call belongs to: a `traceparent` of W3C Trace Context
    #[arg(long, value_name = "TEXT")]
    pub(super) traceparent: Option<String>,

    /// Print the version of the protocol, how long the request was queued and ran, and the
    /// generation of the plugin to standard error
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// The params of a call.
pub(super) enum Params {
    Json(Option<Box<RawValue>>),
    Bytes(Vec<u8>),
}

/// Parses an argument of `--meta`. The value may contain further equals signs.
fn parse_pair(argument: &str) -> Result<(String, String), &'static str> {
    let (name, value) = argument.split_once('=').ok_or("KEY=VALUE has no equals sign")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        call: CallArgs,
    }

    #[test]
    fn takes_a_negative_number_as_params() {
        let command = Command::try_parse_from(["call", "a.b", "-1.5", "--no-check"]).unwrap();
        assert_eq!(command.call.params.as_deref(), Some("-1.5"));
        assert!(Command::try_parse_from(["call", "a.b", "-x"]).is_err());
    }

    #[test]
    fn splits_metadata_at_the_first_equals_sign() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parse_pair("a=b=c"), pair("a", "b=c"));
        assert_eq!(parse_pair("a="), pair("a", ""));
        assert!(parse_pair("a").is_err());
    }
}
