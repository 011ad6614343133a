//! The routes, resolved: one look-up from a method's name to its generation, deadline and permits.
//!
//! The table is built once per change, so that a request pays for one hash and nothing else, however many routes
//! and plugins there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::Run;
use rustc_hash::FxHashMap;

use super::failure::Failure;
use crate::config::{Config, Pattern, Route};
use crate::limits::Permits;
use crate::plugin::{Generation, PluginFacts, System};

/// Where requests for one method go.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) generation: Arc<Generation>,
    pub(crate) method: u32,
    pub(crate) run: Run,
    pub(crate) timeout: Duration,
    /// At most so many calls of the route at once, if it says so.
    pub(crate) permits: Option<Arc<Permits>>,
}

enum Entry {
    Open(Target),
    Unavailable { plugin: String },
    Closed,
}

/// All routes of one moment.
pub(crate) struct Table {
    // Keys come from the configuration and from manifests, never from a request: a fast hash does no harm.
    methods: FxHashMap<Box<str>, Entry>,
    /// Prefix routes to plugins that are not there: for the error's sake.
    absent: FxHashMap<Box<str>, String>,
    generations: Vec<Arc<Generation>>,
}

/// The configured routes, for looking up the longest that matches.
struct Patterns<'a> {
    exact: BTreeMap<&'a str, (&'a Route, Option<Arc<Permits>>)>,
    prefixes: BTreeMap<&'a str, (&'a Route, Option<Arc<Permits>>)>,
}

impl<'a> Patterns<'a> {
    fn new(routes: &'a [Route]) -> Self {
        let mut patterns = Self { exact: BTreeMap::new(), prefixes: BTreeMap::new() };
        for route in routes {
            let permits = route.max_in_flight.map(Permits::new);
            let (map, name) = match &route.method {
                Pattern::Exact(name) => (&mut patterns.exact, name),
                Pattern::Prefix(name) => (&mut patterns.prefixes, name),
            };
            map.insert(name, (route, permits));
        }
        patterns
    }

    fn longest(&self, method: &str) -> Option<&(&'a Route, Option<Arc<Permits>>)> {
        self.exact.get(method).or_else(|| parents(method).find_map(|parent| self.prefixes.get(parent)))
    }
}

/// `a.b.c` has the parents `a.b` and `a`, the longest first.
fn parents(method: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(method.rsplit_once('.').map(|(parent, _)| parent), |name| {
        name.rsplit_once('.').map(|(parent, _)| parent)
    })
}

impl Table {
    /// No route at all.
    pub(crate) fn empty() -> Self {
        Self { methods: FxHashMap::default(), absent: FxHashMap::default(), generations: Vec::new() }
    }

    /// Resolves the configured routes over what serves.
    pub(crate) fn build<'g>(
        config: &Config,
        serving: impl Iterator<Item = &'g Arc<Generation>>,
        own: &BTreeSet<String>,
    ) -> Self {
        let patterns = Patterns::new(&config.routes);
        let generations: Vec<_> = serving.map(Arc::clone).collect();
        let mut table = Self::empty();
        for generation in &generations {
            table.add(generation, config, &patterns, own);
        }
        let is_there = |plugin: &str| generations.iter().any(|g| *g.identity.plugin == *plugin);
        for route in &config.routes {
            let name = route.method.name().to_owned();
            if is_there(&route.plugin) {
                if matches!(route.method, Pattern::Exact(_)) && !table.methods.contains_key(name.as_str()) {
                    tracing::warn!(
                        method = name,
                        plugin = route.plugin,
                        "a route to a method its plugin lacks"
                    );
                }
                continue;
            }
            if route.enabled {
                tracing::warn!(route = %route.method, plugin = route.plugin, "a route to a plugin that is not there");
            }
            match &route.method {
                Pattern::Exact(_) if route.enabled => {
                    let entry = Entry::Unavailable { plugin: route.plugin.clone() };
                    table.methods.insert(name.into(), entry);
                }
                Pattern::Exact(_) => {
                    table.methods.insert(name.into(), Entry::Closed);
                }
                Pattern::Prefix(_) if route.enabled => {
                    table.absent.insert(name.into(), route.plugin.clone());
                }
                Pattern::Prefix(_) => {}
            }
        }
        table.generations = generations;
        table
    }

    fn add(
        &mut self,
        generation: &Arc<Generation>,
        config: &Config,
        patterns: &Patterns<'_>,
        own: &BTreeSet<String>,
    ) {
        let plugin = &*generation.identity.plugin;
        for (number, method) in (0u32..).zip(&generation.methods) {
            let route = if plugin == System::NAME { None } else { patterns.longest(&method.name) };
            let (timeout, permits) = match route {
                Some((route, _)) if !route.enabled => {
                    self.methods.insert(method.name.as_str().into(), Entry::Closed);
                    continue;
                }
                // The operator gave the name to another plugin.
                Some((route, _)) if route.plugin != plugin => continue,
                Some((route, permits)) => (route.timeout, permits.clone()),
                None if config.plugins.auto_route || own.contains(plugin) => (None, None),
                None => continue,
            };
            let target = Target {
                generation: Arc::clone(generation),
                method: number,
                run: method.run,
                timeout: timeout.unwrap_or(config.timeouts.request),
                permits,
            };
            self.methods.insert(method.name.as_str().into(), Entry::Open(target));
        }
    }

    /// Where a request for `method` goes.
    pub(crate) fn find(&self, method: &str) -> Result<&Target, Failure> {
        match self.methods.get(method) {
            Some(Entry::Open(target)) => Ok(target),
            Some(Entry::Unavailable { plugin }) => Err(Failure::PluginUnavailable(plugin.clone())),
            Some(Entry::Closed) => Err(Failure::MethodNotFound(method.to_owned())),
            None => match parents(method).find_map(|parent| self.absent.get(parent)) {
                Some(plugin) => Err(Failure::PluginUnavailable(plugin.clone())),
                None => Err(Failure::MethodNotFound(method.to_owned())),
            },
        }
    }

    /// Every method that a request can reach, sorted.
    pub(crate) fn method_names(&self) -> Vec<String> {
        let open = self.methods.iter().filter(|(_, entry)| matches!(entry, Entry::Open(_)));
        let names: BTreeSet<_> = open.map(|(name, _)| name.to_string()).collect();
        names.into_iter().collect()
    }

    /// Every plugin that serves.
    pub(crate) fn plugins(&self) -> Vec<PluginFacts> {
        let facts = |generation: &Arc<Generation>| {
            let identity = &generation.identity;
            PluginFacts {
                name: identity.plugin.to_string(),
                generation: identity.number,
                version: identity.version.clone(),
                hash: identity.hash.clone(),
            }
        };
        self.generations.iter().map(facts).collect()
    }
}
