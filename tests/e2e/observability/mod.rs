//! The log, the metrics endpoint and the readiness of a host: they report exactly what happened.
//!
//! `request_counts` counts what the clients of a test send and receive, and `exact_metrics`
//! compares scrapes with these counts under load.

mod exact_metrics;
mod full_record_directory;
mod journald;
mod log;
mod metrics_endpoint;
mod packaged_monitoring;
mod plugin_output;
mod readiness;
mod request_counts;

use crate::support::HostProcess;

/// Starts a host with these plugins, a metrics endpoint, and this additional configuration.
#[track_caller]
fn host(plugins: &[&str], config: &str) -> HostProcess {
    let builder = plugins.iter().fold(HostProcess::builder(), |builder, plugin| builder.plugin(plugin));
    builder.config("[metrics]\nlisten = \"127.0.0.1:0\"").config(config).start()
}
