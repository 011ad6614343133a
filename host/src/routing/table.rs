//! The routes, resolved: one look-up from a method's name to its generation, deadline and permits.
//!
//! The table is built once per change, so that a request pays for one hash and nothing else, however many routes
//! and plugins there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::Run;
use rustc_hash::FxHashMap;

use super::gate::StateTransferGate;
use super::request_error::RequestError;
use crate::config::{Allow, Config, Pattern, Route};
use crate::limits::Permits;
use crate::metrics::{MethodId, MethodNames, PeerIdentity};
use crate::plugin::{Generation, PluginInfo, SystemPlugin};

/// Where requests for one method go.
#[derive(Clone)]
pub(crate) struct RouteTarget {
    pub(crate) generation: Arc<Generation>,
    pub(crate) method: u32,
    /// What its requests are counted under.
    pub(crate) counted: MethodId,
    /// The way that it was declared to run; see [`RouteTarget::run`].
    pub(crate) declared: Run,
    pub(crate) timeout: Duration,
    /// At most so many calls of the route at once, if it says so.
    pub(crate) permits: Option<Arc<Permits>>,
    /// Who may call, if the route says so; looked at by [`RoutingTable::find`].
    pub(crate) allow: Option<Arc<Allow>>,
    /// Calls wait until it opens: the generation hands its state over.
    pub(crate) held: Option<Arc<StateTransferGate>>,
}

impl RouteTarget {
    /// The way that it runs now.
    pub(crate) fn run(&self) -> Run {
        self.generation.effective_run(self.method, self.declared)
    }
}

enum TableEntry {
    Open(RouteTarget),
    Unavailable(AbsentPlugin),
    Closed { counted: MethodId },
}

/// A method that no request can reach now.
#[derive(Debug)]
pub(crate) struct RouteError {
    pub(crate) failure: RequestError,
    /// What requests for it are counted under.
    pub(crate) counted: MethodId,
}

impl From<RouteError> for RequestError {
    fn from(unreachable: RouteError) -> Self {
        unreachable.failure
    }
}

/// The plugin of a route that is not there.
struct AbsentPlugin {
    plugin: String,
    /// Who may know that it is not.
    allow: Option<Arc<Allow>>,
    /// What requests for it are counted under.
    counted: MethodId,
}

impl AbsentPlugin {
    fn of(route: &Route, counted: MethodId) -> Self {
        Self { plugin: route.plugin.clone(), allow: route.allow.clone(), counted }
    }
}

/// Who asks for a method.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Requester {
    /// A client; `None` when the kernel would not say who it is, which no list lets in.
    Client(Option<PeerIdentity>),
    /// Another plugin: what it lets its own callers do is its own affair.
    Plugin,
}

impl Requester {
    fn passes(self, allow: Option<&Allow>) -> Result<(), RequestError> {
        let (Some(allow), Self::Client(peer)) = (allow, self) else { return Ok(()) };
        match peer {
            Some(peer) if allow.lets(peer.uid, peer.gid) => Ok(()),
            _ => Err(RequestError::PermissionDenied),
        }
    }

    fn told_of(self, absent: &AbsentPlugin) -> RequestError {
        match self.passes(absent.allow.as_deref()) {
            Ok(()) => RequestError::unavailable(&absent.plugin),
            Err(denied) => denied,
        }
    }
}

/// All routes of one moment.
pub(crate) struct RoutingTable {
    // Keys come from the configuration and from manifests, never from a request: a fast hash does no harm.
    methods: FxHashMap<Box<str>, TableEntry>,
    /// Prefix routes to plugins that are not there: for the error's sake.
    absent: FxHashMap<Box<str>, AbsentPlugin>,
    generations: Vec<Arc<Generation>>,
}

/// The permits of the configured routes. They outlive a table: what was accepted by one counts in the next.
#[derive(Default)]
pub(crate) struct RoutePermits(BTreeMap<String, Arc<Permits>>);

impl RoutePermits {
    /// As these routes say from now on.
    pub(crate) fn update(&mut self, routes: &[Route]) {
        let limited =
            routes.iter().filter_map(|route| Some((route.method.to_string(), route.max_in_flight?)));
        let limited: BTreeMap<_, _> = limited.collect();
        self.0.retain(|pattern, _| limited.contains_key(pattern));
        for (pattern, most) in limited {
            self.0.entry(pattern).or_insert_with(|| Permits::new(most)).set_limit(most);
        }
    }

    fn of(&self, route: &Route) -> Option<Arc<Permits>> {
        self.0.get(&route.method.to_string()).cloned()
    }
}

/// Plugins whose calls are held while their state is handed over, and what they wait for.
pub(crate) struct HeldPlugins {
    pub(crate) plugins: BTreeSet<String>,
    pub(crate) gate: Arc<StateTransferGate>,
}

/// The configured routes, for looking up the longest that matches.
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

    fn longest(&self, method: &str) -> Option<&'a Route> {
        let exact = self.exact.get(method);
        exact.or_else(|| parents(method).find_map(|parent| self.prefixes.get(parent))).copied()
    }
}

/// What routes are resolved by.
struct RouteResolver<'a> {
    config: &'a Config,
    patterns: PatternIndex<'a>,
    /// The plugins of the program, which need no route.
    own: &'a BTreeSet<String>,
    permits: &'a RoutePermits,
    names: &'a MethodNames,
}

/// `a.b.c` has the parents `a.b` and `a`, the longest first.
fn parents(method: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(method.rsplit_once('.').map(|(parent, _)| parent), |name| {
        name.rsplit_once('.').map(|(parent, _)| parent)
    })
}

impl RoutingTable {
    /// No route at all.
    pub(crate) fn empty() -> Self {
        Self { methods: FxHashMap::default(), absent: FxHashMap::default(), generations: Vec::new() }
    }

    /// The methods of plugins that are part of the program, and nothing else.
    pub(crate) fn of_own(plugins: Vec<Arc<Generation>>, names: &MethodNames) -> Self {
        Self::build(&Config::default(), plugins, &BTreeSet::new(), &RoutePermits::default(), None, names)
    }

    /// Resolves the configured routes over what serves. `own` are the plugins of the program, which need no route.
    pub(crate) fn build(
        config: &Config,
        serving: Vec<Arc<Generation>>,
        own: &BTreeSet<String>,
        permits: &RoutePermits,
        held: Option<&HeldPlugins>,
        names: &MethodNames,
    ) -> Self {
        let routing =
            RouteResolver { config, patterns: PatternIndex::new(&config.routes), own, permits, names };
        let mut table = Self::empty();
        for generation in &serving {
            let held = held.filter(|held| held.plugins.contains(&*generation.identity.plugin));
            table.add(generation, &routing, held.map(|held| &held.gate));
        }
        table.generations = serving;
        for route in &config.routes {
            if table.has(&route.plugin) {
                continue;
            }
            let name: Box<str> = route.method.name().into();
            match &route.method {
                Pattern::Exact(_) if route.enabled => {
                    let absent = AbsentPlugin::of(route, names.intern(&name));
                    table.methods.insert(name, TableEntry::Unavailable(absent));
                }
                Pattern::Exact(_) => {
                    let counted = names.intern(&name);
                    table.methods.insert(name, TableEntry::Closed { counted });
                }
                Pattern::Prefix(_) if route.enabled => {
                    table.absent.insert(name, AbsentPlugin::of(route, MethodId::UNKNOWN));
                }
                Pattern::Prefix(_) => {}
            }
        }
        table
    }

    fn has(&self, plugin: &str) -> bool {
        self.generations.iter().any(|generation| *generation.identity.plugin == *plugin)
    }

    /// The generation of this number, if it serves.
    pub(crate) fn generation(&self, number: u64) -> Option<&Arc<Generation>> {
        self.generations.iter().find(|generation| generation.identity.number == number)
    }

    /// The plugins that serve and are not well.
    pub(crate) fn unhealthy(&self) -> Vec<String> {
        let ill = self.generations.iter().filter(|generation| !generation.health().is_healthy);
        ill.map(|generation| generation.identity.plugin.to_string()).collect()
    }

    /// Tells the operator of routes that lead nowhere.
    pub(crate) fn warn_of(&self, routes: &[Route]) {
        for route in routes.iter().filter(|route| route.enabled) {
            let name = route.method.name();
            if !self.has(&route.plugin) {
                tracing::warn!(route = %route.method, plugin = route.plugin, "a route to a plugin that is not there");
            } else if matches!(route.method, Pattern::Exact(_)) && !self.methods.contains_key(name) {
                tracing::warn!(method = name, plugin = route.plugin, "a route to a method its plugin lacks");
            }
        }
    }

    fn add(
        &mut self,
        generation: &Arc<Generation>,
        routing: &RouteResolver<'_>,
        held: Option<&Arc<StateTransferGate>>,
    ) {
        let RouteResolver { config, patterns, own, permits, names } = routing;
        let plugin = &*generation.identity.plugin;
        for (number, method) in (0u32..).zip(&generation.methods) {
            let route = if plugin == SystemPlugin::NAME { None } else { patterns.longest(&method.name) };
            let (timeout, permits, allow) = match route {
                Some(route) if !route.enabled => {
                    let counted = names.intern(&method.name);
                    self.methods.insert(method.name.as_str().into(), TableEntry::Closed { counted });
                    continue;
                }
                // The operator gave the name to another plugin.
                Some(route) if route.plugin != plugin => continue,
                Some(route) => (route.timeout, permits.of(route), route.allow.clone()),
                None if config.plugins.auto_route || own.contains(plugin) => (None, None, None),
                None => continue,
            };
            let target = RouteTarget {
                generation: Arc::clone(generation),
                method: number,
                counted: names.intern(&method.name),
                declared: method.run,
                timeout: timeout.unwrap_or(config.timeouts.request),
                permits,
                allow,
                held: held.cloned(),
            };
            self.methods.insert(method.name.as_str().into(), TableEntry::Open(target));
        }
    }

    /// Where a request for `method` goes, if `asker` may ask for it.
    pub(crate) fn find(&self, method: &str, asker: Requester) -> Result<&RouteTarget, RouteError> {
        let not_found = || RequestError::MethodNotFound(method.to_owned());
        let (failure, counted) = match self.methods.get(method) {
            Some(TableEntry::Open(target)) => match asker.passes(target.allow.as_deref()) {
                Ok(()) => return Ok(target),
                Err(denied) => (denied, target.counted),
            },
            Some(TableEntry::Unavailable(absent)) => (asker.told_of(absent), absent.counted),
            Some(TableEntry::Closed { counted }) => (not_found(), *counted),
            // A route knows the prefix, and any name may follow that.
            None => match parents(method).find_map(|parent| self.absent.get(parent)) {
                Some(absent) => (asker.told_of(absent), MethodId::UNKNOWN),
                None => (not_found(), MethodId::UNKNOWN),
            },
        };
        Err(RouteError { failure, counted })
    }

    /// What requests for `method` are counted under, whatever becomes of them.
    pub(crate) fn counted(&self, method: &str) -> MethodId {
        match self.find(method, Requester::Plugin) {
            Ok(target) => target.counted,
            Err(unreachable) => unreachable.counted,
        }
    }

    /// Every method that a request can reach, sorted.
    pub(crate) fn method_names(&self) -> Vec<String> {
        let open = self.methods.iter().filter(|(_, entry)| matches!(entry, TableEntry::Open(_)));
        let names: BTreeSet<_> = open.map(|(name, _)| name.to_string()).collect();
        names.into_iter().collect()
    }

    /// What serves, one generation for each plugin.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.generations.iter()
    }

    /// Every plugin that serves.
    pub(crate) fn plugins(&self) -> Vec<PluginInfo> {
        let facts = |generation: &Arc<Generation>| {
            let identity = &generation.identity;
            PluginInfo {
                name: identity.plugin.to_string(),
                generation: identity.number,
                version: identity.version.clone(),
                hash: identity.hash.clone(),
            }
        };
        self.generations.iter().map(facts).collect()
    }
}
