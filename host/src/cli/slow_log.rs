//! `jackfield slowlog`: prints the slowest and the failed requests of a running host.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use jackfield::admin::{SlowLogReport, SlowRequest, method};
use serde_json::Value;

use super::admin_client::{OperatorArgs, call, print};
use super::table::{format_cell, format_duration, format_micros, format_table};

const HEAD: [&str; 11] =
    ["AGO", "METHOD", "OUTCOME", "QUEUED", "RAN", "PLUGIN", "GENERATION", "UID", "PID", "CONN", "ID"];

/// The arguments of `jackfield slowlog`.
#[derive(Debug, Args)]
pub(crate) struct SlowLogArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Prints the slow log.
pub(crate) fn slowlog(args: &SlowLogArgs, config: Option<&Path>) -> ExitCode {
    let reply = call(&args.operator, config, method::SLOW_LOG, &Value::Null);
    print(reply, args.operator.json, |report: SlowLogReport| (render(&report, now_ms()), ExitCode::SUCCESS))
}

fn render(report: &SlowLogReport, now_ms: u64) -> String {
    let rows =
        |requests: &[SlowRequest]| format_table(&HEAD, requests.iter().map(|request| row(request, now_ms)));
    let mut text = format!("slowest successful requests of the last ten minutes\n{}\n", rows(&report.slow));
    text += &format!("latest failed requests of the last ten minutes\n{}", rows(&report.failed));
    if report.missed > 0 {
        text +=
            &format!("\n{} more requests were not recorded: another thread held the list\n", report.missed);
    }
    text
}

/// Returns the cells of one request, in the order of [`HEAD`].
fn row(request: &SlowRequest, now_ms: u64) -> Vec<String> {
    let or_dash = |text: &String| if text.is_empty() { "-".to_owned() } else { text.clone() };
    vec![
        format_duration(Duration::from_millis(now_ms.saturating_sub(request.at_ms))),
        or_dash(&request.method),
        request.outcome.clone(),
        format_micros(request.queued_us),
        format_micros(request.ran_us),
        format_cell(request.plugin.as_ref()),
        format_cell(request.generation),
        format_cell(request.uid),
        format_cell(request.pid),
        request.conn.to_string(),
        or_dash(&request.id),
    ]
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
