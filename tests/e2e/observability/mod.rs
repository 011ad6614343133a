//! What a host tells of itself to those who watch over it: exactly what happened, whenever it is
//! asked.
//!
//! `books` is the ledger that a scrape is held against, `exact` the load during which that is done,
//! `endpoint` about HTTP and its clients, `ready` about whether the host is fit to serve,
//! `packaged` about what is shipped for Prometheus and Grafana.

mod accounting;
mod exact_metrics;
mod log;
mod metrics_endpoint;
mod packaged_monitoring;
mod plugin_output;
mod readiness;

use crate::support::HostProcess;

/// A host with these plugins, an endpoint, and more configuration.
#[track_caller]
fn host(plugins: &[&str], config: &str) -> HostProcess {
    let builder = plugins.iter().fold(HostProcess::builder(), |builder, plugin| builder.plugin(plugin));
    builder.config("[metrics]\nlisten = \"127.0.0.1:0\"").config(config).start()
}
