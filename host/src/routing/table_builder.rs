//! Building a routing table: the configured routes, resolved over the methods of the plugins that
//! serve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jackfield_plugin_api::manifest::DeclaredMethod;

use super::gate::StateTransferGate;
use super::route_permits::RoutePermits;
use super::table::{HeldTarget, RouteTarget, RoutingTable, TableEntry, parents};
use super::unavailable::{UnavailablePlugin, UnavailableTarget};
use crate::config::{Config, Pattern, Route};
use crate::metrics::{MethodId, MethodNames};
use crate::plugin::{Generation, SystemPlugin};

/// Plugins that are being replaced, and the gate that their calls wait for.
#[derive(Default)]
pub(crate) struct HeldPlugins {
    pub(crate) plugins: BTreeSet<String>,

    /// Those of them that are stopped before their successors start.
    pub(crate) stopping: BTreeSet<String>,

    pub(crate) gate: Arc<StateTransferGate>,
}

/// The treatment of calls of plugins that are being replaced.
#[derive(Clone, Copy)]
pub(crate) enum CallHold<'a> {
    /// No plugin is being replaced.
    None,

    /// They wait at the gate.
    AtGate(&'a HeldPlugins),

    /// They have waited for as long as they may, and are answered PLUGIN_UNAVAILABLE.
    Over(&'a HeldPlugins),
}

/// Everything that a routing table is built from, the generations excepted.
pub(crate) struct TableBuilder<'a> {
    pub(crate) config: &'a Config,

    /// The names of the built-in plugins, which need no route.
    pub(crate) built_in: &'a BTreeSet<String>,

    pub(crate) permits: &'a RoutePermits,
    pub(crate) hold: CallHold<'a>,
    pub(crate) method_names: &'a MethodNames,
}

impl RoutingTable {
    /// Returns a table with the methods of built-in plugins and nothing else.
    pub(crate) fn of_built_in(plugins: Vec<Arc<Generation>>, method_names: &MethodNames) -> Self {
        let builder = TableBuilder {
            config: &Config::default(),
            built_in: &BTreeSet::new(),
            permits: &RoutePermits::default(),
            hold: CallHold::None,
            method_names,
        };
        builder.build(plugins, Vec::new())
    }
}

impl HeldTarget {
    fn new(
        held: &HeldPlugins,
        plugin: &str,
        route: Option<&Route>,
        counted: MethodId,
        previous: Option<RouteTarget>,
    ) -> Self {
        Self {
            gate: Arc::clone(&held.gate),
            previous,
            awaits_async: held.stopping.contains(plugin),
            plugin: plugin.to_owned(),
            allow: route.and_then(|route| route.allow.clone()),
            counted,
        }
    }
}

/// How requests reach a method of a plugin.
enum MethodAccess<'a> {
    /// By this route, or without one.
    Open(Option<&'a Route>),
    /// The route is disabled.
    Closed,
    /// Not at all: a route gives the name to another plugin, or a route is missing that is needed.
    NoRoute,
}

impl TableBuilder<'_> {
    /// Resolves the configured routes over the methods of `serving`, one generation for each
    /// plugin, and of refused contents. The latter take no name that another plugin serves.
    pub(crate) fn build(
        &self,
        serving: Vec<Arc<Generation>>,
        unavailable: Vec<UnavailablePlugin>,
    ) -> RoutingTable {
        let patterns = PatternIndex::new(&self.config.routes);
        let mut table = RoutingTable::empty();

        for generation in &serving {
            for (number, method) in (0..).zip(&generation.methods) {
                if let Some(entry) = self.resolve(generation, number, method, &patterns) {
                    table.methods.insert(method.name.as_str().into(), entry);
                }
            }
        }
        table.generations = serving;
        table.unavailable = unavailable;
        self.add_unavailable(&mut table, &patterns);

        for route in &self.config.routes {
            if !table.has_plugin(&route.plugin) {
                self.add_absent(&mut table, route);
            }
        }
        table
    }

    fn access<'r>(&self, plugin: &str, method: &str, patterns: &PatternIndex<'r>) -> MethodAccess<'r> {
        let route = if plugin == SystemPlugin::NAME { None } else { patterns.longest(method) };

        match route {
            Some(route) if !route.enabled => MethodAccess::Closed,
            // The operator has given the name to another plugin.
            Some(route) if route.plugin != plugin => MethodAccess::NoRoute,
            None if !self.config.plugins.auto_route && !self.built_in.contains(plugin) => {
                MethodAccess::NoRoute
            }
            route => MethodAccess::Open(route),
        }
    }

    /// Returns the entry for a method of a plugin that serves; `None` if no request reaches it.
    fn resolve(
        &self,
        generation: &Arc<Generation>,
        number: u32,
        method: &DeclaredMethod,
        patterns: &PatternIndex<'_>,
    ) -> Option<TableEntry> {
        let plugin = &*generation.identity.plugin;
        let route = match self.access(plugin, &method.name, patterns) {
            MethodAccess::Open(route) => route,
            MethodAccess::Closed => {
                return Some(TableEntry::Closed { counted: self.method_names.intern(&method.name) });
            }
            MethodAccess::NoRoute => return None,
        };

        let target = RouteTarget {
            generation: Arc::clone(generation),
            method: number,
            counted: self.method_names.intern(&method.name),
            declared: method.run,
            timeout: route.and_then(|route| route.timeout).unwrap_or(self.config.timeouts.request),
            permits: route.and_then(|route| self.permits.of(route)),
            allow: route.and_then(|route| route.allow.clone()),
        };
        Some(match self.hold {
            CallHold::AtGate(held) if held.plugins.contains(plugin) => {
                TableEntry::Held(Box::new(HeldTarget::new(held, plugin, route, target.counted, Some(target))))
            }
            CallHold::Over(held) if held.plugins.contains(plugin) => {
                TableEntry::Unavailable(Box::new(UnavailableTarget::new(plugin, route, None, target.counted)))
            }
            CallHold::None | CallHold::AtGate(_) | CallHold::Over(_) => TableEntry::Open(target),
        })
    }

    /// Returns the entry for a method that no generation serves.
    fn unserved(
        &self,
        unavailable: &UnavailablePlugin,
        route: Option<&Route>,
        counted: MethodId,
    ) -> TableEntry {
        let plugin = &*unavailable.plugin;
        match self.hold {
            CallHold::AtGate(held) if held.stopping.contains(plugin) => {
                TableEntry::Held(Box::new(HeldTarget::new(held, plugin, route, counted, None)))
            }
            CallHold::None | CallHold::AtGate(_) | CallHold::Over(_) => TableEntry::Unavailable(Box::new(
                UnavailableTarget::new(plugin, route, Some(unavailable), counted),
            )),
        }
    }

    /// Adds the methods of refused contents, as far as no plugin serves them.
    fn add_unavailable(&self, table: &mut RoutingTable, patterns: &PatternIndex<'_>) {
        let RoutingTable { methods, unavailable, .. } = table;
        for refused in &*unavailable {
            for method in &refused.methods {
                if methods.contains_key(method.as_str()) {
                    continue;
                }

                let counted = || self.method_names.intern(method);
                let entry = match self.access(&refused.plugin, method, patterns) {
                    MethodAccess::Open(route) => self.unserved(refused, route, counted()),
                    MethodAccess::Closed => TableEntry::Closed { counted: counted() },
                    MethodAccess::NoRoute => continue,
                };
                methods.insert(method.as_str().into(), entry);
            }
        }
    }

    /// Adds a route whose plugin is missing, so that requests get an error that says so.
    fn add_absent(&self, table: &mut RoutingTable, route: &Route) {
        let name: Box<str> = route.method.name().into();
        let refused = table.unavailable.iter().find(|refused| refused.plugin == route.plugin);
        let target = |counted| UnavailableTarget::new(&route.plugin, Some(route), refused, counted);

        match &route.method {
            // The calls of the method wait.
            Pattern::Exact(_) if matches!(table.methods.get(&name), Some(TableEntry::Held(_))) => {}
            Pattern::Exact(_) if route.enabled => {
                let absent = Box::new(target(self.method_names.intern(&name)));
                table.methods.insert(name, TableEntry::Unavailable(absent));
            }
            Pattern::Exact(_) => {
                let counted = self.method_names.intern(&name);
                table.methods.insert(name, TableEntry::Closed { counted });
            }
            Pattern::Prefix(_) if route.enabled => {
                let absent = target(MethodId::UNKNOWN);
                table.absent.insert(name, absent);
            }
            Pattern::Prefix(_) => {}
        }
    }
}

/// The configured routes by pattern.
struct PatternIndex<'a> {
    exact: BTreeMap<&'a str, &'a Route>,
    prefixes: BTreeMap<&'a str, &'a Route>,
}

impl<'a> PatternIndex<'a> {
    fn new(routes: &'a [Route]) -> Self {
        let mut patterns = Self { exact: BTreeMap::new(), prefixes: BTreeMap::new() };
        for route in routes {
            match &route.method {
                Pattern::Exact(name) => patterns.exact.insert(name, route),
                Pattern::Prefix(name) => patterns.prefixes.insert(name, route),
            };
        }
        patterns
    }

    /// Returns the exact route of a method, or else the one with the longest prefix.
    fn longest(&self, method: &str) -> Option<&'a Route> {
        let exact = self.exact.get(method);
        exact.or_else(|| parents(method).find_map(|parent| self.prefixes.get(parent))).copied()
    }
}

#[cfg(test)]
mod tests;
