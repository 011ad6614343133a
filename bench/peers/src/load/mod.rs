//! Load generators for the peers that do not speak the framed protocol. Their report has the members of
//! `jackfield bench --json` that are compared.

mod closed;
mod redis;
mod tarpc;
mod tonic;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    Redis,
    Tarpc,
    Tonic,
}

/// The words of `load`.
#[derive(Debug, clap::Args)]
pub(crate) struct Words {
    language: Language,
    #[arg(long)]
    socket: PathBuf,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 1)]
    window: usize,
    #[arg(long, default_value_t = 1000)]
    duration_ms: u64,
}

/// What a load came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) results: u64,
    pub(crate) seconds: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) latency_us: Latency,
    /// What must be nought; only `jackfield bench` counts them, the others end at the first fault.
    #[serde(default)]
    pub(crate) lost: u64,
    #[serde(default)]
    pub(crate) unanswered: u64,
    #[serde(default)]
    pub(crate) wrong: u64,
    #[serde(default)]
    pub(crate) errors: std::collections::BTreeMap<String, u64>,
    /// Requests of an open loop that were due and for which there was no room: the rate was not kept.
    #[serde(default)]
    pub(crate) unsent: u64,
}

/// Microseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// The latencies of a load while it runs.
pub(crate) struct Tally {
    began: Instant,
    until: Instant,
    latencies: Histogram<u64>,
}

impl Tally {
    fn new(length: Duration) -> io::Result<Self> {
        let began = Instant::now();
        let latencies = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).map_err(io::Error::other)?;
        Ok(Self { began, until: began + length, latencies })
    }

    /// Counts a reply; whether another request is to follow.
    fn answered(&mut self, asked: Instant) -> bool {
        let now = Instant::now();
        let nanos = u64::try_from((now - asked).as_nanos()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(nanos.max(1));
        now < self.until
    }

    fn report(&self) -> Report {
        let seconds = self.began.elapsed().as_secs_f64();
        let results = self.latencies.len();
        let at = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1e3;
        Report {
            results,
            seconds,
            requests_per_second: results as f64 / seconds,
            latency_us: Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999) },
            lost: 0,
            unanswered: 0,
            wrong: 0,
            errors: Default::default(),
            unsent: 0,
        }
    }
}

/// Sends the load and prints what it came to.
pub(crate) fn run(words: &Words) -> io::Result<()> {
    let Words { language, socket, connections, window, duration_ms } = words;
    let length = Duration::from_millis(*duration_ms);
    let report = match language {
        Language::Redis => redis::run(socket, *connections, *window, length),
        Language::Tarpc => tarpc::run(socket, *connections, *window, length),
        Language::Tonic => tonic::run(socket, *connections, *window, length),
    }?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
