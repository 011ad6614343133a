//! The counters, plugins and methods of a host, as `system.info` and `system.methods` report them.

use std::collections::BTreeMap;

use crate::plugin::{HostInfo, PluginInfo};
use crate::routing::Dispatcher;

impl HostInfo for Dispatcher {
    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let gauges = [
            ("connections_open", self.connections.held() as u64),
            ("in_flight", self.in_flight.held() as u64),
            ("buffered_bytes", self.budget.held()),
            ("deaths", self.recorder.deaths().len() as u64),
            ("plugins_left_out", self.recorder.left_out_count() as u64),
        ];

        let mut counts = self.metrics.snapshot().counts();
        counts.extend(gauges);
        counts
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        self.table.load().plugins()
    }

    fn unhealthy(&self) -> Vec<String> {
        self.table.load().unhealthy()
    }

    fn methods(&self) -> Vec<String> {
        self.table.load().method_names()
    }
}
