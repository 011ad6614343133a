//! What a run came to, in words and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::drive::RunResult;
use super::{BenchArgs, Plan};

/// Everything that is told of a run. Names are those of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct BenchReport {
    socket: String,
    method: String,
    mode: &'static str,
    connections: u32,
    window: u32,
    /// Requests a second that were due; absent in a closed loop.
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
    /// Microseconds, of every reply.
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
        let any = !latencies.is_empty();
        Self {
            min: if any { micros(latencies.min()) } else { 0.0 },
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
    pub(super) fn new(words: &BenchArgs, socket: &Path, plan: &Plan, run: RunResult) -> Self {
        let RunResult { tally, elapsed } = run;
        let seconds = elapsed.as_secs_f64();
        Self {
            socket: socket.display().to_string(),
            method: words.method.clone(),
            mode: if words.is_async { "async" } else { "sync" },
            connections: plan.connections,
            window: plan.window,
            rate: words.rate,
            seconds,
            requests_per_second: tally.answered() as f64 / seconds.max(f64::MIN_POSITIVE),
            sent: tally.sent,
            results: tally.results,
            latency_us: Latency::of(&tally.latencies),
            errors: tally.errors,
            lost: tally.lost,
            unanswered: tally.unanswered,
            unsent: tally.unsent,
            wrong: tally.wrong,
            faults: tally.faults,
            bytes_in: tally.bytes_in,
            bytes_out: tally.bytes_out,
        }
    }

    /// Whether every request had its one reply, and not every reply was an error.
    pub(super) fn is_good(&self) -> bool {
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
        let due = self.rate.map_or(String::new(), |rate| format!(", {rate} due a second"));
        let _ = writeln!(text, "{mode} {method}, {connections} connections, {window} in flight on each{due}");
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
        let faults = [
            (self.lost, "lost with their connection"),
            (self.unanswered, "never answered"),
            (self.unsent, "due and not sent: no room"),
            (self.wrong, "frames that nobody asked for"),
        ];
        for (count, what) in faults.iter().filter(|(count, _)| *count > 0) {
            let _ = writeln!(text, "  {count} {what}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "  {fault}");
        }
        text
    }
}
