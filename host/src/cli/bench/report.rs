//! The report of a run, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::args::BenchArgs;
use super::driver::RunResult;
use super::plan::LoadPlan;

/// The report of a run. The names of its fields are the members that `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct BenchReport {
    socket: String,
    method: String,
    mode: &'static str,
    connections: u32,
    window: u32,

    /// Requests per second that were due; absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    seconds: f64,
    requests_per_second: f64,
    sent: u64,
    results: u64,

    /// Error replies by their code.
    errors: BTreeMap<i64, u64>,
    lost: u64,
    unanswered: u64,
    unsent: u64,
    wrong: u64,
    faults: Vec<String>,
    bytes_in: u64,
    bytes_out: u64,

    /// Latencies of all replies, in microseconds.
    latency_us: Latency,
}

#[derive(Debug, Serialize)]
struct Latency {
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| micros(latencies.value_at_quantile(quantile));
        Self {
            min: micros(latencies.min()),
            mean: latencies.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(latencies.max()),
        }
    }
}

impl BenchReport {
    pub(super) fn new(args: &BenchArgs, socket: &Path, plan: &LoadPlan, result: RunResult) -> Self {
        let RunResult { tally, elapsed } = result;
        let seconds = elapsed.as_secs_f64();

        Self {
            socket: socket.display().to_string(),
            method: args.method.clone(),
            mode: if args.is_async { "async" } else { "sync" },
            connections: plan.connections,
            window: plan.window,
            rate: args.rate,
            seconds,
            requests_per_second: tally.answered() as f64 / seconds.max(f64::MIN_POSITIVE),
            sent: tally.sent,
            results: tally.results,
            latency_us: Latency::of(&tally.latencies),
            errors: tally.errors,
            lost: tally.lost,
            unanswered: tally.unanswered,
            unsent: tally.unsent,
            wrong: tally.unexpected,
            faults: tally.faults,
            bytes_in: tally.bytes_in,
            bytes_out: tally.bytes_out,
        }
    }

    /// Returns whether every request got exactly one reply, and not every reply was an error.
    pub(super) fn is_success(&self) -> bool {
        let all_errors = self.results == 0 && !self.errors.is_empty();
        self.lost + self.unanswered + self.wrong == 0 && !all_errors
    }

    pub(super) fn print_json(&self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        serde_json::to_writer(&mut stdout, self)?;
        writeln!(stdout)
    }

    pub(super) fn print_text(&self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(self.text().as_bytes())?;
        stdout.flush()
    }

    fn text(&self) -> String {
        let mut text = String::new();

        let Self { mode, method, connections, window, .. } = self;
        let rate = self.rate.map_or(String::new(), |rate| format!(", {rate} due per second"));
        let _ =
            writeln!(text, "{mode} {method}, {connections} connections, {window} in flight on each{rate}");

        let _ = writeln!(
            text,
            "  {:.0} requests/s: {} answered in {:.2} s",
            self.requests_per_second,
            self.results + self.errors.values().sum::<u64>(),
            self.seconds
        );
        let Latency { min, mean, p50, p90, p99, p999, max } = &self.latency_us;
        let _ = writeln!(
            text,
            "  latency in us: min {min:.1}, mean {mean:.1}, p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, p999 {p999:.1}, max {max:.1}"
        );

        for (code, count) in &self.errors {
            let _ = writeln!(text, "  error {code}: {count}");
        }
        let counts = [
            (self.lost, "lost: their connection ended"),
            (self.unanswered, "not answered"),
            (self.unsent, "due and not sent: every connection had its window full"),
            (self.wrong, "wrong or unexpected frames"),
        ];
        for (count, meaning) in counts.iter().filter(|(count, _)| *count > 0) {
            let _ = writeln!(text, "  {count} {meaning}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "  {fault}");
        }
        text
    }
}
