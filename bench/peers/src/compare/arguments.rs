//! The arguments of `compare`.

use std::path::PathBuf;
use std::time::Duration;

/// The arguments of `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArguments {
    /// Program `jackfield`, with its plugins in the same directory
    #[arg(long, default_value = "target/release/jackfield")]
    pub(super) jackfield: PathBuf,
    /// Plugin of bench/peers/plugin
    #[arg(long, default_value = "target/peers/release/libcopy000.so")]
    pub(super) plugin: PathBuf,
    /// Server of bench/go; skipped if the file is missing
    #[arg(long, default_value = "target/bench/go-server")]
    pub(super) go: PathBuf,
    /// Number of runs of each load against each server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
    /// Duration of each run in milliseconds
    #[arg(long, default_value_t = 750)]
    pub(super) run_ms: u64,
    /// Measure only servers whose name contains one of these, and those that they are compared with
    #[arg(long)]
    pub(super) only: Vec<String>,
    /// Measure instead whether cost grows with connections, routes, plugins, requests served,
    /// payloads
    #[arg(long)]
    pub(super) flat: bool,
    /// Measure instead an open loop at parts of the peak, without and with a reload every second
    #[arg(long, conflicts_with = "flat")]
    pub(super) tail: bool,
    /// File for the plot of --flat
    #[arg(long, requires = "flat")]
    pub(super) plot: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    pub(super) json: bool,
}

impl CompareArguments {
    pub(super) fn run_duration(&self) -> Duration {
        Duration::from_millis(self.run_ms)
    }
}
