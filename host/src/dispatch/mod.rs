//! From a method's name to the code that runs it: routes, deadlines, calls, and what a failure says on the wire.

mod answer;
mod failure;
mod nested;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub(crate) use answer::{Asked, Ended};
pub(crate) use failure::Failure;
pub(crate) use table::{Table, Target};

use crate::config::{Limits, Timeouts};
use crate::counters::Counters;
use crate::limits::{Budget, Permits};
use crate::plugin::{PluginFacts, Told};

/// What every connection of a host shares.
pub(crate) struct Dispatcher {
    /// Replaced whole: a request sees one table, and takes its generation from it once.
    pub(crate) table: ArcSwap<Table>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) counters: Counters,
    pub(crate) connections: Arc<Permits>,
    pub(crate) in_flight: Arc<Permits>,
    pub(crate) budget: Arc<Budget>,
}

impl Dispatcher {
    /// Without any route; [`Dispatcher::publish`] brings them.
    pub(crate) fn new(limits: Limits, timeouts: Timeouts) -> Arc<Self> {
        Arc::new(Self {
            table: ArcSwap::from_pointee(Table::empty()),
            connections: Permits::new(limits.connections),
            in_flight: Permits::new(limits.in_flight),
            budget: Budget::new(limits.buffers),
            limits,
            timeouts,
            counters: Counters::default(),
        })
    }
}

impl Dispatcher {
    /// Lets requests find these routes from now on: one swap of a pointer.
    pub(crate) fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
    }
}

impl Told for Dispatcher {
    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let gauges = [
            ("connections_open", self.connections.held() as u64),
            ("in_flight", self.in_flight.held() as u64),
            ("buffered_bytes", self.budget.held()),
        ];
        self.counters.all().chain(gauges).collect()
    }

    fn plugins(&self) -> Vec<PluginFacts> {
        self.table.load().plugins()
    }

    fn methods(&self) -> Vec<String> {
        self.table.load().method_names()
    }
}
